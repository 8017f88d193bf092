"""What is measured on finished runs: `python benchmarks/evidence_measures.py PART --seed N --runs FOLDER`.

Each part writes `figures.json` into a folder of its own: single figures, and curves over the steps of a run. Games are
played as SPIRAL evaluates, at temperature 0.6 and top-p 0.95; policies and gradients are those of temperature 1, at
which the models are trained.
"""

# torch and transformers are typed in part only.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.evidence_figures import Curve, Figure, Measured
from benchmarks.evidence_runs import (
    FULL,
    GAMES_PER_BATCH,
    HARDER,
    KUHN,
    LEARNED,
    NEGOTIATION,
    QUICK,
    ROCK_PAPER_SCISSORS,
    TIC_TAC_TOE,
    UNSEEN,
    Scale,
)
from benchmarks.sampled_policy import sample_policy
from spiral_envs.agents import make_agent
from spiral_envs.best_response import GameTree
from spiral_envs.episode import Episode
from spiral_envs.prompts import find_style
from spiral_envs.registry import find_game
from spiral_envs.solve import exploitability, information_sets
from spiral_envs.sources import find_source
from spiral_trl.advantages import AdvantageEstimator, Estimator, GameResult, RoleBaseline
from spiral_trl.batching import RowUnit, TurnRow, rows_of
from spiral_trl.checkpoints import checkpoint_step
from spiral_trl.collector import collect, in_order, play_waves, set_table
from spiral_trl.evaluation import PooledResult, plan_evaluation, pooled_results
from spiral_trl.policy_reading import model_exploitability
from spiral_trl.run_files import RunFiles
from spiral_trl.sampling import GenerateSampler, ModelAgent, PromptEncoder
from spiral_trl.strength import TEMPERATURE, TOP_P

ESTIMATORS: Final = (Estimator.RAE, Estimator.GLOBAL, Estimator.NONE)

LAST_STEPS: Final = 10
"""Of a run, over which faults are averaged."""

MAX_NEW_TOKENS: Final = 64

RESAMPLES: Final = 2000

MOST_OTHER: Final = 0.1
"""Above this probability of anything but a legal move in a box, a policy is read off sampled replies instead."""

_REPLIES: Final = 64
_ROWS_AT_ONCE: Final = 32
_PRIMING_GAMES: Final = 256
_REASONINGS: Final = 16

Vector: TypeAlias = NDArray[np.float64]
Policy: TypeAlias = Mapping[tuple[int, str], Mapping[str, float]]
"""By seat and observation, the probability of each legal move; they sum to 1."""


class Player:
    """A saved model that plays, is read, and is differentiated.

    Attributes:
        model: In float32, on the CPU.
        tokenizer: Its own.
        encoder: Makes prompts in the style `plain`, as in the training.
    """

    def __init__(self, folder: Path, *, seed: int) -> None:
        """Loads the model; `seed` decides all that it samples."""
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.encoder = PromptEncoder(self.tokenizer, find_style("plain"), use_chat_template=False)
        self._seed = seed

    def agent(self, *, temperature: float = TEMPERATURE, top_p: float = TOP_P) -> ModelAgent:
        """Returns the model as an agent."""
        limit = int(self.model.config.max_position_embeddings) - MAX_NEW_TOKENS
        sampler = self._sampler(temperature, top_p)
        return ModelAgent(sampler, self.encoder, self.tokenizer, max_prompt_length=limit)

    def policy(self, game: str) -> tuple[float, Policy]:
        """Returns NashConv of the model's own policy in a small game, and the policy.

        It is that of the probabilities of the moves in the answer's box. A model that has dropped the box, but still
        writes moves that the game reads, is judged by the moves in 64 replies to every information set.
        """
        read = model_exploitability(
            self.model, self.tokenizer, self.encoder, self._sampler(1.0, 1.0), game, reasonings=_REASONINGS
        )
        if read.other > MOST_OTHER:
            return self._sampled_policy(game)
        moves = {(role, text): probabilities for role, text, probabilities in read.policy}
        sets = information_sets(game)
        policy = {key: _normalised(moves[view.role, key[1]]) for key, view in sets.items()}
        return read.result.nash_conv, policy

    def _sampled_policy(self, game: str) -> tuple[float, Policy]:
        tree = GameTree(find_game(game))
        counts = sample_policy(tree, self.agent(temperature=1.0, top_p=1.0), samples=_REPLIES).counts
        policy = {key: _normalised(tree.probabilities(counts, at)) for at, key in enumerate(tree.information_sets)}
        return exploitability(game, lambda view: policy[view.seat, view.observation]).nash_conv, policy

    def _sampler(self, temperature: float, top_p: float) -> GenerateSampler:
        return GenerateSampler(
            self.model,
            self.tokenizer,
            max_new_tokens=MAX_NEW_TOKENS,
            temperature=temperature,
            top_p=top_p,
            seed=self._seed,
        )


