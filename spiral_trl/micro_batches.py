"""Which rows of a batch go together, so that little is computed on padding and the largest micro-batch is small.

The rows of a micro-batch are padded to the longest prompt and the longest completion among them.
"""

# torch and transformers are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

_SLACK: Final = 1.1
"""How much larger than with the most even cut the largest micro-batch may be, if that saves padding."""

_MAX_PIECES: Final = 256
"""Rows of a large batch are moved in groups: there are at most so many places for a cut."""


_NO_LABEL: Final = -100
"""What TRL marks positions with that are not scored."""


def cut_rows(inputs: dict[str, torch.Tensor], num_parts: int, *, by_length: bool) -> list[torch.Tensor]:
    """Returns the indices of the rows that carry loss in `num_parts` parts, none larger than a micro-batch may be.

    With more parts than such rows, some parts hold a padding row: every process must run the model as often.

    Args:
        inputs: The tensors of a batch.
        num_parts: How many parts.
        by_length: Whether rows of like length go together, the longest first, in parts that compute about as many
            positions; otherwise they are dealt out at random, in parts of as many rows.
    """
    carries_loss = inputs["row_weight"] > 0
    rows = carries_loss.nonzero().flatten()
    padding = (~carries_loss).nonzero().flatten()[:1]
    if not by_length:
        parts = rows[torch.randperm(len(rows)).to(rows.device)].tensor_split(num_parts)
        return [part if len(part) else padding for part in parts]
    prompts, completions = (inputs[f"{name}_mask"].sum(dim=1) for name in ("prompt", "completion"))
    rows = rows[torch.argsort((prompts + completions)[rows], descending=True, stable=True)]
    cuts = cut_by_size(prompts[rows].tolist(), completions[rows].tolist(), num_parts)
    return [rows[start:end] if end > start else padding for start, end in cuts]


def score_completions_only(model: PreTrainedModel) -> None:
    """Keeps TRL's head from scoring prompts, which it does on every device without Triton, such as the CPU.

    Columns in front of the first one that has a label are left out before the head, in forward and backward alike.
    """
    kept: list[int] = []

    def cut_labels(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        kept.clear()
        labels = kwargs.get("labels")
        if kwargs.get("fused_lm_head") and labels is not None:
            # The token before the first one that is scored predicts it.
            kept.append(labels.size(1) - int((labels != _NO_LABEL).any(dim=0).int().argmax()) + 1)
            kwargs = {**kwargs, "labels": labels[:, -kept[0] :]}
        return args, kwargs

    def cut_hidden_states(_module: Any, _args: Any, output: Any) -> Any:
        if kept:
            output.last_hidden_state = output.last_hidden_state[:, -kept.pop() :]
        return output

    model.register_forward_pre_hook(cut_labels, with_kwargs=True)
    model.base_model.register_forward_hook(cut_hidden_states)


def without_padding(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the rows that carry loss (at least one row), without the columns in which none of them has a token."""
    rows = inputs["row_weight"] > 0
    if not rows.any():
        rows[0] = True
    prompt_start = int(inputs["prompt_mask"][rows].any(dim=0).int().argmax())
    completion_end = int(inputs["completion_mask"][rows].sum(dim=1).max())
    columns = {"prompt": slice(prompt_start, None), "completion": slice(None, completion_end)}
    kept: dict[str, torch.Tensor] = {}
    for name, tensor in inputs.items():
        if tensor.dim() == 0:
            kept[name] = tensor
        elif tensor.dim() == 1:
            kept[name] = tensor[rows]
        else:
            kept[name] = tensor[rows][:, columns["prompt" if name.startswith("prompt") else "completion"]]
    return kept


def cut_by_size(
    prompt_lengths: Sequence[int], completion_lengths: Sequence[int], num_parts: int
) -> list[tuple[int, int]]:
    """Returns where to cut rows that are sorted by length: the first row of every part and the one after its last.

    Among the cuts whose largest part is at most a tenth larger than it must be, and no larger than with parts of
    equally many rows, the one that computes the fewest positions. Only with fewer rows than parts are parts empty.

    Args:
        prompt_lengths: Tokens, of each row.
        completion_lengths: Tokens, of each row.
        num_parts: How many parts.
    """
    num_rows = len(prompt_lengths)
    if num_rows <= num_parts:
        return [(min(part, num_rows), min(part + 1, num_rows)) for part in range(num_parts)]
    equal = np.linspace(0, num_rows, num_parts + 1).round()
    places = np.unique(np.concatenate([equal, np.linspace(0, num_rows, min(num_rows, _MAX_PIECES) + 1).round()]))
    places = places.astype(int)
    positions = _positions(np.asarray(prompt_lengths), np.asarray(completion_lengths), places)
    steps = np.searchsorted(places, equal)
    largest_of_equal = positions[steps[:-1], steps[1:]].max()
    positions[positions > min(_SLACK * _smallest_peak(positions, num_parts), largest_of_equal)] = np.inf
    best = positions[0]
    starts: list[NDArray[Any]] = []
    for _ in range(num_parts - 1):
        totals = best[:, None] + positions
        starts.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    cuts = [len(places) - 1]
    for start in reversed(starts):
        cuts.append(int(start[cuts[-1]]))
    ends = [int(places[cut]) for cut in reversed(cuts)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _positions(prompts: NDArray[Any], completions: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """Returns the positions, padding included, of a part from every place to every later one; infinite elsewhere."""
    positions = np.full((len(places), len(places)), np.inf)
    longest_prompt = np.maximum.reduceat(prompts, places[:-1])
    longest_completion = np.maximum.reduceat(completions, places[:-1])
    for start in range(len(places) - 1):
        width = np.maximum.accumulate(longest_prompt[start:]) + np.maximum.accumulate(longest_completion[start:])
        positions[start, start + 1 :] = (places[start + 1 :] - places[start]) * width
    return positions


def _smallest_peak(positions: NDArray[Any], num_parts: int) -> float:
    """Returns the positions of the largest part where that is as small as it can be."""
    peaks = positions[0]
    for _ in range(num_parts - 1):
        peaks = np.maximum(peaks[:, None], positions).min(axis=0)
    return float(peaks[-1])
