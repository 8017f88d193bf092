"""Move probabilities read from a model, against a brute-force computation and a scripted equilibrium."""

# Fakes and libraries are typed in part only.
# pyright: reportArgumentType=false, reportOptionalIterable=false

from types import SimpleNamespace

import pytest
import torch
from scripted import KUHN, ScriptedSampler, make_tiny_model
from torch import nn

from spiral_envs import make_match, solve
from spiral_envs.prompts import find_style
from spiral_trl.policy_reading import MoveProbabilities, model_exploitability, read_policy
from spiral_trl.sampling import PromptEncoder, Sample


class Samples:
    """Returns the same replies to every prompt, in turn."""

    def __init__(self, *replies):
        self.replies = replies

    def sample(self, prompts):
        return [Sample(tuple(self.replies[at % len(self.replies)]), None, True) for at in range(len(prompts))]


def encoder(tokenizer):
    return PromptEncoder(tokenizer, find_style("plain"), use_chat_template=False)


def brute_force(model, prefix, answer):
    """The probability of the tokens `answer` after `prefix`, one model call a token."""
    probability, ids = 1.0, list(prefix)
    for token in answer:
        with torch.no_grad():
            probability *= model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)[token].item()
        ids.append(token)
    return probability


def tokens(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture
def model(tokenizer):
    return make_tiny_model(tokenizer).eval()


def test_the_probability_of_a_move_is_that_of_its_tokens_in_the_box(tokenizer, model):
    view = make_match(KUHN, seed=0).view(0)
    reply = tokens(tokenizer, "I hold K. \\boxed{[bet]}")
    (read,) = read_policy(model, tokenizer, encoder(tokenizer), Samples(reply), [view], reasonings=1)
    # The reply up to the token that completes the box command.
    stub = next(reply[:at] for at in range(len(reply)) if "\\boxed" in tokenizer.decode(reply[:at]))
    prefix = [*encoder(tokenizer).encode(view), *stub]
    for move in view.legal_moves:
        expected = brute_force(model, prefix, tokens(tokenizer, f"{{{move}}}"))
        assert read.moves[move] == pytest.approx(expected, rel=1e-4)
    assert list(read.moves) == ["[check]", "[bet]"]
    assert read.other == pytest.approx(1 - sum(read.moves.values()))
    assert read.other > 0.99, "a random model rarely says a legal move"


def test_several_reasonings_are_averaged_and_one_without_a_box_counts_as_other(tokenizer, model):
    view = make_match(KUHN, seed=0).view(0)
    replies = [
        tokens(tokenizer, text)
        for text in ("I hold K. \\boxed{[bet]}", "bets none. \\boxed{[check]}", "I hold K.", "I hold")
    ]
    alone = [
        read_policy(model, tokenizer, encoder(tokenizer), Samples(reply), [view], reasonings=1)[0] for reply in replies
    ]
    (mean,) = read_policy(model, tokenizer, encoder(tokenizer), Samples(*replies), [view], reasonings=4)
    for move in view.legal_moves:
        assert mean.moves[move] == pytest.approx((alone[0].moves[move] + alone[1].moves[move]) / 4)
        assert alone[2].moves[move] == alone[3].moves[move] == 0.0
    assert alone[2].other == 1.0
    assert sum(mean.moves.values()) + mean.other == pytest.approx(1.0)


def test_the_last_box_of_a_reply_is_the_one_that_is_scored(tokenizer, model):
    view = make_match(KUHN, seed=0).view(0)
    first = tokens(tokenizer, "\\boxed{[check]} no. ")
    second = tokens(tokenizer, "\\boxed{[bet]}")
    (read,) = read_policy(model, tokenizer, encoder(tokenizer), Samples([*first, *second]), [view], reasonings=1)
    stub = next(second[:at] for at in range(len(second)) if "\\boxed" in tokenizer.decode(second[:at]))
    expected = brute_force(model, [*encoder(tokenizer).encode(view), *first, *stub], tokens(tokenizer, "{[bet]}"))
    assert read.moves["[bet]"] == pytest.approx(expected, rel=1e-4)


def test_views_are_read_in_their_order(tokenizer, model):
    views = list(solve.information_sets(KUHN).values())[:4]
    reply = tokens(tokenizer, "\\boxed{[bet]}")
    together = read_policy(model, tokenizer, encoder(tokenizer), Samples(reply), views, reasonings=2)
    for view, read in zip(views, together, strict=True):
        (alone,) = read_policy(model, tokenizer, encoder(tokenizer), Samples(reply), [view], reasonings=1)
        assert tuple(read.moves) == view.legal_moves
        assert list(read.moves.values()) == pytest.approx(list(alone.moves.values()), rel=1e-4)


def test_many_views_in_few_calls_give_the_numbers_of_one_by_one(tokenizer, model):
    # The Kuhn views at several lengths of reasoning; every reply ends in a box but one.
    views = list(solve.information_sets(KUHN).values())
    replies = [
        tokens(tokenizer, text)
        for text in ("\\boxed{[bet]}", "I hold K. bets none. \\boxed{[call]}", "I hold.", "K. \\boxed{[fold]}")
    ]
    calls = []
    hook = model.register_forward_pre_hook(lambda module, args, kwargs: calls.append(kwargs), with_kwargs=True)
    together = read_policy(model, tokenizer, encoder(tokenizer), Samples(*replies), views, reasonings=4)
    hook.remove()
    assert len(calls) < len(views)
    for view, read in zip(views, together, strict=True):
        prompt = encoder(tokenizer).encode(view)
        for move, probability in read.moves.items():
            one_by_one = []
            for reply in replies:
                text = tokenizer.decode(reply)
                if "\\boxed" not in text:
                    one_by_one.append(0.0)
                    continue
                stub = next(reply[:at] for at in range(len(reply)) if "\\boxed" in tokenizer.decode(reply[:at]))
                one_by_one.append(brute_force(model, [*prompt, *stub], tokens(tokenizer, f"{{{move}}}")))
            assert probability == pytest.approx(sum(one_by_one) / 4, rel=1e-4)


@pytest.mark.parametrize("limit", ["_MAX_TOKENS_CPU", "_MAX_LOGITS"])
def test_how_many_questions_a_call_holds_changes_no_number(tokenizer, model, monkeypatch, limit):
    views = list(solve.information_sets(KUHN).values())
    reply = tokens(tokenizer, "\\boxed{[bet]}")

    def read():
        calls = []
        hook = model.register_forward_pre_hook(lambda module, args, kwargs: calls.append(kwargs), with_kwargs=True)
        policies = read_policy(model, tokenizer, encoder(tokenizer), Samples(reply), views, reasonings=1)
        hook.remove()
        return policies, [tuple(each["input_ids"].shape) for each in calls]

    in_few_calls, few = read()
    monkeypatch.setattr(f"spiral_trl.policy_reading.{limit}", 1)
    alone, many = read()
    # 12 information sets of 2 moves each.
    assert [rows for rows, _ in many] == [1] * 24
    assert sum(rows for rows, _ in few) == 24
    assert len(few) == 1
    for one, other in zip(in_few_calls, alone, strict=True):
        assert list(one.moves.values()) == pytest.approx(list(other.moves.values()), rel=1e-4)


def test_a_view_without_legal_moves_is_refused(tokenizer, model):
    view = make_match(KUHN, seed=0).view(1)
    with pytest.raises(ValueError, match="cannot read a policy where no legal moves are listed"):
        read_policy(model, tokenizer, encoder(tokenizer), Samples([5]), [view], reasonings=1)


def test_normalising_gives_the_policy_among_legal_moves():
    assert MoveProbabilities({"[bet]": 0.1, "[check]": 0.3}, 0.6).normalised() == pytest.approx(
        {"[bet]": 0.25, "[check]": 0.75}
    )
    assert MoveProbabilities({"[bet]": 0.0, "[check]": 0.0}, 1.0).normalised() == {"[bet]": 0.5, "[check]": 0.5}


class ScriptedModel(nn.Module):
    """Writes `\\boxed{MOVE}` with the given probability of each move after each prompt, token by token.

    The probabilities are spread over the tokens of the moves as a language model would: each token gets the share of
    the moves that go on with it.
    """

    device = torch.device("cpu")

    def __init__(self, tokenizer, encode, policy):
        super().__init__()
        self.vocabulary = len(tokenizer)
        box = tokens(tokenizer, "\\boxed")
        self.scripts = {
            tuple(encode(view)): [
                ((*box, *tokens(tokenizer, f"{{{move}}}")), probability) for move, probability in moves.items()
            ]
            for view, moves in policy
        }

    def forward(self, input_ids, **_):
        logits = torch.full((*input_ids.shape, self.vocabulary), -1e9)
        for row, ids in enumerate(input_ids.tolist()):
            prompt = next(prompt for prompt in self.scripts if tuple(ids[: len(prompt)]) == prompt)
            for at in range(len(prompt), len(ids) + 1):
                written = tuple(ids[len(prompt) : at])
                for script, probability in self.scripts[prompt]:
                    if script[: len(written)] == written and len(script) > len(written) and probability > 0:
                        position = logits[row, at - 1]
                        token = script[len(written)]
                        position[token] = torch.logaddexp(position[token], torch.tensor(probability).log())
        return SimpleNamespace(logits=logits)


def exploitability_of(tokenizer, policy):
    """NashConv of the policy (from a view to probabilities), read back from a model that plays it."""
    encode = encoder(tokenizer).encode
    views = list(solve.information_sets(KUHN).values())
    model = ScriptedModel(tokenizer, encode, [(view, policy(view)) for view in views])
    sampler = ScriptedSampler(tokenizer, lambda prompt: "\\boxed{[bet]}")
    return model_exploitability(model, tokenizer, encoder(tokenizer), sampler, KUHN, reasonings=2)


def test_a_model_that_plays_an_equilibrium_has_nash_conv_zero(tokenizer):
    # Kuhn 1950, alpha 1/3: the first player bets K always and J one time in three, calls with Q two times in three.
    first = {"J": {"[bet]": 1 / 3, "[check]": 2 / 3}, "Q": {"[check]": 1.0}, "K": {"[bet]": 1.0}}
    first_facing = {"J": {"[fold]": 1.0}, "Q": {"[call]": 2 / 3, "[fold]": 1 / 3}, "K": {"[call]": 1.0}}
    second_facing = {"J": {"[fold]": 1.0}, "Q": {"[call]": 1 / 3, "[fold]": 2 / 3}, "K": {"[call]": 1.0}}
    second_checked = {"J": {"[bet]": 1 / 3, "[check]": 2 / 3}, "Q": {"[check]": 1.0}, "K": {"[bet]": 1.0}}

    def policy(view):
        card = view.state.card.name
        if view.seat == 0:
            return (first if len(view.state.bets) == 0 else first_facing)[card]
        return (second_facing if "[call]" in view.legal_moves else second_checked)[card]

    found = exploitability_of(tokenizer, policy)
    assert found.result.nash_conv == pytest.approx(0.0, abs=1e-5)
    assert found.result.on_policy_values[0] == pytest.approx(-1 / 18, abs=1e-5)
    assert found.other == pytest.approx(0.0, abs=1e-5)
    assert len(found.policy) == 12


def test_a_model_that_plays_uniformly_has_nash_conv_eleven_twelfths(tokenizer):
    found = exploitability_of(tokenizer, lambda view: dict.fromkeys(view.legal_moves, 0.5))
    assert found.result.nash_conv == pytest.approx(11 / 12, abs=1e-5)


def test_mass_off_legal_moves_is_reported_and_does_not_change_the_measure(tokenizer):
    # A fifth of the time everywhere an illegal answer, and legal moves evenly for the rest.
    def policy(view):
        illegal = "[call]" if "[call]" not in view.legal_moves else "[check]"
        return {**dict.fromkeys(view.legal_moves, 0.4), illegal: 0.2}

    found = exploitability_of(tokenizer, policy)
    assert found.result.nash_conv == pytest.approx(11 / 12, abs=1e-5)
    assert found.other == pytest.approx(0.2, abs=1e-5)
