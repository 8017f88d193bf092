"""A model measured during a run: NashConv of small games, and a run that goes on as if nobody had looked."""

# Fakes and libraries are typed in part only.
# pyright: reportArgumentType=false

import random

import numpy as np
import pytest
import torch
from scripted import KUHN, make_tiny_model
from torch import nn

from spiral_envs.errors import UnknownNameError
from spiral_envs.prompts import find_style
from spiral_trl.sampling import PromptEncoder
from spiral_trl.strength import ModelUnderTest, own_random_state

LEDUC = "leduc_poker_v0"


@pytest.fixture
def model(tokenizer):
    return make_tiny_model(tokenizer)


def under_test(model, tokenizer):
    encoder = PromptEncoder(tokenizer, find_style("plain"), use_chat_template=False)
    return ModelUnderTest(model, tokenizer, encoder, max_completion_length=4, max_prompt_length=200)


def draws():
    """The next numbers of every global generator; drawing them moves it on."""
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()


def state():
    return (
        torch.get_rng_state().tolist(),
        [array.tolist() if isinstance(array, np.ndarray) else array for array in np.random.get_state()],
        random.getstate(),
    )


def test_a_random_model_that_never_answers_counts_as_playing_uniformly(model, tokenizer):
    # A random model writes no box in 4 tokens. NashConv of uniform play: 11/12 in Kuhn poker, and in Leduc poker
    # 4.747222 (OpenSpiel's exploitability_test: 2.373611 a player).
    prompts = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: prompts.append(kwargs["input_ids"].size(0)), with_kwargs=True
    )
    metrics = under_test(model, tokenizer).nash_conv([KUHN, LEDUC, KUHN])
    assert list(metrics) == [
        f"nash_conv/{KUHN}",
        f"nash_conv/{KUHN}/other",
        f"nash_conv/{LEDUC}",
        f"nash_conv/{LEDUC}/other",
    ]
    assert metrics[f"nash_conv/{KUHN}/other"] == metrics[f"nash_conv/{LEDUC}/other"] == 1.0
    assert metrics[f"nash_conv/{KUHN}"] == pytest.approx(11 / 12)
    assert metrics[f"nash_conv/{LEDUC}"] == pytest.approx(4.747222, abs=1e-6)
    hook.remove()
    # 16 reasonings in each of 12 information sets and 4 in each of 936, and at most 4 calls of the model for each.
    assert 12 * 16 + 936 * 4 < sum(prompts) <= 4 * (12 * 16 + 936 * 4)


def test_a_game_that_cannot_be_written_out_is_refused(model, tokenizer):
    tested = under_test(model, tokenizer)
    with pytest.raises(UnknownNameError, match="leduk"):
        tested.nash_conv(["leduk_poker_v0"])
    with pytest.raises(ValueError, match="cannot be solved: players may say words of their own"):
        tested.nash_conv(["simple_negotiation_v0"])


def test_measuring_leaves_the_random_state_and_the_modes_of_the_model(model, tokenizer):
    model.train()
    model.model.layers[0].eval()
    model.gradient_checkpointing_enable()
    modes = [module.training for module in model.modules()]
    before = state()
    first = under_test(model, tokenizer).exploitability(reasonings=2)
    assert state() == before
    assert [module.training for module in model.modules()] == modes
    assert model.is_gradient_checkpointing
    assert {parameter.grad for parameter in model.parameters()} == {None}
    # The same whatever was drawn before.
    draws()
    assert under_test(model, tokenizer).exploitability(reasonings=2) == first


def test_an_error_inside_leaves_the_random_state_and_the_modes_too(model):
    model.train()
    before = state()

    def fail():
        with own_random_state(model):
            draws()
            assert not any(module.training for module in model.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert state() == before
    assert all(module.training for module in model.modules())


def test_what_is_drawn_inside_is_always_the_same_and_what_comes_after_goes_on(model):
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = draws()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    with own_random_state(model):
        inside = torch.rand(4)
        draws()
    assert draws() == expected
    with own_random_state(model):
        assert torch.equal(torch.rand(4), inside)


def test_dropout_is_off_inside():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    with own_random_state(model):
        assert torch.equal(model(torch.ones(1, 4)), model[0](torch.ones(1, 4)))
    assert model[1].training


@pytest.mark.gpu
def test_measuring_leaves_the_random_state_of_the_gpu():
    torch.cuda.manual_seed_all(7)
    expected = torch.rand(3, device="cuda").tolist()
    torch.cuda.manual_seed_all(7)
    with own_random_state(nn.Linear(2, 2).cuda()):
        inside = torch.rand(3, device="cuda").tolist()
    assert torch.rand(3, device="cuda").tolist() == expected
    assert inside != expected
