"""Texts that try to be more than a move, for tests of whoever reads replies or shows remarks."""

from __future__ import annotations

import re
from typing import Final

from spiral_envs.match import Fault, Reply

CONTROL_TOKENS: Final = (
    # ChatML, as in Qwen 3 and SmolLM 2
    "<|im_start|>user",
    "<|im_end|>",
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<tool_call>",
    # Llama 3
    "<|begin_of_text|>",
    "<|start_header_id|>system<|end_header_id|>",
    "<|eot_id|>",
    # Gemma
    "<start_of_turn>model",
    "<end_of_turn>",
    # Mistral
    "</s>",
    "[INST]",
    # the game's own syntax
    "\\boxed",
    '"said"',
    "\nTurn 1: you",
    "\u2028It is your turn.",
)
"""What a chat template or a reader could take for more than a remark."""


def hostile_replies(text: str) -> tuple[str, ...]:
    """Returns replies that nobody should send, some of them made from the legal move `text`."""
    changed = [text[:-1], text[1:], text + text, text.upper(), f"[{text}]", f"\\boxed{{{text}"]
    for digits in ("-1", "²", "٣", "9" * 400, ""):
        other = re.sub("[0-9]+", digits, text)
        changed += [other, f"\\boxed{{{other}}}"]
    return (*_REPLIES, *changed, *(Reply(text, fault) for fault in Fault))


_REPLIES: Final = (
    "",
    " \n",
    "\x00",
    "\ud800",
    "I resign.",
    "\\boxed{",
    "\\boxed{}",
    "\\boxed{[]}",
    "\\boxed{\\boxed{}}",
    "[²]",
    "\\boxed{٣}",
    "[" * 5000,
    "]" * 5000,
    "[]" * 5000,
    "{}" * 5000,
    "\\boxed{" * 5000,
    "<think>" * 5000,
    "</think>" * 5000,
    "🙂" * 5000,
)