def judge(
    player: Player, games: Iterable[str], opponents: Iterable[str], *, pairs: int, seed: int
) -> list[PooledResult]:
    """Returns the results of a model over both seats of every game against every opponent.

    Every model of a seed meets the same deals and opponents with the same seed.
    """
    plans = plan_evaluation(games, opponents, pairs=pairs, seed=seed)
    agent = player.agent()
    others = {name: make_agent(name, seed=seed) for name in {plan.opponent for plan in plans}}
    tables = (
        set_table(
            plan.number,
            plan.game,
            plan.seed,
            [agent if seat in plan.learner_seats else others[plan.opponent] for seat in range(2)],
        )
        for plan in plans
    )
    return pooled_results(plans, in_order(play_waves(tables)))


def scored_batches(
    episodes: Sequence[Episode], estimator: Estimator, *, priming: int, batches: int
) -> list[list[TurnRow]]:
    """Returns the turns of disjoint batches with the advantages that a trainer would give them, in its order.

    Args:
        episodes: Self-play games.
        estimator: What returns are compared with.
        priming: So many of the games come first and only bring the baselines to where they stay.
        batches: Into how many batches the others are cut; what is left over is not used.
    """
    results = [
        GameResult(each.game, each.roles, "self", (0, 1), each.outcome.returns, index)
        for index, each in enumerate(episodes)
    ]
    advantages = AdvantageEstimator(estimator, RoleBaseline(), replays=1).score(results)
    size = (len(episodes) - priming) // batches
    cuts = [slice(priming + size * at, priming + size * (at + 1)) for at in range(batches)]
    return [
        [
            row
            for episode, scores in zip(episodes[cut], advantages[cut], strict=True)
            for row in rows_of(episode, scores, rows=RowUnit.TURN, learner_seats=(0, 1))
        ]
        for cut in cuts
    ]


def policy_gradients(model: torch.nn.Module, rows_by_estimator: Sequence[Sequence[TurnRow]]) -> list[Vector]:
    """Returns for each estimator the sum over the tokens of a batch of advantage times the gradient of log-probability.

    The policy gradient of SPIRAL before it is divided by constants and clipped; the estimators share each forward pass.

    Args:
        model: Returns an object with `logits` [B, T, V] for `input_ids` [B, T].
        rows_by_estimator: The same turns for each estimator, with other advantages.
    """
    order = sorted(range(len(rows_by_estimator[0])), key=lambda index: _length(rows_by_estimator[0][index]))
    parameters = [each for each in model.parameters() if each.requires_grad]
    sums = [torch.zeros(sum(each.numel() for each in parameters), dtype=torch.float64) for _ in rows_by_estimator]
    for start in range(0, len(order), _ROWS_AT_ONCE):
        chosen = order[start : start + _ROWS_AT_ONCE]
        logprobs = _reply_logprobs(model, [rows_by_estimator[0][index] for index in chosen])
        for at, rows in enumerate(rows_by_estimator):
            advantages = torch.tensor([rows[index].advantages[0] for index in chosen])
            gradients = torch.autograd.grad((logprobs * advantages).sum(), parameters, retain_graph=True)
            sums[at] += torch.cat([each.flatten().double() for each in gradients])
    return [total.numpy() for total in sums]


def _length(row: TurnRow) -> int:
    return len(row.prompt_ids) + len(row.token_ids)


def _reply_logprobs(model: torch.nn.Module, rows: Sequence[TurnRow]) -> torch.Tensor:
    """Returns the log-probability of every reply, [B]."""
    width = max(map(_length, rows))
    input_ids = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for index, row in enumerate(rows):
        # Padding is on the right, where causal attention never looks back from a real token.
        input_ids[index, : _length(row)] = torch.tensor([*row.prompt_ids, *row.token_ids])
        labels[index, len(row.prompt_ids) : _length(row)] = torch.tensor(row.token_ids)
    logits = model(input_ids=input_ids).logits[:, :-1]
    losses = cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")
    return -losses.sum(dim=1)


