"""From finished games to the rows of a training batch."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from spiral_envs.episode import Episode
from spiral_trl.sampling import SampledReply


class TurnRow(NamedTuple):
    """One turn of the learner.

    Attributes:
        prompt_ids: What it read.
        token_ids: What it wrote, as sampled.
        logprobs: The sampler's log-probability of each id, or None.
        advantage: Its player's advantage in the game.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    advantage: float


class TurnBatch(NamedTuple):
    """The rows of a batch as tensors. B rows, P the longest prompt, T the longest completion.

    Attributes:
        prompt_ids: [B, P], padded on the left.
        prompt_mask: [B, P], 1 on real tokens.
        completion_ids: [B, T], padded on the right.
        completion_mask: [B, T], 1 on real tokens.
        loss_mask: [B, T], 1 on tokens that carry loss: none in padding rows.
        advantages: [B].
        sampling_logprobs: [B, T], 0 on padding; None when the sampler reports none.
    """

    prompt_ids: torch.Tensor
    prompt_mask: torch.Tensor
    completion_ids: torch.Tensor
    completion_mask: torch.Tensor
    loss_mask: torch.Tensor
    advantages: torch.Tensor
    sampling_logprobs: torch.Tensor | None


def turn_rows(episode: Episode, advantages: Sequence[float]) -> list[TurnRow]:
    """Returns a row for every trainable turn of `episode` in which a model wrote something.

    Args:
        episode: A finished game.
        advantages: One a seat.
    """
    rows: list[TurnRow] = []
    for turn in episode.turns:
        reply = turn.response
        if turn.trainable and isinstance(reply, SampledReply) and reply.token_ids:
            rows.append(TurnRow(reply.prompt_ids, reply.token_ids, reply.logprobs, advantages[turn.seat]))
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
    padding = TurnRow((pad_token_id,), (pad_token_id,), (0.0,), 0.0)
    filled = [*rows, *[padding] * (num_rows - len(rows))]
    longest_prompt = max(len(row.prompt_ids) for row in filled)
    longest_completion = max(len(row.token_ids) for row in filled)
    prompt_ids = torch.full((num_rows, longest_prompt), pad_token_id)
    prompt_mask = torch.zeros((num_rows, longest_prompt), dtype=torch.long)
    completion_ids = torch.full((num_rows, longest_completion), pad_token_id)
    completion_mask = torch.zeros((num_rows, longest_completion), dtype=torch.long)
    logprobs = torch.zeros((num_rows, longest_completion))
    for index, row in enumerate(filled):
        prompt_ids[index, longest_prompt - len(row.prompt_ids) :] = torch.tensor(row.prompt_ids)
        prompt_mask[index, longest_prompt - len(row.prompt_ids) :] = 1
        completion_ids[index, : len(row.token_ids)] = torch.tensor(row.token_ids)
        completion_mask[index, : len(row.token_ids)] = 1
        if row.logprobs is not None:
            logprobs[index, : len(row.token_ids)] = torch.tensor(row.logprobs)
    loss_mask = completion_mask.clone()
    loss_mask[len(rows) :] = 0
    return TurnBatch(
        prompt_ids,
        prompt_mask,
        completion_ids,
        completion_mask,
        loss_mask,
        torch.tensor([row.advantage for row in filled]),
        logprobs if all(row.logprobs is not None for row in rows) else None,
    )
