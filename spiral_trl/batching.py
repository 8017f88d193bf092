"""From finished games to the rows of a training batch."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import torch

from spiral_envs.episode import Episode
from spiral_trl.sampling import SampledReply


class RowUnit(StrEnum):
    """What a row of a batch holds."""

    TURN = "turn"
    """One turn."""

    EPISODE = "episode"
    """The turns of one player in one game, as long as each prompt goes on where the last reply ended."""


class TurnRow(NamedTuple):
    """One turn of the learner, or several of the same player in the same game, one after the other.

    Attributes:
        prompt_ids: What it read before it first wrote.
        token_ids: What it wrote, as sampled, and what it read between its replies.
        logprobs: The sampler's log-probability of each token id, 0 where it was read; None where the sampler reports
            none.
        loss_mask: For each token id 1 where it was written, 0 where it was read.
        advantages: For each token id that of its turn, 0 where it was read.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    loss_mask: tuple[int, ...]
    advantages: tuple[float, ...]


class TurnBatch(NamedTuple):
    """The rows of a batch as tensors. B rows, P the longest prompt, T the longest completion.

    Attributes:
        prompt_ids: [B, P], padded on the left.
        prompt_mask: [B, P], 1 on real tokens.
        completion_ids: [B, T], padded on the right.
        completion_mask: [B, T], 1 on real tokens.
        loss_mask: [B, T], 1 on tokens that carry loss: those that the learner wrote, none in padding rows.
        advantages: [B, T], 0 on tokens that carry no loss.
        sampling_logprobs: [B, T], 0 on padding; None when the sampler reports none.
    """

    prompt_ids: torch.Tensor
    prompt_mask: torch.Tensor
    completion_ids: torch.Tensor
    completion_mask: torch.Tensor
    loss_mask: torch.Tensor
    advantages: torch.Tensor
    sampling_logprobs: torch.Tensor | None


def rows_of(
    episode: Episode, advantages: Sequence[float], *, rows: RowUnit, learner_seats: Sequence[int], gamma: float = 1.0
) -> list[TurnRow]:
    """Returns what is learned from `episode`, in rows of the given unit.

    Args:
        episode: A finished game.
        advantages: One a seat.
        rows: What a row holds.
        learner_seats: The seats that learn.
        gamma: The discount for every own turn that a player still takes after a turn, 0..1.

    Raises:
        ValueError: `gamma` is out of range.
    """
    match rows:
        case RowUnit.TURN:
            return turn_rows(episode, advantages, learner_seats=learner_seats, gamma=gamma)
        case RowUnit.EPISODE:
            return episode_rows(episode, advantages, learner_seats=learner_seats, gamma=gamma)


def turn_rows(
    episode: Episode, advantages: Sequence[float], *, learner_seats: Sequence[int], gamma: float = 1.0
) -> list[TurnRow]:
    """Returns a row for every trainable turn of `learner_seats` in which a model wrote something.

    The arguments and what is raised are those of `rows_of`.
    """
    return [_row(reply, advantage) for _, reply, advantage in _learned(episode, advantages, learner_seats, gamma)]


def episode_rows(
    episode: Episode, advantages: Sequence[float], *, learner_seats: Sequence[int], gamma: float = 1.0
) -> list[TurnRow]:
    """Returns the rows of `turn_rows`, those of a player joined as long as its history only grows.

    A turn goes on with its player's row where its prompt begins with the ids of the whole row, and starts a new row
    where it does not, so that no turn is lost. Every token is predicted from the same ids as in the row of its turn
    alone: both kinds of rows give the same policy gradient, and a joined row reads the common history once.

    The arguments and what is raised are those of `rows_of`.
    """
    rows: list[TurnRow] = []
    last_row: dict[int, int] = {}
    for seat, reply, advantage in _learned(episode, advantages, learner_seats, gamma):
        index = last_row.get(seat)
        joined = None if index is None else _joined(rows[index], reply, advantage)
        if index is None or joined is None:
            last_row[seat] = len(rows)
            rows.append(_row(reply, advantage))
        else:
            rows[index] = joined
    return rows