def covariance_trace(gram: Vector) -> float:
    """Returns the trace of the sample covariance of n vectors from their inner products, [n, n]; n is at least 2."""
    n = len(gram)
    return float((np.trace(gram) - gram.sum() / n) / (n - 1))


def variance_ratio(gram: Vector, base: Vector, *, seed: int, resamples: int = RESAMPLES) -> tuple[float, float, float]:
    """Returns the ratio of two covariance traces and its 95 % interval, by a paired bootstrap over the batches.

    A resample in which all of `base` is one batch drawn again and again has no variance and is left out.

    Args:
        gram: Inner products of the gradients of the batches by one estimator, [n, n].
        base: The same by the other, on the same batches.
        seed: Of the resamples.
        resamples: How many.
    """
    rng = np.random.default_rng(seed)
    ratios: list[float] = []
    for _ in range(resamples):
        drawn = rng.integers(len(gram), size=len(gram))
        if len(set(drawn.tolist())) > 1:
            cut = np.ix_(drawn, drawn)
            ratios.append(covariance_trace(gram[cut]) / covariance_trace(base[cut]))
    low, high = np.quantile(ratios, [0.025, 0.975])
    return covariance_trace(gram) / covariance_trace(base), float(low), float(high)


def path_length(points: Sequence[Vector]) -> float:
    """Returns the sum of the distances from each point to the next, see `distance`."""
    return math.fsum(distance(first, second) for first, second in pairwise(points))


def distance(first: Vector, second: Vector) -> float:
    """Returns the mean over information sets of the total variation distance of two policies, each [sets, moves]."""
    return float(np.abs(first - second).sum(axis=1).mean() / 2)


def turns_around(points: Sequence[Vector]) -> float:
    """Returns how often a path over probabilities of three moves goes around their even mix, signed, in whole turns.

    Args:
        points: Each [3], none of them the even mix; consecutive ones less than half a turn apart.
    """
    flat = [complex(each[0] - (each[1] + each[2]) / 2, (each[1] - each[2]) * math.sqrt(3) / 2) for each in points]
    angles = [float(np.angle(second * first.conjugate())) for first, second in pairwise(flat)]
    return math.fsum(angles) / (2 * math.pi)


def measure_estimators(runs: Path, scale: Scale, seed: int) -> Measured:
    """Part A: gradient variance at fixed weights, and what trainings with each estimator come to."""
    found = Measured()
    for short, game in (("kuhn", KUHN), ("ttt", TIC_TAC_TOE)):
        for state, name in (("before", f"warm-{seed}"), ("after", f"{short}-self-{seed}/final")):
            found.figures += gradient_figures(Player(runs / name, seed=seed), game, state, scale, seed)
        for estimator in ESTIMATORS:
            folder = runs / f"{short}-{'self' if estimator is Estimator.RAE else estimator.value}-{seed}"
            found.figures += _training_faults(folder, game, estimator.value, seed)
            found.figures += _strength(folder / "final", game, estimator.value, scale, seed)
        found.figures += _strength(runs / f"warm-{seed}", game, "before", scale, seed)
    return found


def gradient_figures(player: Player, game: str, state: str, scale: Scale, seed: int) -> list[Figure]:
    """Returns the variance of the batch gradient by each estimator, and the ratio of each to that of RAE."""
    size = GAMES_PER_BATCH[game]
    priming = _PRIMING_GAMES if scale.batches > 3 else size
    agent = player.agent(temperature=1.0, top_p=1.0)
    episodes = collect([game], (agent, agent), num_games=priming + size * scale.batches, seed=seed)
    batches = {each: scored_batches(episodes, each, priming=priming, batches=scale.batches) for each in ESTIMATORS}
    gradients: list[list[Vector]] = [
        policy_gradients(player.model, [batches[each][at] for each in ESTIMATORS]) for at in range(scale.batches)
    ]
    grams: dict[Estimator, Vector] = {}
    for index, estimator in enumerate(ESTIMATORS):
        stacked = np.stack([each[index] for each in gradients]) / size
        grams[estimator] = stacked @ stacked.T
    figures: list[Figure] = []
    for estimator, gram in grams.items():
        num_games = size * scale.batches
        trace = covariance_trace(gram)
        ratio, low, high = variance_ratio(gram, grams[Estimator.RAE], seed=seed)
        # The mean over all pairs of different batches estimates the squared length of the true gradient without bias.
        square = float((gram.sum() - np.trace(gram)) / (len(gram) * (len(gram) - 1)))
        figures += [
            Figure("gradient_variance", estimator.value, game, state, seed, trace, games=num_games),
            Figure("gradient_square", estimator.value, game, state, seed, square, games=num_games),
            Figure("gradient_variance_ratio", estimator.value, game, state, seed, ratio, low, high, num_games),
        ]
    for seat, role in enumerate(episodes[0].roles):
        mean = float(np.mean([each.outcome.returns[seat] for each in episodes]))
        figures.append(Figure("mean_return", role, game, state, seed, mean, games=len(episodes)))
    return figures


