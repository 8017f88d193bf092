"""How often the intervals of ratings hold the truth: `python benchmarks/rating_coverage.py --out`.

Tournaments of agents with known skills are simulated and rated, again and again. A coverage is the share of tournaments
in which the 95 % interval held the true value; next to it stands that of the percentiles of the very same resamples,
the more usual interval. The two games of a pair may depend on each other: on the deal, which favours the same seat in
both (a positive correlation), or on the agents, who play the same game again (a negative one).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.throughput_envs import code_version
from spiral_envs.arena.ratings import ELO_PER_LOGIT, Fit, PairResult, estimate_interval, rate
from spiral_envs.intervals import wilson_interval

RESULTS: Final = Path(__file__).parent / "results" / "rating_coverage.json"

SEED: Final = 20260


@dataclass(frozen=True, slots=True)
class Setting:
    """A kind of tournament.

    Attributes:
        name: In words.
        skills: Of the agents, in logits; their mean is 0.
        seats: What seat 0 of every game adds, in logits.
        pairs: How many pairs every two agents play, by game.
        draws: How likely a draw is, as a share of the greatest likelihood that the expected points allow.
        correlation: Of the luck of seat 0 in the two games of a pair, -1 to 1.
    """

    name: str
    skills: tuple[float, ...]
    seats: tuple[float, ...]
    pairs: tuple[int, ...]
    draws: float = 0.3
    correlation: float = 0.0


SETTINGS: Final = (
    Setting("two agents, few pairs", (-0.5, 0.5), (0.5,), (5,), correlation=-0.5),
    Setting("two agents that repeat their games", (-0.5, 0.5), (0.0,), (10,), draws=0.0, correlation=-0.99),
    Setting("two agents", (-0.5, 0.5), (0.5,), (20,), draws=0.0),
    Setting("two agents far apart", (-1.5, 1.5), (0.5,), (20,), draws=0.0),
    Setting("two agents, one near-perfect", (-3.0, 3.0), (0.5,), (20,), draws=0.0),
    Setting("two agents, many pairs", (-1.0, 1.0), (1.0,), (200,), draws=0.2, correlation=0.5),
    Setting("three agents, few pairs", (-0.5, 0.0, 0.5), (0.2,), (5,)),
    Setting("three agents, equal", (0.0, 0.0, 0.0), (0.0,), (10,)),
    Setting("three agents, the deal decides", (-1.0, 0.0, 1.0), (0.5,), (10,), draws=0.0, correlation=0.9),
    Setting("three agents, the first seat wins", (-0.5, 0.0, 0.5), (4.0,), (20,), draws=0.0, correlation=0.5),
    Setting("three agents, one near-perfect", (-2.0, -1.0, 3.0), (0.5,), (20,)),
    Setting("three agents, one near-perfect, many pairs", (-2.0, -1.0, 3.0), (0.5,), (100,)),
    Setting("three agents, mostly draws", (-0.5, 0.0, 0.5), (0.5,), (20,), draws=0.95),
    Setting("three agents, many pairs", (-2.0, 0.0, 2.0), (0.5,), (200,), correlation=0.5),
    Setting("four agents, games of unequal numbers", (-1.0, -0.5, 0.5, 1.0), (0.5, -0.5), (2, 60)),
    Setting("four agents, two games", (-2.0, -1.0, 1.0, 2.0), (0.5, -0.5), (50, 50), correlation=0.5),
    Setting("six agents, three games, one pair", (-2.0, -1.0, -0.3, 0.3, 1.0, 2.0), (0.5, -0.5, 2.0), (1, 1, 1)),
    Setting("six agents, three games, few pairs", (-2.0, -1.0, -0.3, 0.3, 1.0, 2.0), (0.5, -0.5, 2.0), (5, 5, 5)),
    Setting(
        "six agents, three games", (-2.0, -1.0, -0.3, 0.3, 1.0, 2.0), (0.5, -0.5, 2.0), (20, 20, 20), correlation=-0.5
    ),
    Setting(
        "eight agents, three games, one near-perfect",
        (-2.0, -1.3, -0.9, -0.6, -0.3, 0.1, 0.6, 4.4),
        (0.5, -0.5, 2.0),
        (10, 10, 10),
    ),
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often the intervals of one kind of value held the truth in a setting.

    Attributes:
        setting: Its name.
        pairs: How many pairs every two agents played, by game.
        value: Ratings, differences or seat terms.
        number: How many such values there are in a tournament.
        tournaments: How many tournaments were simulated.
        coverage: The share of all intervals that held the truth.
        lowest: The share for the value that was held least often.
        percentiles: The share of all intervals from percentiles that held the truth.
        bias: The largest mean error of a value, in Elo points.
        width: The median width of the intervals, in Elo points.
    """

    setting: str
    pairs: tuple[int, ...]
    value: str
    number: int
    tournaments: int
    coverage: float
    lowest: float
    percentiles: float
    bias: float
    width: float


