"""From games to the rows of a batch: padding, masks, and whose advantage a turn gets."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false

import pytest
import torch
from scripted import KUHN, ScriptedSampler, legal_reply, make_tiny_model, scripted_agent

from spiral_envs import Fault, Reply
from spiral_envs.episode import Episode
from spiral_envs.extraction import Rule
from spiral_envs.match import Outcome, Termination, Turn
from spiral_trl.batching import RowUnit, TurnRow, collate, episode_rows, rows_of, turn_rows
from spiral_trl.collector import collect
from spiral_trl.micro_batches import cut_rows, without_padding
from spiral_trl.sampling import Sample, SampledReply

PAD = 99
BOTH = (0, 1)


def one_turn(prompt_ids, token_ids, logprobs, advantage):
    """Returns the row of a single turn."""
    num_tokens = len(token_ids)
    return TurnRow(prompt_ids, token_ids, logprobs, (1,) * num_tokens, (advantage,) * num_tokens)


LONG = one_turn((1, 2, 3), (4, 5), (-0.5, -0.25), 1.5)
SHORT = one_turn((6,), (7, 8, 9), (-1.0, -2.0, -3.0), -0.5)


def sampled(prompt_ids=(1, 2), token_ids=(3, 4), logprobs=None, fault=None):
    sample = Sample(tuple(token_ids), logprobs, fault is None)
    return SampledReply.of("text", fault, prompt_ids, sample)


def turn(seat, response, *, trainable=True, fault=None):
    return Turn(seat, "seen", response, None, Rule.NONE, fault, "", trainable)


def episode(*turns, returns=(1.0, -1.0)):
    return Episode(0, "game", 0, ("A", "B"), ("self", "self"), turns, Outcome(returns, Termination.FINISHED))


def test_prompts_are_padded_on_the_left_and_completions_on_the_right():
    batch = collate([LONG, SHORT], num_rows=3, pad_token_id=PAD)
    assert batch.prompt_ids.tolist() == [[1, 2, 3], [PAD, PAD, 6], [PAD, PAD, PAD]]
    assert batch.prompt_mask.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]
    assert batch.completion_ids.tolist() == [[4, 5, PAD], [7, 8, 9], [PAD, PAD, PAD]]
    assert batch.completion_mask.tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert batch.advantages.tolist() == [[1.5, 1.5, 0.0], [-0.5, -0.5, -0.5], [0.0, 0.0, 0.0]]
    assert batch.sampling_logprobs is not None
    assert batch.sampling_logprobs.tolist() == [[-0.5, -0.25, 0.0], [-1.0, -2.0, -3.0], [0.0, 0.0, 0.0]]


def test_padding_rows_are_attended_to_but_carry_no_loss():
    batch = collate([LONG, SHORT], num_rows=4, pad_token_id=PAD)
    assert batch.loss_mask.tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert batch.prompt_mask.any(dim=1).all()
    assert batch.completion_mask.any(dim=1).all()


def test_a_full_batch_has_no_padding_rows():
    batch = collate([SHORT, LONG], num_rows=2, pad_token_id=PAD)
    assert torch.equal(batch.loss_mask, batch.completion_mask)


def test_a_batch_without_any_turn_is_all_padding():
    batch = collate([], num_rows=2, pad_token_id=PAD)
    assert batch.prompt_ids.tolist() == [[PAD], [PAD]]
    assert not batch.loss_mask.any()
    # None would say that the sampler reports none, which a vLLM run refuses.
    assert batch.sampling_logprobs is not None
    assert not batch.sampling_logprobs.any()


def test_more_turns_than_rows_are_refused():
    with pytest.raises(ValueError, match="3 rows do not fit into a batch of 2"):
        collate([LONG, SHORT, LONG], num_rows=2, pad_token_id=PAD)


def test_logprobs_are_there_only_if_every_turn_has_them():
    batch = collate([LONG, SHORT._replace(logprobs=None)], num_rows=3, pad_token_id=PAD)
    assert batch.sampling_logprobs is None


def test_token_ids_that_equal_the_pad_token_are_not_taken_for_padding():
    batch = collate([one_turn((PAD, 1), (2, PAD), None, 1.0), LONG], num_rows=2, pad_token_id=PAD)
    assert batch.prompt_mask.tolist() == [[0, 1, 1], [1, 1, 1]]
    assert batch.loss_mask.tolist() == [[1, 1], [1, 1]]


def test_tokens_between_replies_are_read_but_carry_no_loss():
    joined = TurnRow((1,), (2, 3, 4), (-0.5, 0.0, -0.25), (1, 0, 1), (1.5, 0.0, 1.0))
    batch = collate([joined, SHORT], num_rows=3, pad_token_id=PAD)
    assert batch.completion_mask.tolist() == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]
    assert batch.loss_mask.tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0]]
    assert batch.advantages.tolist() == [[1.5, 0.0, 1.0], [-0.5, -0.5, -0.5], [0.0, 0.0, 0.0]]


def test_every_turn_gets_the_advantage_of_its_own_seat():
    replies = [sampled(token_ids=(at,) * 2) for at in range(3)]
    played = episode(turn(0, replies[0]), turn(1, replies[1]), turn(0, replies[2]))
    rows = turn_rows(played, (0.25, -0.75), learner_seats=BOTH)
    assert [(row.token_ids[0], row.advantages) for row in rows] == [
        (0, (0.25, 0.25)),
        (1, (-0.75, -0.75)),
        (2, (0.25, 0.25)),
    ]


def test_a_row_is_made_of_the_ids_that_were_sampled():
    (row,) = turn_rows(episode(turn(1, sampled((5, 6), (7, 8), (-0.1, -0.2)))), (0.0, 2.0), learner_seats=BOTH)
    assert row == TurnRow((5, 6), (7, 8), (-0.1, -0.2), (1, 1), (2.0, 2.0))


@pytest.mark.parametrize("rows", RowUnit)
def test_only_the_learners_turns_are_rows(rows):
    played = episode(*[turn(seat, sampled((10 + seat,), (seat,))) for seat in (0, 1, 0, 1)])
    found = rows_of(played, (1.0, -1.0), rows=rows, learner_seats=(1,), gamma=1.0)
    assert [(row.prompt_ids, row.advantages) for row in found] == [((11,), (-1.0,))] * 2


@pytest.mark.parametrize(
    "left_out",
    [
        turn(0, sampled(), trainable=False),
        turn(0, SampledReply.of("", Fault.PROMPT_TOO_LONG, (1, 2), None), fault=Fault.PROMPT_TOO_LONG),
        turn(0, sampled(token_ids=())),
        turn(0, "[4]"),
        turn(0, Reply("[4]")),
    ],
    ids=["not trainable", "prompt too long", "empty", "a scripted agent's text", "a scripted agent's reply"],
)
def test_a_turn_in_which_the_learner_wrote_nothing_is_no_row(left_out):
    rows = turn_rows(episode(left_out, turn(1, sampled())), (1.0, -1.0), learner_seats=BOTH)
    assert [row.advantages for row in rows] == [(-1.0, -1.0)]


def test_a_truncated_reply_and_an_illegal_move_are_learned_from():
    truncated = turn(0, sampled(fault=Fault.TRUNCATED), fault=Fault.TRUNCATED)
    illegal = turn(1, sampled(), fault=Fault.ILLEGAL)
    assert len(turn_rows(episode(truncated), (-1.0, 1.0), learner_seats=BOTH)) == 1
    assert len(turn_rows(episode(illegal), (1.0, -1.0), learner_seats=BOTH)) == 1


def test_the_rows_of_played_games_are_all_their_turns(tokenizer):
    agent = scripted_agent(ScriptedSampler(tokenizer, legal_reply, reports_logprobs=True))
    for played in collect([KUHN], (agent, agent), first_game=0, num_games=6, seed=0, concurrency=6):
        rows = turn_rows(played, played.outcome.returns, learner_seats=BOTH)
        assert [row.token_ids for row in rows] == [each.response.token_ids for each in played.turns]
        assert [set(row.advantages) for row in rows] == [{played.outcome.returns[each.seat]} for each in played.turns]
        # A fresh prompt a turn continues no row.
        assert episode_rows(played, played.outcome.returns, learner_seats=BOTH) == rows
        assert all(row.logprobs is not None and len(row.logprobs) == len(row.token_ids) for row in rows)


@pytest.mark.parametrize(
    ("gamma", "discounts"),
    # Three turns of seat 0 and two of seat 1; the last own turn of each is worth the whole advantage.
    [(1.0, [1.0] * 5), (0.5, [0.25, 0.5, 0.5, 1.0, 1.0]), (0.0, [0.0, 0.0, 0.0, 1.0, 1.0])],
)
@pytest.mark.parametrize("rows", RowUnit)
def test_a_turn_is_discounted_once_for_every_own_turn_that_follows(gamma, discounts, rows):
    played = episode(*[turn(seat, sampled((at,), (at,))) for at, seat in enumerate((0, 1, 0, 1, 0))])
    found = rows_of(played, (4.0, -2.0), rows=rows, learner_seats=BOTH, gamma=gamma)
    assert [row.advantages for row in found] == [
        (discount * (4.0, -2.0)[seat],) for discount, seat in zip(discounts, (0, 1, 0, 1, 0), strict=True)
    ]


def test_faults_and_turns_without_a_row_count_as_own_turns():
    too_long = SampledReply.of("", Fault.PROMPT_TOO_LONG, (1, 2), None)
    played = episode(
        turn(0, sampled((1,), (1,), fault=Fault.ILLEGAL), fault=Fault.ILLEGAL),
        turn(0, sampled((2,), (2,)), trainable=False),
        turn(1, sampled((3,), (3,))),
        turn(0, too_long, fault=Fault.PROMPT_TOO_LONG),
    )
    rows = turn_rows(played, (1.0, -1.0), learner_seats=BOTH, gamma=0.5)
    assert [row.advantages for row in rows] == [(0.25,), (-1.0,)]


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("rows", RowUnit)
def test_a_discount_out_of_range_is_refused(gamma, rows):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        rows_of(episode(turn(0, sampled())), (1.0, -1.0), rows=rows, learner_seats=BOTH, gamma=gamma)


def test_a_prompt_that_begins_with_the_row_continues_it():
    played = episode(
        turn(0, sampled((1, 2), (3, 4), (-0.5, -0.25))),
        turn(1, sampled((9,), (8,), (-1.0,))),
        turn(0, sampled((1, 2, 3, 4, 5, 6, 7), (3,), (-0.125,))),
        # Nothing was read since the last reply.
        turn(0, sampled((1, 2, 3, 4, 5, 6, 7, 3), (9,), (-2.0,))),
    )
    assert episode_rows(played, (4.0, -1.0), learner_seats=BOTH, gamma=0.5) == [
        TurnRow(
            (1, 2),
            (3, 4, 5, 6, 7, 3, 9),
            (-0.5, -0.25, 0.0, 0.0, 0.0, -0.125, -2.0),
            (1, 1, 0, 0, 0, 1, 1),
            (1.0, 1.0, 0.0, 0.0, 0.0, 2.0, 4.0),
        ),
        TurnRow((9,), (8,), (-1.0,), (1,), (-1.0,)),
    ]


def test_a_prompt_that_does_not_continue_the_row_begins_a_new_one():
    prompts = [(1, 2), (1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3, 5, 3, 6), (2, 2, 3, 5, 3, 6, 3), (2, 2)]
    played = episode(*[turn(0, sampled(prompt, (3,))) for prompt in prompts])
    rows = episode_rows(played, (1.0, -1.0), learner_seats=BOTH)
    assert [(row.prompt_ids, row.token_ids, row.loss_mask) for row in rows] == [
        ((1, 2), (3, 4, 3), (1, 0, 1)),
        # The third prompt has the length of the first row and its start, but not its last ids.
        ((1, 2, 3, 5), (3, 6, 3), (1, 0, 1)),
        ((2, 2, 3, 5, 3, 6, 3), (3,), (1,)),
        ((2, 2), (3,), (1,)),
    ]


def test_a_reply_that_is_not_learned_from_is_read_like_an_observation():
    played = episode(
        turn(0, sampled((1,), (2,), (-0.5,))),
        turn(0, sampled((1, 2, 3), (4,), (-0.5,)), trainable=False),
        turn(0, sampled((1, 2, 3, 4, 5), (6,), (-0.5,))),
    )
    (row,) = episode_rows(played, (1.0, -1.0), learner_seats=BOTH)
    assert row == TurnRow((1,), (2, 3, 4, 5, 6), (-0.5, 0, 0, 0, -0.5), (1, 0, 0, 0, 1), (1.0, 0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("missing", [0, 1])
def test_a_row_has_logprobs_only_if_all_its_turns_have(missing):
    logprobs = [None if at == missing else (-0.5,) for at in range(2)]
    played = episode(turn(0, sampled((1,), (2,), logprobs[0])), turn(0, sampled((1, 2, 3), (4,), logprobs[1])))
    (row,) = episode_rows(played, (1.0, -1.0), learner_seats=BOTH)
    assert row.token_ids == (2, 3, 4)
    assert row.logprobs is None


def growing_game(num_tokens):
    """Returns a game in which both players' histories only grow: three turns of seat 0 and two of seat 1."""
    generator = torch.Generator().manual_seed(0)

    def some(count):
        return tuple(torch.randint(num_tokens, (count,), generator=generator).tolist())

    history = {0: (), 1: ()}
    turns = []
    for seat, num_read, num_written in ((0, 5, 3), (1, 7, 1), (0, 2, 4), (1, 1, 5), (0, 4, 2)):
        prompt, reply = history[seat] + some(num_read), some(num_written)
        turns.append(turn(seat, sampled(prompt, reply)))
        history[seat] = prompt + reply
    return episode(*turns)