def measure_opponents(runs: Path, scale: Scale, seed: int) -> Measured:
    """Part B: the same judges for self-play, fixed opponents and imitation."""
    found = Measured()
    for short, game, opponents in (("kuhn", KUHN, ("random", "cfr")), ("ttt", TIC_TAC_TOE, ("random", "minimax"))):
        found.figures += _strength(runs / f"warm-{seed}", game, "before", scale, seed)
        for condition in ("self", *opponents, "sft"):
            folder = runs / f"{short}-{condition}-{seed}"
            found.figures += _strength(folder / "final", game, condition, scale, seed)
            if condition != "sft":
                found.figures += _training_faults(folder, game, condition, seed)
    return found


def measure_mixes(runs: Path, scale: Scale, seed: int) -> Measured:
    """Part C: every model in all three games."""
    found = Measured()
    for condition, folder in mixes(runs, seed).items():
        for game in LEARNED:
            found.figures += _strength(folder, game, condition, scale, seed)
        if condition != "before":
            found.figures.append(_turns(folder.parent, condition, seed))
    return found


def mixes(runs: Path, seed: int) -> dict[str, Path]:
    """Returns the models of parts C and E by what they were trained on."""
    names = {"tic-tac-toe": "ttt", "Kuhn poker": "kuhn", "negotiation": "negotiation", "all three": "three"}
    trained = {condition: runs / f"{name}-self-{seed}" / "final" for condition, name in names.items()}
    return {"before": runs / f"warm-{seed}", **trained}


def measure_far_games(runs: Path, scale: Scale, seed: int) -> Measured:
    """Part E: the models of part C in games that were not trained."""
    found = Measured()
    for condition, folder in mixes(runs, seed).items():
        player = Player(folder, seed=seed)
        for result in judge(player, (*HARDER, *UNSEEN), ("random",), pairs=scale.far_pairs, seed=seed):
            found.figures += _match_figures(result, condition, seed)
    return found


def measure_leagues(runs: Path, scale: Scale, seed: int) -> Measured:
    """Part D: policies over the steps of self-play and of leagues."""
    del scale
    found = Measured()
    for short, game, start in (
        ("rps", ROCK_PAPER_SCISSORS, runs / f"rps-start-{seed}" / "final"),
        ("kuhn", KUHN, runs / f"warm-{seed}"),
    ):
        first = Player(start, seed=seed).policy(game)
        for condition in ("mirror", "latest", "uniform"):
            _add_travel(found, runs / f"{short}-{condition}-{seed}", game, condition, seed, first)
    return found


def _add_travel(
    found: Measured, folder: Path, game: str, condition: str, seed: int, first: tuple[float, Policy]
) -> None:
    """Adds where the policy of a run went, and how far it got."""
    kept = sorted(folder.glob("checkpoint-*"), key=checkpoint_step)
    steps = [0, *map(checkpoint_step, kept)]
    read = [first, *(Player(each, seed=seed).policy(game) for each in kept)]
    nash_convs = [each for each, _ in read]
    points = [_matrix(policy) for _, policy in read]
    found.curves.append(Curve("nash_conv", condition, game, "", seed, steps, nash_convs))
    late = len(read) // 2
    mean_policy = _mean_policy([policy for _, policy in read[late:]])
    values = {
        "nash_conv_first": nash_convs[0],
        "nash_conv_last": nash_convs[-1],
        "nash_conv_late": float(np.mean(nash_convs[late:])),
        "nash_conv_of_mean": exploitability(game, lambda view: mean_policy[view.seat, view.observation]).nash_conv,
        "path": path_length(points),
        "displacement": distance(points[0], points[-1]),
    }
    if game == ROCK_PAPER_SCISSORS:
        values["turns_around"] = float(np.mean([turns_around([each[seat] for each in points]) for seat in range(2)]))
        for seat, (key, moves) in enumerate(first[1].items()):
            for at, move in enumerate(moves):
                curve = [float(each[seat][at]) for each in points]
                found.curves.append(
                    Curve(f"probability {move}", condition, game, f"Player {key[0]}", seed, steps, curve)
                )
    found.figures += [Figure(name, condition, game, "", seed, value) for name, value in values.items()]


