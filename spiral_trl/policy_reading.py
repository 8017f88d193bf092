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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spiral_envs.match import View
from spiral_envs.solve import Exploitability, exploitability, information_sets
from spiral_trl.sampling import PromptEncoder, Sampler

_BOX: Final = "\\boxed"

_MAX_TOKENS: Final = 16_384
"""Of one call of the model, padding included."""

_MAX_TOKENS_CPU: Final = 2_048
"""The same on a CPU, where more no longer fits into its caches and takes longer a token."""

_MAX_LOGITS: Final = 2**26
"""Of one call of the model: 256 MiB in float32."""


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
    prompts = [tuple(encoder.encode(view)) for view in views]
    samples = sampler.sample([list(prompt) for prompt in prompts for _ in range(reasonings)])
    stubs = {ids: _answer_stub(tokenizer, ids) for ids in {sample.token_ids for sample in samples}}
    answers = _answers(tokenizer, views)
    asked = [
        _questions(
            view, prompt, [stubs[sample.token_ids] for sample in samples[at * reasonings :][:reasonings]], answers
        )
        for at, (view, prompt) in enumerate(zip(views, prompts, strict=True))
    ]
    # A reasoning is often the same, and every question is put once.
    distinct = dict.fromkeys(question for moves in asked for counts in moves.values() for question in counts)
    probabilities = _probabilities(model, sorted(distinct, key=_by_length), vocabulary=len(tokenizer))
    return [_mean_policy(moves, probabilities, reasonings) for moves in asked]


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


class _Question(NamedTuple):
    """How probable are the tokens `answer` after the tokens `prefix`?"""

    prefix: tuple[int, ...]
    answer: tuple[int, ...]


def _by_length(question: _Question) -> tuple[int, int]:
    return len(question.prefix), len(question.answer)


def _questions(
    view: View,
    prompt: tuple[int, ...],
    stubs: Sequence[tuple[int, ...] | None],
    answers: Mapping[str, tuple[int, ...]],
) -> dict[str, dict[_Question, int]]:
    """Returns what to ask about every legal move of a view, each with the number of its reasonings."""
    counts = Counter(stub for stub in stubs if stub is not None)
    return {
        move: {_Question(prompt + stub, answers[move]): count for stub, count in counts.items()}
        for move in view.legal_moves or ()
    }


def _mean_policy(
    moves: Mapping[str, Mapping[_Question, int]], probabilities: Mapping[_Question, float], reasonings: int
) -> MoveProbabilities:
    """Returns the mean policy over the reasonings; one without a box gives all its weight to `other`."""
    means = {
        move: sum(probabilities[question] * count / reasonings for question, count in counts.items())
        for move, counts in moves.items()
    }
    return MoveProbabilities(means, max(0.0, 1 - sum(means.values())))


def _answers(tokenizer: PreTrainedTokenizerBase, views: Sequence[View]) -> dict[str, tuple[int, ...]]:
    """Returns the tokens of every legal move of the views as the content of a box."""
    moves = list(dict.fromkeys(move for view in views for move in view.legal_moves or ()))
    written: list[list[int]] = tokenizer([f"{{{move}}}" for move in moves], add_special_tokens=False)["input_ids"]
    return dict(zip(moves, map(tuple, written), strict=True))


def _probabilities(
    model: PreTrainedModel, questions: Sequence[_Question], *, vocabulary: int
) -> dict[_Question, float]:
    """Returns the probability of every answer; the questions are sorted by length, so that little is padding."""
    probabilities: dict[_Question, float] = {}
    max_tokens = _MAX_TOKENS_CPU if model.device.type == "cpu" else _MAX_TOKENS
    for asked in _calls(questions, max_tokens, vocabulary):
        probabilities |= zip(asked, _ask(model, asked), strict=True)
    return probabilities


def _calls(questions: Sequence[_Question], max_tokens: int, vocabulary: int) -> Iterator[list[_Question]]:
    """Yields the sorted questions in groups that one call of the model can hold."""
    group: list[_Question] = []
    width = 0
    for question in questions:
        wider = max(width, len(question.prefix) + len(question.answer))
        kept = wider - len((group or [question])[0].prefix) + 1
        rows = len(group) + 1
        if group and (rows * wider > max_tokens or rows * kept * vocabulary > _MAX_LOGITS):
            yield group
            group, wider = [], len(question.prefix) + len(question.answer)
        group.append(question)
        width = wider
    if group:
        yield group


@torch.no_grad()
def _ask(model: PreTrainedModel, questions: Sequence[_Question]) -> list[float]:
    """Returns the probability of every answer, by one call of the model."""
    width = max(len(question.prefix) + len(question.answer) for question in questions)
    # The logits before a token are those that it was chosen by; none before the shortest prefix's last are needed.
    begin = min(len(question.prefix) for question in questions)
    kept = width - begin + 1
    # Padding is on the right, where causal attention never looks back from a real token.
    rows = [
        [*question.prefix, *question.answer, *[0] * (width - len(question.prefix) - len(question.answer))]
        for question in questions
    ]
    input_ids = torch.tensor(rows, device=model.device)
    # A model that does not know the argument returns all positions.
    logits = model(input_ids=input_ids, use_cache=False, logits_to_keep=kept).logits[:, -kept:]
    chosen = input_ids[:, begin:]
    logprobs = logits[:, :-1].float().log_softmax(-1).gather(-1, chosen[..., None])[..., 0].double().cpu()
    return [
        float(logprobs[row, len(prefix) - begin : len(prefix) - begin + len(answer)].sum().exp())
        for row, (prefix, answer) in enumerate(questions)
    ]
