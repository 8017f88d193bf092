"""From games to the rows of a batch: padding, masks, and whose advantage a turn gets."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false

import pytest
import torch
from scripted import KUHN, ScriptedSampler, legal_reply, scripted_agent

from spiral_envs import Fault, Reply
from spiral_envs.episode import Episode
from spiral_envs.extraction import Rule
from spiral_envs.match import Outcome, Termination, Turn
from spiral_trl.batching import TurnRow, collate, turn_rows
from spiral_trl.collector import collect
from spiral_trl.sampling import Sample, SampledReply
from spiral_trl.trainer import _parts, _without_padding

PAD = 99
LONG = TurnRow((1, 2, 3), (4, 5), (-0.5, -0.25), 1.5)
SHORT = TurnRow((6,), (7, 8, 9), (-1.0, -2.0, -3.0), -0.5)


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
    assert batch.advantages.tolist() == [1.5, -0.5, 0.0]
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
    batch = collate([TurnRow((PAD, 1), (2, PAD), None, 1.0), LONG], num_rows=2, pad_token_id=PAD)
    assert batch.prompt_mask.tolist() == [[0, 1, 1], [1, 1, 1]]
    assert batch.loss_mask.tolist() == [[1, 1], [1, 1]]


def test_every_turn_gets_the_advantage_of_its_own_seat():
    replies = [sampled(token_ids=(at,)) for at in range(3)]
    rows = turn_rows(episode(turn(0, replies[0]), turn(1, replies[1]), turn(0, replies[2])), (0.25, -0.75))
    assert [(row.token_ids, row.advantage) for row in rows] == [((0,), 0.25), ((1,), -0.75), ((2,), 0.25)]


def test_a_row_is_made_of_the_ids_that_were_sampled():
    (row,) = turn_rows(episode(turn(1, sampled((5, 6), (7, 8), (-0.1, -0.2)))), (0.0, 2.0))
    assert row == TurnRow((5, 6), (7, 8), (-0.1, -0.2), 2.0)


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
    rows = turn_rows(episode(left_out, turn(1, sampled())), (1.0, -1.0))
    assert [row.advantage for row in rows] == [-1.0]


def test_a_truncated_reply_and_an_illegal_move_are_learned_from():
    truncated = turn(0, sampled(fault=Fault.TRUNCATED), fault=Fault.TRUNCATED)
    illegal = turn(1, sampled(), fault=Fault.ILLEGAL)
    assert len(turn_rows(episode(truncated), (-1.0, 1.0))) == 1
    assert len(turn_rows(episode(illegal), (1.0, -1.0))) == 1


def test_the_rows_of_played_games_are_all_their_turns(tokenizer):
    agent = scripted_agent(ScriptedSampler(tokenizer, legal_reply, reports_logprobs=True))
    for played in collect([KUHN], (agent, agent), first_game=0, num_games=6, seed=0, concurrency=6):
        rows = turn_rows(played, played.outcome.returns)
        assert [row.token_ids for row in rows] == [each.response.token_ids for each in played.turns]
        assert [row.advantage for row in rows] == [played.outcome.returns[each.seat] for each in played.turns]
        assert all(row.logprobs is not None and len(row.logprobs) == len(row.token_ids) for row in rows)


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
    kept = _without_padding(part)
    assert kept["prompt_ids"].tolist() == [[6], [6]]
    assert kept["prompt_mask"].tolist() == [[1], [1]]
    assert kept["completion_ids"].tolist() == [[7, 8, 9], [7, 8, 9]]
    assert kept["advantages"].tolist() == [-0.5, -0.5]
    assert kept["num_items_in_batch"] == 8
    kept = _without_padding({name: tensor if tensor.dim() == 0 else tensor[[1, 3]] for name, tensor in inputs.items()})
    assert kept["prompt_ids"].tolist() == [[1, 2, 3]]
    assert kept["completion_ids"].tolist() == [[4, 5]]
    assert kept["tool_mask"].tolist() == [[1, 1]]


def test_without_padding_cuts_no_token_of_any_row_that_stays():
    inputs = loss_inputs([SHORT, LONG], 2)
    kept = _without_padding(inputs)
    assert all(torch.equal(kept[name], inputs[name]) for name in inputs)


def test_without_padding_leaves_one_row_where_none_carries_loss():
    kept = _without_padding(loss_inputs([], 3))
    assert kept["prompt_ids"].tolist() == [[PAD]]
    assert kept["tool_mask"].tolist() == [[0]]
    assert kept["row_weight"].tolist() == [0.0]


def split(rows, num_rows, num_parts, *, by_length):
    parts = _parts(loss_inputs(rows, num_rows, weight=1.25), num_parts, by_length=by_length)
    return [part.tolist() for part in parts]


def row_of_length(length):
    return TurnRow((1,), tuple(range(length - 1)), None, 1.0)


def test_parts_by_length_put_rows_of_like_length_together_the_longest_first():
    rows = [row_of_length(length) for length in (3, 9, 5, 8, 2, 5)]
    # The padding rows at 6 and 7 are in no part.
    assert split(rows, 8, 2, by_length=True) == [[1, 3, 2], [5, 0, 4]]
    assert split(rows, 8, 4, by_length=True) == [[1, 3], [2, 5], [0], [4]]


def test_parts_by_length_keep_the_order_of_equally_long_rows():
    assert split([SHORT] * 4, 4, 2, by_length=True) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize(("num_turns", "num_rows", "num_parts"), [(7, 12, 3), (12, 12, 3), (5, 12, 4), (1, 4, 1)])
def test_every_turn_is_in_one_part_and_no_part_is_larger_than_a_micro_batch(num_turns, num_rows, num_parts, by_length):
    parts = split([row_of_length(2 + at) for at in range(num_turns)], num_rows, num_parts, by_length=by_length)
    assert len(parts) == num_parts
    assert sorted(row for part in parts for row in part) == list(range(num_turns))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= num_rows // num_parts


def test_with_fewer_turns_than_parts_the_rest_are_padding_rows():
    assert split([SHORT], 6, 3, by_length=True) == [[0], [1], [1]]
    assert split([], 6, 3, by_length=True) == [[0], [0], [0]]


def test_parts_are_dealt_out_at_random_where_several_steps_share_a_batch():
    rows = [row_of_length(2 + at) for at in range(8)]
    torch.manual_seed(0)
    deals = {str(split(rows, 8, 2, by_length=False)) for _ in range(20)}
    assert len(deals) == 20