def _matrix(policy: Policy) -> Vector:
    """Returns a policy as [information sets, moves]; sets of fewer moves are filled up with zeros."""
    width = max(map(len, policy.values()))
    return np.array([[*moves.values(), *[0.0] * (width - len(moves))] for moves in policy.values()])


def _mean_policy(policies: Sequence[Policy]) -> Policy:
    """Returns the policy that plays in every information set the mean of the probabilities there."""
    return {
        key: {move: float(np.mean([policy[key][move] for policy in policies])) for move in moves}
        for key, moves in policies[0].items()
    }


def _normalised(moves: Mapping[str, float]) -> dict[str, float]:
    total = sum(moves.values())
    return {move: each / total if total > 0 else 1 / len(moves) for move, each in moves.items()}


_REFERENCES: Final = {TIC_TAC_TOE: ("random", "minimax"), KUHN: ("random", "cfr"), NEGOTIATION: ("random",)}


def _strength(folder: Path, game: str, condition: str, scale: Scale, seed: int) -> list[Figure]:
    """Returns the matches of a model against the references of a game, and its NashConv where that can be computed."""
    player = Player(folder, seed=seed)
    figures = [
        figure
        for result in judge(player, (game,), _REFERENCES[game], pairs=scale.pairs, seed=seed)
        for figure in _match_figures(result, condition, seed)
    ]
    if game == KUHN:
        figures.append(Figure("nash_conv", condition, game, "", seed, player.policy(game)[0]))
    return figures


def _match_figures(result: PooledResult, condition: str, seed: int) -> list[Figure]:
    about = (condition, result.game, result.opponent, seed)
    returns = result.return_interval
    return [
        Figure("wins", *about, result.win_rate, *result.win_interval, result.games),
        Figure("draws", *about, result.draws / result.games, games=result.games),
        Figure("mean_return", *about, result.mean_return, *(returns or (None, None)), result.games),
        Figure("faults", *about, result.faults / result.games, games=result.games),
    ]


def _training_faults(folder: Path, game: str, condition: str, seed: int) -> list[Figure]:
    """Returns the faults a game of the learner over the last steps of a training, at temperature 1."""
    label = find_source(game).label
    faults = RunFiles(folder).metrics().recent(f"{label}/faults", num_steps=LAST_STEPS)
    assert faults is not None, "every step logs the faults of its games"
    return [Figure("training_faults", condition, game, "", seed, faults)]


def _turns(folder: Path, condition: str, seed: int) -> Figure:
    """Returns how many turns a training learned from."""
    turns = RunFiles(folder).metrics().curve("turns")
    assert turns is not None, "every step logs its turns"
    return Figure("turns", condition, "", "", seed, math.fsum(turns.values))


MEASURES: Final[dict[str, Callable[[Path, Scale, int], Measured]]] = {
    "A": measure_estimators,
    "B": measure_opponents,
    "C": measure_mixes,
    "D": measure_leagues,
    "E": measure_far_games,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures one part with one seed, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures the finished runs of one part of the evidence.")
    parser.add_argument("part", choices=sorted(MEASURES), help="its letter")
    parser.add_argument("--seed", type=int, required=True, help="of the runs")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of their folders")
    parser.add_argument("--quick", action="store_true", help="with few games, to try the chain")
    options = parser.parse_args(argv)
    torch.manual_seed(options.seed)
    found = MEASURES[options.part](options.runs, QUICK if options.quick else FULL, options.seed)
    folder = options.runs / f"measures-{options.part}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
    print(f"{len(found.figures)} figures and {len(found.curves)} curves: {folder / 'figures.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
