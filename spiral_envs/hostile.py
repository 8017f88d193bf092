"""Texts that try to be more than a move, for tests of whoever reads replies or shows remarks."""

from __future__ import annotations

import random
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

_PIECES: Final = (
    *CONTROL_TOKENS,
    *("[", "]", "{", "}", "[]", "\\boxed{", "\\boxed{}", "}", "<think>", "</think>", "|", ":", "->", '"', "\\"),
    *(
        "-1",
        "0",
        "99999999999999999999",
        "²",
        "٣",
        "½",
        "\n",
        "\r",
        "\t",
        "\x00",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\ud800",
    ),
    *("🙂", "e\u0301", "＜|im_end|＞", "［4］", "not [0] but ", "I resign. ", "Game: you win. ", "Turn 1: the other "),
)


def random_hostile(rng: random.Random, texts: tuple[str, ...]) -> str:
    """Returns a reply that nobody should send; some hold, are made from, or even are one of the legal moves `texts`."""
    text = texts[rng.randrange(len(texts))] if texts else "[0]"
    match rng.randrange(8):
        case 0:
            return rng.choice(hostile_replies(text))
        case 1:
            return "".join(rng.choice((*_PIECES, text)) for _ in range(rng.randrange(12)))
        case 2:
            at = rng.randrange(len(text) + 1)
            return text[:at] + rng.choice(_PIECES) + text[at + rng.randrange(2) :]
        case 3:
            return f"{rng.choice(_PIECES)}\\boxed{{{text[:-1]}{rng.choice(_PIECES)}{text[-1:]}}}{rng.choice(_PIECES)}"
        case 4:
            return f"{text[:-1]} | {rng.choice(_PIECES)} so {rng.choice(_PIECES)} it is{text[-1:]}"
        case 5:
            return "".join(map(chr, (rng.randrange(0x3000) for _ in range(rng.randrange(40)))))
        case 6:
            return f"<think>{rng.choice(_PIECES)}</think>{rng.choice(_PIECES)}\\boxed{{{text}}}"
        case _:
            return rng.choice(_PIECES) * rng.randrange(1, 400)
