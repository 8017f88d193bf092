"""The embedded model: a small Qwen3 with a tokenizer of its own, built on the spot, so that nothing is downloaded."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from spiral_trl.sampling import token_id

EMBEDDED: Final = "embedded"
"""The model name that asks for the embedded model."""

END: Final = "<|end|>"
PAD: Final = "<|pad|>"

CONTEXT: Final = 1024
"""Tokens."""

# A word, a number or a run of punctuation with the space before it, or white space.
_WORDS: Final = r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s"


def build_tokenizer(texts: Iterable[str], *, vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer trained on `texts`; it can write any Unicode text.

    Every word and every number of the games becomes one token, and cells of a board are tokens of their own.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=CONTEXT, padding_side="left"
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast, *, seed: int, hidden_size: int = 96, num_layers: int = 3
) -> Qwen3ForCausalLM:
    """Returns a randomly initialised model over the tokenizer's vocabulary, in float32.

    The global random state of torch is left as it was.
    """
    end_id, pad_id = token_id(tokenizer, "eos_token"), token_id(tokenizer, "pad_token")
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 32,
        num_key_value_heads=hidden_size // 32,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        initializer_range=0.7 * hidden_size**-0.5,
        dtype=torch.float32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)