_Floats: TypeAlias = NDArray[np.float64]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status of the measurement that `arguments` (default: the command line) describe."""
    parser = argparse.ArgumentParser(prog="rating_coverage.py", description="Measures the intervals of ratings.")
    parser.add_argument("--tournaments", type=int, default=1000, help="simulated tournaments a setting (1000)")
    parser.add_argument("--resamples", type=int, default=300, help="resamples a tournament (300)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"decides the tournaments ({SEED})")
    out_help = f"also write the numbers as JSON ({RESULTS.name} in benchmarks/results, or FILE)"
    parser.add_argument("--out", type=Path, nargs="?", const=RESULTS, metavar="FILE", help=out_help)
    options = parser.parse_args(arguments)
    if options.tournaments < 1 or options.resamples < 2 or options.seed < 0:
        print(
            "error: expected --tournaments of at least 1, --resamples of at least 2, --seed of at least 0",
            file=sys.stderr,
        )
        return 2
    rows: list[Coverage] = []
    print_head()
    for setting in SETTINGS:
        for row in measure(setting, tournaments=options.tournaments, resamples=options.resamples, seed=options.seed):
            print_row(row)
            rows.append(row)
    described = describe_setting(options)
    print(", ".join(f"{name} {value}" for name, value in described.items()))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        report = {
            "setting": described,
            "settings": [asdict(setting) for setting in SETTINGS],
            "rows": [asdict(row) for row in rows],
        }
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")
    return 0


def measure(setting: Setting, *, tournaments: int, resamples: int, seed: int) -> Iterator[Coverage]:
    """Yields the coverage of the ratings, of their differences and of the seat terms."""
    errors: dict[str, list[_Floats]] = {}
    held: dict[str, list[NDArray[np.bool_]]] = {}
    held_by_percentiles: dict[str, list[NDArray[np.bool_]]] = {}
    widths: dict[str, list[_Floats]] = {}
    for number in range(tournaments):
        fit = rate(simulate(setting, np.random.default_rng([seed, number])), resamples=resamples, seed=number)
        for value, truth, estimate, resampled in _values(setting, fit):
            intervals = [estimate_interval(float(each), resampled[:, place]) for place, each in enumerate(estimate)]
            low, high = np.array(intervals).T
            errors.setdefault(value, []).append(estimate - truth)
            held.setdefault(value, []).append((low <= truth) & (truth <= high))
            widths.setdefault(value, []).append(high - low)
            low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
            held_by_percentiles.setdefault(value, []).append((low <= truth) & (truth <= high))
    for value, each in held.items():
        shares = np.mean(each, axis=0)
        yield Coverage(
            setting=setting.name,
            pairs=setting.pairs,
            value=value,
            number=len(shares),
            tournaments=tournaments,
            coverage=round(float(shares.mean()), 4),
            lowest=round(float(shares.min()), 4),
            percentiles=round(float(np.mean(held_by_percentiles[value])), 4),
            bias=round(float(np.abs(np.mean(errors[value], axis=0)).max()), 1),
            width=round(float(np.median(widths[value])), 1),
        )


def simulate(setting: Setting, rng: np.random.Generator) -> list[PairResult]:
    """Returns the pairs of a tournament, of agents and games named by their numbers.

    The luck of seat 0 is uniform on 0 to 1 in every game, and correlated within a pair by a Gaussian copula.
    """
    pairs: list[PairResult] = []
    for game, (seat, number) in enumerate(zip(setting.seats, setting.pairs, strict=True)):
        for first, second in itertools.combinations(range(len(setting.skills)), 2):
            gap = setting.skills[first] - setting.skills[second]
            luck = rng.standard_normal((number, 2))
            luck[:, 1] = setting.correlation * luck[:, 0] + math.sqrt(1 - setting.correlation**2) * luck[:, 1]
            from_seat_0 = _points(luck[:, 0], gap + seat, setting.draws)
            from_seat_1 = 1 - _points(luck[:, 1], seat - gap, setting.draws)
            pairs += [
                PairResult(f"game {game}", (f"agent {first}", f"agent {second}"), (float(one), float(other)), (1, 1))
                for one, other in zip(from_seat_0, from_seat_1, strict=True)
            ]
    return pairs


def _points(luck: _Floats, logit: float, draws: float) -> _Floats:
    """Returns the points of seat 0, from standard normal luck; their mean is the logistic function of `logit`."""
    expected = 1 / (1 + math.exp(-logit))
    drawn = draws * min(expected, 1 - expected)
    win, draw = NormalDist().inv_cdf(expected - drawn), NormalDist().inv_cdf(expected + drawn)
    return np.where(luck < win, 1.0, np.where(luck < draw, 0.5, 0.0))


def _values(setting: Setting, fit: Fit) -> Iterator[tuple[str, _Floats, _Floats, _Floats]]:
    """Yields what is estimated, its true values [V], the estimates [V] and the resamples [B, V], in Elo points."""
    skills = np.array(setting.skills) * ELO_PER_LOGIT
    first, second = np.triu_indices(len(skills), 1)
    yield "ratings", skills - skills.mean(), fit.skills, fit.resampled_skills
    yield (
        "differences",
        skills[first] - skills[second],
        fit.skills[first] - fit.skills[second],
        fit.resampled_skills[:, first] - fit.resampled_skills[:, second],
    )
    yield "seat terms", np.array(setting.seats) * ELO_PER_LOGIT, fit.seat_terms, fit.resampled_seat_terms


def print_head() -> None:
    """Prints the head of the table in Markdown."""
    print("| setting | pairs | value | held | least often | range of chance | percentiles | bias, Elo | width, Elo |")
    print("|---|---|---|---|---|---|---|---|---|")


def print_row(row: Coverage) -> None:
    """Prints a row of the table; the range of chance is that of the value which was held least often."""
    pairs = ", ".join(map(str, row.pairs))
    low, high = wilson_interval(round(row.lowest * row.tournaments), row.tournaments)
    print(
        f"| {row.setting} | {pairs} | {row.number} {row.value} | {row.coverage:.1%} | {row.lowest:.1%}"
        f" | {low:.1%} to {high:.1%} | {row.percentiles:.1%} | {row.bias:.0f} | {row.width:.0f} |",
        flush=True,
    )


def describe_setting(options: argparse.Namespace) -> dict[str, str]:
    """Returns what one has to know in order to repeat the measurement."""
    numbers = f"--tournaments {options.tournaments} --resamples {options.resamples} --seed {options.seed}"
    return {
        "command": f"python benchmarks/rating_coverage.py {numbers}",
        "code": code_version(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
    }


if __name__ == "__main__":
    sys.exit(main())
