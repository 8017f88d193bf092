"""Reading a model's policy: the probability that it gives to every legal move of a view.

The model's reasoning is sampled up to its answer box, and the moves are scored by their log-probabilities as the
content of that box; the mean over several samples of the reasoning is an unbiased estimate, exact where the reasoning
is always the same. What the model puts on anything but legal moves is reported apart, never hidden by normalising.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spiral_envs.match import View
from spiral_envs.solve import Exploitability, exploitability, information_sets
from spiral_trl.sampling import PromptEncoder, Sampler

_BOX: Final = "\\boxed"


@dataclass(frozen=True, slots=True)
class MoveProbabilities:
    """A model's policy in one view.

    Attributes:
        moves: The probability of every legal move, by its text; they sum to 1 minus `other`.
        other: The probability of everything else: illegal moves, other formats, no answer.
    """

    moves: Mapping[str, float]
    other: float

    def normalised(self) -> dict[str, float]:
        """Returns the policy given that the model answers with a legal move; uniform if it never does."""
        total = sum(self.moves.values())
        if total <= 0.0:
            return {move: 1 / len(self.moves) for move in self.moves}
        return {move: probability / total for move, probability in self.moves.items()}


@dataclass(frozen=True, slots=True)
class PolicyExploitability:
    """How far a model's policy is from perfect play.

    Attributes:
        result: NashConv and best responses of the policy given a legal answer.
        other: The largest probability, over all views, of anything but a legal answer.
        policy: The probabilities in every view: role, observation and moves.
    """

    result: Exploitability
    other: float
    policy: tuple[tuple[str, str, Mapping[str, float]], ...]


def read_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoder: PromptEncoder,
    sampler: Sampler,
    views: Sequence[View],
    *,
    reasonings: int,
) -> list[MoveProbabilities]:
    """Returns the policy of `model` in every view, at temperature 1.

    Args:
        model: Scores the moves.
        tokenizer: Its tokenizer.
        encoder: Makes the prompts.
        sampler: Samples the reasoning of the same model.
        views: Views whose seat is to move.
        reasonings: How many reasonings are sampled a view.

    Raises:
        ValueError: A view lists no legal moves.
    """
    for view in views:
        if not view.legal_moves:
            raise ValueError(f"cannot read a policy where no legal moves are listed: {view.observation!r}")
    prompts = [encoder.encode(view) for view in views]
    samples = sampler.sample([prompt for prompt in prompts for _ in range(reasonings)])
    return [
        _mean_policy(
            model,
            tokenizer,
            prompt,
            [_answer_stub(tokenizer, sample.token_ids) for sample in samples[at * reasonings : (at + 1) * reasonings]],
            view.legal_moves or (),
        )
        for at, (view, prompt) in enumerate(zip(views, prompts, strict=True))
    ]


def model_exploitability(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoder: PromptEncoder,
    sampler: Sampler,
    game: str,
    *,
    reasonings: int = 16,
) -> PolicyExploitability:
    """Returns how much best responses win from the model's own move probabilities in `game`.

    Raises:
        MissingExtraError: OpenSpiel is not installed.
        ValueError: The game is too large.
    """
    sets = information_sets(game)
    read = read_policy(model, tokenizer, encoder, sampler, list(sets.values()), reasonings=reasonings)
    policies = dict(zip(sets, read, strict=True))
    result = exploitability(game, lambda view: policies[view.seat, view.observation].normalised())
    return PolicyExploitability(
        result,
        max(policy.other for policy in read),
        tuple((sets[key].role, key[1], policy.moves) for key, policy in policies.items()),
    )


def _answer_stub(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> tuple[int, ...] | None:
    """Returns the reply, as sampled, up to the token that completes its last box command; None without one."""

    def boxes(num_tokens: int) -> int:
        return str(tokenizer.decode(list(token_ids[:num_tokens]), skip_special_tokens=True)).count(_BOX)

    lengths = range(len(token_ids) + 1)
    last = boxes(len(token_ids))
    return tuple(token_ids[: bisect_left(lengths, last, key=boxes)]) if last else None


def _mean_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    stubs: Sequence[tuple[int, ...] | None],
    legal_moves: Sequence[str],
) -> MoveProbabilities:
    """Returns the mean policy over the reasonings; one without a box gives all its weight to `other`."""
    counts = Counter(stub for stub in stubs if stub is not None)
    answers: list[list[int]] = tokenizer([f"{{{move}}}" for move in legal_moves], add_special_tokens=False)["input_ids"]
    totals = dict.fromkeys(legal_moves, 0.0)
    for stub, count in counts.items():
        probabilities = _continuation_probabilities(model, [*prompt, *stub], answers)
        for move, probability in zip(legal_moves, probabilities, strict=True):
            totals[move] += probability * count / len(stubs)
    return MoveProbabilities(totals, max(0.0, 1 - sum(totals.values())))


@torch.no_grad()
def _continuation_probabilities(
    model: PreTrainedModel, prefix: Sequence[int], continuations: Sequence[Sequence[int]]
) -> list[float]:
    """Returns the probability of every continuation of `prefix`."""
    width = max(map(len, continuations))
    # Padding is on the right, where causal attention never looks back from a real token.
    rows = [[*prefix, *ids, *[0] * (width - len(ids))] for ids in continuations]
    logits = model(input_ids=torch.tensor(rows, device=model.device)).logits
    logprobs = logits[:, len(prefix) - 1 : -1].float().log_softmax(-1)
    return [float(logprobs[row, range(len(ids)), list(ids)].sum().exp()) for row, ids in enumerate(continuations)]