def policy_gradient(model, rows, *, constant=50.0):
    """Returns the gradient of sum(-A * logprob) / constant over the tokens of `rows` that carry loss."""
    batch = collate(rows, num_rows=len(rows) + 1, pad_token_id=PAD)
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)
    mask = torch.cat([batch.prompt_mask, batch.completion_mask], dim=1)
    width = batch.completion_ids.size(1)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1]
    logprobs = logits.log_softmax(dim=-1).gather(-1, batch.completion_ids.unsqueeze(-1)).squeeze(-1)
    loss = -(batch.advantages.to(logprobs.dtype) * logprobs * batch.loss_mask).sum() / constant
    parameters = dict(model.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def largest_gap(ours, theirs):
    """Returns the largest difference between two gradients, relative to the largest entry of the second."""
    scale = max(each.abs().max() for each in theirs.values())
    return (max((ours[name] - theirs[name]).abs().max() for name in theirs) / scale).item()


@pytest.fixture(scope="module")
def exact_model(tokenizer):
    """A tiny random model in double precision."""
    return make_tiny_model(tokenizer).double().eval()


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_rows_of_turns_and_of_episodes_give_the_same_gradient_where_the_history_only_grows(exact_model, gamma):
    played = growing_game(PAD)
    turns, joined = (
        rows_of(played, (0.75, -1.25), rows=rows, learner_seats=BOTH, gamma=gamma)
        for rows in (RowUnit.TURN, RowUnit.EPISODE)
    )
    assert (len(turns), len(joined)) == (5, 2)
    assert sum(sum(row.loss_mask) for row in joined) == sum(sum(row.loss_mask) for row in turns) == 15
    # Qwen3 computes its norms and its rotations in single precision whatever the weights are.
    assert largest_gap(policy_gradient(exact_model, joined), policy_gradient(exact_model, turns)) < 1e-6


def test_training_a_token_that_was_read_would_change_the_gradient(exact_model):
    played = growing_game(PAD)
    turns = policy_gradient(exact_model, turn_rows(played, (0.75, -1.25), learner_seats=BOTH))
    first, second = episode_rows(played, (0.75, -1.25), learner_seats=BOTH)
    at = first.loss_mask.index(0)
    spoiled = first._replace(
        loss_mask=(*first.loss_mask[:at], 1, *first.loss_mask[at + 1 :]),
        advantages=(*first.advantages[:at], 0.75, *first.advantages[at + 1 :]),
    )
    assert largest_gap(policy_gradient(exact_model, [spoiled, second]), turns) > 0.01


def test_the_discount_changes_the_gradient(exact_model):
    plain, discounted = (
        policy_gradient(exact_model, turn_rows(growing_game(PAD), (0.75, -1.25), learner_seats=BOTH, gamma=gamma))
        for gamma in (1.0, 0.9)
    )
    assert largest_gap(discounted, plain) > 0.01


def loss_inputs(rows, num_rows, weight=1.0):
    batch = collate(rows, num_rows=num_rows, pad_token_id=PAD)
    return {
        "prompt_ids": batch.prompt_ids,
        "prompt_mask": batch.prompt_mask,
        "completion_ids": batch.completion_ids,
        "completion_mask": batch.completion_mask,
        "tool_mask": batch.loss_mask,
        "advantages": batch.advantages,
        "row_weight": batch.loss_mask.any(dim=1).float() * weight,
        "num_items_in_batch": batch.loss_mask.sum(),
    }


def test_without_padding_keeps_only_rows_with_loss_and_columns_with_tokens():
    inputs = loss_inputs([SHORT, LONG, SHORT], 5)
    part = {name: tensor if tensor.dim() == 0 else tensor[[0, 2, 4]] for name, tensor in inputs.items()}
    kept = without_padding(part)
    assert kept["prompt_ids"].tolist() == [[6], [6]]
    assert kept["prompt_mask"].tolist() == [[1], [1]]
    assert kept["completion_ids"].tolist() == [[7, 8, 9], [7, 8, 9]]
    assert kept["advantages"].tolist() == [[-0.5] * 3] * 2
    assert kept["num_items_in_batch"] == 8
    kept = without_padding({name: tensor if tensor.dim() == 0 else tensor[[1, 3]] for name, tensor in inputs.items()})
    assert kept["prompt_ids"].tolist() == [[1, 2, 3]]
    assert kept["completion_ids"].tolist() == [[4, 5]]
    assert kept["tool_mask"].tolist() == [[1, 1]]


def test_without_padding_cuts_no_token_of_any_row_that_stays():
    inputs = loss_inputs([SHORT, LONG], 2)
    kept = without_padding(inputs)
    assert all(torch.equal(kept[name], inputs[name]) for name in inputs)


def test_without_padding_leaves_one_row_where_none_carries_loss():
    kept = without_padding(loss_inputs([], 3))
    assert kept["prompt_ids"].tolist() == [[PAD]]
    assert kept["tool_mask"].tolist() == [[0]]
    assert kept["row_weight"].tolist() == [0.0]


def split(rows, num_rows, num_parts, *, by_length):
    parts = cut_rows(loss_inputs(rows, num_rows, weight=1.25), num_parts, by_length=by_length)
    return [part.tolist() for part in parts]


def row_of_length(length):
    return one_turn((1,), tuple(range(length - 1)), None, 1.0)


def test_parts_by_length_put_rows_of_like_length_together_the_longest_first():
    rows = [row_of_length(length) for length in (3, 9, 5, 8, 2, 5)]
    # The padding rows at 6 and 7 are in no part. 2 x 9 and 4 x 5 positions; 3 x 9 and 3 x 5 would be four more.
    assert split(rows, 8, 2, by_length=True) == [[1, 3], [2, 5, 0, 4]]
    # 9, 8, 2 x 5 and 2 x 3: the same positions in all as with 2 x 9, 2 x 5, 3 and 2, and a smaller largest part.
    assert split(rows, 8, 4, by_length=True) == [[1], [3], [2, 5], [0, 4]]


def test_parts_by_length_keep_the_order_of_equally_long_rows():
    assert split([SHORT] * 4, 4, 2, by_length=True) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize(("num_turns", "num_rows", "num_parts"), [(7, 12, 3), (12, 12, 3), (5, 12, 4), (1, 4, 1)])
def test_every_turn_is_in_one_part_and_no_part_is_larger_than_a_micro_batch(num_turns, num_rows, num_parts, by_length):
    parts = split([row_of_length(2 + at) for at in range(num_turns)], num_rows, num_parts, by_length=by_length)
    assert len(parts) == num_parts
    assert sorted(row for part in parts for row in part) == list(range(num_turns))
    equal = torch.arange(num_turns).flip(0).tensor_split(num_parts)
    if by_length:
        # Row number n is n + 2 tokens long: no part computes more positions than the largest of equally many rows.
        positions = [len(part) * (max(part) + 2) for part in parts]
        assert max(positions) <= max(len(part) * (int(part.max()) + 2) for part in equal)
    else:
        sizes = [len(part) for part in parts]
        assert sorted(sizes) == sorted(map(len, equal))
        assert max(sizes) <= num_rows // num_parts


def test_with_fewer_turns_than_parts_the_rest_are_padding_rows():
    assert split([SHORT], 6, 3, by_length=True) == [[0], [1], [1]]
    assert split([], 6, 3, by_length=True) == [[0], [0], [0]]


def test_parts_are_dealt_out_at_random_where_several_steps_share_a_batch():
    rows = [row_of_length(2 + at) for at in range(8)]
    torch.manual_seed(0)
    deals = {str(split(rows, 8, 2, by_length=False)) for _ in range(20)}
    assert len(deals) == 20
