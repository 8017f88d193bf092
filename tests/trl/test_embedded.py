"""The embedded model and its tokenizer."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportUnhashable=false

import random
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scripted import KUHN, make_tiny_model, make_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from spiral_trl.embedded import CONTEXT, END, PAD, build_model, build_tokenizer
from spiral_trl.warmup import demonstrations

TOKENIZER = make_tokenizer()


@given(st.text())
def test_any_text_survives_the_tokenizer(text):
    ids = TOKENIZER(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_prompts_of_the_games_are_tens_of_tokens():
    rng = random.Random(9)
    for game in (KUHN, "tic_tac_toe_v0"):
        for each in islice(demonstrations(game, sensible=0.5, rng=rng), 200):
            assert len(TOKENIZER(each.prompt)["input_ids"]) <= 40
            assert len(TOKENIZER(each.reply)["input_ids"]) <= 40


def test_the_cells_of_a_board_are_tokens_of_their_own():
    pieces = [TOKENIZER.decode(token).strip() for token in TOKENIZER("X 1 O\n3 4 5\n6 O 8\n")["input_ids"]]
    assert [piece for piece in pieces if piece] == ["X", "1", "O", "3", "4", "5", "6", "O", "8"]


def test_the_control_tokens_are_the_end_and_the_padding():
    assert (TOKENIZER.eos_token, TOKENIZER.pad_token) == (END, PAD)
    assert len({TOKENIZER.eos_token_id, TOKENIZER.pad_token_id}) == 2
    assert TOKENIZER.padding_side == "left"
    assert not TOKENIZER.chat_template


def test_the_same_texts_give_the_same_tokenizer():
    texts = ["Board: X O 3\n", "I play X. \\boxed{[3]}"] * 5
    first, second = build_tokenizer(texts), build_tokenizer(iter(texts))
    assert first.get_vocab() == second.get_vocab()


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_random_numbers_alone():
    torch.manual_seed(4)
    state = torch.get_rng_state()
    first, second, other = (make_tiny_model(TOKENIZER, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for one, same in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, same)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_the_default_size_is_within_the_promised_range():
    model = build_model(TOKENIZER, seed=0)
    assert 300_000 <= model.num_parameters() <= 3_000_000
    assert model.dtype is torch.float32
    # A head size that vLLM supports.
    assert model.config.head_dim == 32
    assert model.config.model_type == "qwen3"
    assert model.config.max_position_embeddings == CONTEXT == TOKENIZER.model_max_length
    assert model.config.eos_token_id == TOKENIZER.eos_token_id


def test_a_saved_model_and_tokenizer_load_as_they_were(tmp_path):
    model = make_tiny_model(TOKENIZER)
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("I hold K. \\boxed{[bet]}", return_tensors="pt")["input_ids"]
    assert ids.tolist()[0] == TOKENIZER("I hold K. \\boxed{[bet]}")["input_ids"]
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


@pytest.mark.parametrize("text", [END, PAD])
def test_only_a_control_token_ends_a_reply_and_it_is_not_shown(text):
    ids = TOKENIZER(f"check{text}", add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "check"