def collate(rows: Sequence[TurnRow], *, num_rows: int, pad_token_id: int) -> TurnBatch:
    """Returns `rows` as tensors, filled up with padding rows to `num_rows`.

    A padding row holds one attended pad token on either side, because a row that attends to nothing gives NaN, and no
    loss.

    Raises:
        ValueError: There are more rows than `num_rows`.
    """
    if len(rows) > num_rows:
        raise ValueError(f"{len(rows)} rows do not fit into a batch of {num_rows}")
    padding = TurnRow((pad_token_id,), (pad_token_id,), (0.0,), (0,), (0.0,))
    filled = [*rows, *[padding] * (num_rows - len(rows))]
    longest_prompt = max(len(row.prompt_ids) for row in filled)
    longest_completion = max(len(row.token_ids) for row in filled)
    prompt_ids = torch.full((num_rows, longest_prompt), pad_token_id)
    prompt_mask = torch.zeros((num_rows, longest_prompt), dtype=torch.long)
    completion_ids = torch.full((num_rows, longest_completion), pad_token_id)
    completion_mask = torch.zeros((num_rows, longest_completion), dtype=torch.long)
    loss_mask = torch.zeros((num_rows, longest_completion), dtype=torch.long)
    advantages = torch.zeros((num_rows, longest_completion))
    logprobs = torch.zeros((num_rows, longest_completion))
    for index, row in enumerate(filled):
        prompt_ids[index, longest_prompt - len(row.prompt_ids) :] = torch.tensor(row.prompt_ids)
        prompt_mask[index, longest_prompt - len(row.prompt_ids) :] = 1
        written = slice(len(row.token_ids))
        completion_ids[index, written] = torch.tensor(row.token_ids)
        completion_mask[index, written] = 1
        loss_mask[index, written] = torch.tensor(row.loss_mask)
        advantages[index, written] = torch.tensor(row.advantages)
        if row.logprobs is not None:
            logprobs[index, written] = torch.tensor(row.logprobs)
    return TurnBatch(
        prompt_ids,
        prompt_mask,
        completion_ids,
        completion_mask,
        loss_mask,
        advantages,
        logprobs if all(row.logprobs is not None for row in rows) else None,
    )


def _learned(
    episode: Episode, advantages: Sequence[float], learner_seats: Sequence[int], gamma: float
) -> Iterator[tuple[int, SampledReply, float]]:
    """Yields the seat, the reply and the discounted advantage of every turn that is learned from."""
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma!r}: expected 0 to 1")
    turns_left = Counter(turn.seat for turn in episode.turns)
    for turn in episode.turns:
        seat, reply = turn.seat, turn.response
        turns_left[seat] -= 1
        if seat in learner_seats and turn.trainable and isinstance(reply, SampledReply) and reply.token_ids:
            yield seat, reply, gamma ** turns_left[seat] * advantages[seat]


def _row(reply: SampledReply, advantage: float) -> TurnRow:
    num_tokens = len(reply.token_ids)
    return TurnRow(reply.prompt_ids, reply.token_ids, reply.logprobs, (1,) * num_tokens, (advantage,) * num_tokens)


def _joined(row: TurnRow, reply: SampledReply, advantage: float) -> TurnRow | None:
    """Returns `row` with the turn of `reply` at its end; None where the prompt of the turn does not continue it."""
    history = row.prompt_ids + row.token_ids
    if reply.prompt_ids[: len(history)] != history:
        return None
    read = reply.prompt_ids[len(history) :]
    turn = _row(reply, advantage)
    return TurnRow(
        row.prompt_ids,
        row.token_ids + read + turn.token_ids,
        None if row.logprobs is None or turn.logprobs is None else row.logprobs + (0.0,) * len(read) + turn.logprobs,
        row.loss_mask + (0,) * len(read) + turn.loss_mask,
        row.advantages + (0.0,) * len(read) + turn.advantages,
    )
