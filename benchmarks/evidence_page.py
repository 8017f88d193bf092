"""The page of the evidence: tables, pictures and sentences, all written from the figures that were measured."""

# Matplotlib is typed in part only.

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from benchmarks.evidence_figures import Curve, Figure, Measured
from benchmarks.evidence_runs import (
    GAMES_PER_BATCH,
    HARDER,
    KUHN,
    LEARNED,
    NEGOTIATION,
    PARTS,
    ROCK_PAPER_SCISSORS,
    TIC_TAC_TOE,
    UNSEEN,
)
from spiral_envs.intervals import mean_interval
from spiral_envs.sources import find_source

PAGE: Final = "evidence.md"
PICTURES: Final = "evidence"

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
"""Told apart by colour-blind readers as well (Okabe and Ito 2008)."""

_GAME_NAMES: Final = {
    TIC_TAC_TOE: "tic-tac-toe",
    KUHN: "Kuhn poker",
    NEGOTIATION: "negotiation",
    ROCK_PAPER_SCISSORS: "rock paper scissors",
    HARDER[0]: "tic-tac-toe 5×5, 4 in a row",
    HARDER[1]: "Kuhn poker, 5 cards",
    HARDER[2]: "negotiation, 8 resources",
    HARDER[3]: "Kuhn poker, 5 hands",
    HARDER[4]: "negotiation, 10 turns",
    UNSEEN[0]: "connect four",
    UNSEEN[1]: "pig to 30",
    UNSEEN[2]: "liar's dice",
    UNSEEN[3]: "snake",
    UNSEEN[4]: "truth and deception",
}

_ESTIMATORS: Final = {"rae": "RAE", "global": "one global baseline", "none": "no baseline"}
_OPPONENTS: Final = {
    "before": "before training",
    "self": "self-play",
    "random": "training against random",
    "cfr": "training against cfr",
    "minimax": "training against minimax",
    "sft": "imitation of experts",
}
_MIXES: Final = {
    "before": "before training",
    "tic-tac-toe": "tic-tac-toe only",
    "Kuhn poker": "Kuhn poker only",
    "negotiation": "negotiation only",
    "all three": "all three",
}
_LEAGUES: Final = {"mirror": "mirror play", "latest": "league, latest", "uniform": "league, uniform"}


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: Over the seeds.
        low: The lower end of its 95 % interval by Student's t; None with a single seed.
        high: The upper end.
        values: Those of the seeds.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Returns the mean of at least one value."""
        low, high = mean_interval(values) if len(values) > 1 else (None, None)
        return cls(fmean(values), low, high, tuple(values))

    @property
    def is_above(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low is not None and self.low > 0

    @property
    def is_below(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high is not None and self.high < 0

    def text(self, form: str) -> str:
        """Returns the mean and its interval, each in the form of a format specification."""
        if self.low is None or self.high is None:
            return format(self.mean, form)
        return f"{self.mean:{form}} [{self.low:{form}}, {self.high:{form}}]"


class PartFigures:
    """What was measured in one part, with all seeds."""

    def __init__(self, by_seed: Sequence[Measured]) -> None:
        """Takes what was measured with every seed."""
        self._values: dict[tuple[str, ...], dict[int, Figure]] = {}
        self._curves: dict[tuple[str, ...], dict[int, Curve]] = {}
        for measured in by_seed:
            for figure in measured.figures:
                key = (figure.measure, figure.condition, _label(figure.game), figure.against)
                self._values.setdefault(key, {})[figure.seed] = figure
            for curve in measured.curves:
                key = (curve.measure, curve.condition, _label(curve.game), curve.against)
                self._curves.setdefault(key, {})[curve.seed] = curve

    def figures(self, measure: str, condition: str, game: str, against: str = "") -> list[Figure]:
        """Returns a figure of every seed, in their order."""
        by_seed = self._values[measure, condition, _label(game), against]
        return [by_seed[seed] for seed in sorted(by_seed)]

    def estimate(self, measure: str, condition: str, game: str, against: str = "") -> Estimate:
        """Returns the mean of a figure over the seeds."""
        return Estimate.of([each.value for each in self.figures(measure, condition, game, against)])

    def difference(self, measure: str, first: str, second: str, game: str, against: str = "") -> Estimate:
        """Returns by how much a figure is higher in one condition than in another, the mean over pairs of a seed."""
        pairs = zip(
            self.figures(measure, first, game, against), self.figures(measure, second, game, against), strict=True
        )
        return Estimate.of([one.value - other.value for one, other in pairs])

    def ratio(self, measure: str, condition: str, game: str, against: str) -> Estimate:
        """Returns the geometric mean of a ratio over the seeds, its interval by Student's t of the logarithms."""
        logs = Estimate.of([math.log(each.value) for each in self.figures(measure, condition, game, against)])
        low, high = (None if each is None else math.exp(each) for each in logs[1:3])
        return Estimate(math.exp(logs.mean), low, high, tuple(map(math.exp, logs.values)))

    def curves(self, measure: str, condition: str, game: str, against: str = "") -> list[Curve]:
        """Returns a curve of every seed, in their order."""
        by_seed = self._curves[measure, condition, _label(game), against]
        return [by_seed[seed] for seed in sorted(by_seed)]


@dataclass(frozen=True, slots=True)
class Section:
    """A part as it stands on the page.

    Attributes:
        question: What is asked.
        method: How it is answered.
        tables: Markdown tables, each with a line above it.
        findings: What was found, a sentence or two each.
        picture: What its picture shows.
        draw: Draws it.
    """

    question: str
    method: str
    tables: tuple[str, ...]
    findings: tuple[str, ...]
    picture: str
    draw: Callable[[], Drawing]


def write_page(result: Mapping[str, Any], out: Path) -> Path:
    """Writes the page of everything that was measured, and its pictures beside it, and returns its path.

    Args:
        result: What `benchmarks.evidence.collected` returned, or the same read from its file.
        out: The folder of the page.
    """
    pictures = out / PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    lines = _head(result)
    for part, records in result["parts"].items():
        section = SECTIONS[part](PartFigures([Measured.of_json(each) for each in records]))
        drawing = section.draw()
        drawing.savefig(pictures / f"{part.lower()}.png", dpi=110)
        lines += _written(part, section, result)
    page = out / PAGE
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page


def _head(result: Mapping[str, Any]) -> list[str]:
    about = result["about"]
    scale, seeds = about["scale"], about["scale"]["seeds"]
    minutes = {part: seconds / 60 for part, seconds in about["seconds"].items()}
    changed = ", with changes that are not committed" if about["is_changed"] else ""
    rows = [[f"{part}: {PARTS[part]}", f"{each:.1f}"] for part, each in minutes.items()]
    provenance = (
        f"Commit {about['commit'] or 'unknown'}{changed}; digest of the sources {about['code']}."
        f" {_seeds(seeds)}. Unless something else is said, a figure is a mean over seeds with its 95 % interval by"
        " Student's t, and a difference is taken within a seed, from the same warm model, and called real where its"
        " interval excludes 0. With so few seeds an interval is wide: what is not shown is not shown to be absent."
    )
    sizes = (
        f"The warm model knows tic-tac-toe, one-hand Kuhn poker and negotiation from {scale['warmup_steps']} supervised"
        f" steps on games of weak players. A step of self-play is about 210 turns ({GAMES_PER_BATCH[KUHN]} poker hands"
        f" or {GAMES_PER_BATCH[TIC_TAC_TOE]} games of tic-tac-toe), and a run {scale['steps']} steps"
        f" ({scale['rps_steps']} in rock paper scissors). Matches are {2 * scale['pairs']} games against each judge,"
        f" {2 * scale['far_pairs']} in part E, every deal from both seats, at temperature 0.6 and top-p 0.95."
    )
    limits = (
        "A run that several parts show is counted in the first. The embedded model has no reasoning to lose or to"
        " transfer, so that neither thinking collapse nor the gains on benchmarks of mathematics, the main results of"
        " SPIRAL ([arXiv 2506.24119](https://arxiv.org/abs/2506.24119)), are tested here."
    )
    return [
        "# The evidence",
        "",
        "What self-play does to the embedded model, measured from scratch on two CPU cores. The model, its warm-up,",
        "the trainings and the matches are made by one command, which also writes this page, pictures and sentences:",
        "",
        "```console",
        "make evidence",
        "```",
        "",
        provenance,
        "",
        sizes,
        "",
        *_table(["part", "minutes of one core"], [*rows, ["all", f"{sum(minutes.values()):.1f}"]]),
        "",
        limits,
        "",
    ]


def _seeds(seeds: Sequence[int]) -> str:
    return f"Seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"One seed, {seeds[0]}: there are no intervals"


def _written(part: str, section: Section, result: Mapping[str, Any]) -> list[str]:
    seed = result["about"]["scale"]["seeds"][0]
    shown = [run["command"] for run in result["runs"] if part in run["parts"] and run["seed"] == seed]
    return [
        f"## {part}. {PARTS[part][0].upper()}{PARTS[part][1:]}",
        "",
        f"**Question.** {section.question}",
        "",
        section.method,
        "",
        *(line for table in section.tables for line in (table, "")),
        f"![{section.picture}]({PICTURES}/{part.lower()}.png)",
        "",
        f"*{section.picture}*",
        "",
        "**Found.**",
        "",
        *(f"- {finding}" for finding in section.findings),
        "",
        f"The commands with seed {seed}:",
        "",
        "```console",
        *shown,
        "```",
        "",
    ]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _titled(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([title, "", *_table(headings, rows)])


def compared(what: str, first: str, second: str, difference: Estimate, form: str) -> str:
    """Returns in a sentence whether a figure differs between two conditions, as the interval of the difference says."""
    about = f"{what}: {first} compared with {second}"
    if difference.low is None:
        return f"{about}, {difference.mean:+{form}}; one seed shows nothing."
    if difference.is_above or difference.is_below:
        return f"{about}, {'higher' if difference.is_above else 'lower'} by {_absolute(difference).text(form)}."
    return f"{about}, no difference is shown ({difference.text('+' + form)})."


def _absolute(difference: Estimate) -> Estimate:
    """Returns a difference that is real, as a positive number."""
    if not difference.is_below:
        return difference
    low, high = difference.high, difference.low
    return Estimate(
        -difference.mean,
        None if low is None else -low,
        None if high is None else -high,
        tuple(-each for each in difference.values),
    )


def _label(game: str) -> str:
    return find_source(game).label if game else ""


def _name(game: str) -> str:
    return _GAME_NAMES[game]


# -- A ----------------------------------------------------------------------------------------------------------------


def _section_a(figures: PartFigures) -> Section:
    states = {"before": "warm model", "after": "after self-play"}
    ratios = [
        [
            f"{_name(game)}, {states[state]}",
            _roles(figures, game, state),
            *(figures.ratio("gradient_variance_ratio", each, game, state).text(".2f") for each in ("global", "none")),
            *(_by_seed(figures.figures("gradient_variance_ratio", each, game, state)) for each in ("global", "none")),
        ]
        for game in (KUHN, TIC_TAC_TOE)
        for state in states
    ]
    outcomes = [[name, *_outcomes(figures, condition)] for condition, name in {"before": "warm", **_ESTIMATORS}.items()]
    return Section(
        question="Does a baseline for every role make the gradient less noisy than one global baseline or none, and"
        " does it make the training better?",
        method="At fixed weights one large set of self-play games is cut into batches; on the same games each estimator"
        " gives its advantages, from baselines that other games brought to where they stay, and the policy gradient of"
        " every batch is computed. The variance is the trace of the covariance of these gradients over the batches."
        " Then the model is trained with each estimator.",
        tables=(
            _titled(
                "Variance of the gradient relative to RAE's, the geometric mean over seeds; by seed with the interval"
                " of a paired bootstrap over batches:",
                ["weights", "mean return by role", "global", "none", "global by seed", "none by seed"],
                ratios,
            ),
            _titled(
                "After training with each estimator (faults a game at temperature 1 over the last 10 steps):",
                [
                    "estimator",
                    "NashConv, Kuhn poker",
                    "faults, Kuhn poker",
                    "wins against random, tic-tac-toe",
                    "draws against minimax, tic-tac-toe",
                    "faults, tic-tac-toe",
                ],
                outcomes,
            ),
        ),
        findings=tuple(_findings_a(figures)),
        picture="Left: variance of the gradient relative to RAE's. Right: NashConv in Kuhn poker after training. Dots"
        " are seeds, bars 95 % intervals of the mean.",
        draw=lambda: _draw_a(figures),
    )


def _roles(figures: PartFigures, game: str, state: str) -> str:
    return ", ".join(
        f"{role} {figures.estimate('mean_return', role, game, state).mean:+.2f}" for role in find_source(game).roles
    )


def _by_seed(figures: Sequence[Figure]) -> str:
    return "; ".join(f"{each.value:.2f} [{each.low:.2f}, {each.high:.2f}]" for each in figures)


def _outcomes(figures: PartFigures, condition: str) -> list[str]:
    has_run = condition != "before"
    return [
        figures.estimate("nash_conv", condition, KUHN).text(".3f"),
        figures.estimate("training_faults", condition, KUHN).text(".3f") if has_run else "",
        figures.estimate("wins", condition, TIC_TAC_TOE, "random").text(".2f"),
        figures.estimate("draws", condition, TIC_TAC_TOE, "minimax").text(".2f"),
        figures.estimate("training_faults", condition, TIC_TAC_TOE).text(".3f") if has_run else "",
    ]


def _findings_a(figures: PartFigures) -> list[str]:
    found = [
        _ratio_finding(figures, estimator, game, state)
        for game in (KUHN, TIC_TAC_TOE)
        for state in ("before", "after")
        for estimator in ("global", "none")
    ]
    for other in ("global", "none"):
        for what, measure, game, against in (
            ("NashConv in Kuhn poker", "nash_conv", KUHN, ""),
            ("Faults a game in Kuhn poker", "training_faults", KUHN, ""),
            ("Wins against random in tic-tac-toe", "wins", TIC_TAC_TOE, "random"),
            ("Faults a game in tic-tac-toe", "training_faults", TIC_TAC_TOE, ""),
        ):
            difference = figures.difference(measure, "rae", other, game, against)
            found.append(compared(what, "RAE", _ESTIMATORS[other], difference, ".3f"))
    better = any(figures.difference("nash_conv", "rae", other, KUHN).is_below for other in ("global", "none"))
    found.append(
        "The paper reports that training without RAE collapses to replies without reasoning after about 200 steps. "
        + ("Here RAE ends closer to equilibrium than " if better else "Here RAE ends no closer to equilibrium than ")
        + "without it"
        + (", which agrees in direction" if better else ", which does not repeat that advantage")
        + "; the embedded model has a fixed short phrase in place of reasoning, and the runs are shorter."
    )
    return found


def _ratio_finding(figures: PartFigures, estimator: str, game: str, state: str) -> str:
    ratio = figures.ratio("gradient_variance_ratio", estimator, game, state)
    where = f"{_name(game)[0].upper()}{_name(game)[1:]}, {'warm model' if state == 'before' else 'after self-play'}"
    name = _ESTIMATORS[estimator]
    if ratio.low is None or ratio.high is None:
        return f"{where}: with {name} the variance is {ratio.mean:.2f} times RAE's; one seed shows nothing."
    if ratio.low > 1:
        return f"{where}: with {name} the variance is {ratio.text('.2f')} times RAE's, as the paper argues."
    if ratio.high < 1:
        return (
            f"{where}: with {name} the variance is {ratio.text('.2f')} times RAE's, less, unlike what the paper argues."
        )
    return f"{where}: with {name} the variance is {ratio.text('.2f')} times RAE's: no difference is shown."


def _draw_a(figures: PartFigures) -> Drawing:
    drawing, (left, right) = _sheet(1, 2, height=3.6)
    labels, rows = [], []
    for game in (KUHN, TIC_TAC_TOE):
        for state, name in (("before", "warm"), ("after", "after self-play")):
            labels.append(f"{_name(game)},\n{name}")
            rows.append(
                {
                    _ESTIMATORS[each]: figures.ratio("gradient_variance_ratio", each, game, state)
                    for each in ("global", "none")
                }
            )
    dots(left, labels, rows)
    left.axvline(1, color="#7f7f7f", linewidth=1)
    left.set_xlabel("variance of the gradient, RAE's = 1")
    left.legend(frameon=False, fontsize=8)
    conditions = {"before": "warm model", **_ESTIMATORS}
    dots(right, list(conditions.values()), [{"": figures.estimate("nash_conv", each, KUHN)} for each in conditions])
    right.set_xlabel("NashConv in Kuhn poker, chips")
    return drawing


# -- B ----------------------------------------------------------------------------------------------------------------

_B_GAMES: Final = (
    (KUHN, ("before", "self", "random", "cfr", "sft"), ("random", "cfr")),
    (TIC_TAC_TOE, ("before", "self", "random", "minimax", "sft"), ("random", "minimax")),
)


def _section_b(figures: PartFigures) -> Section:
    tables: list[str] = []
    for game, conditions, judges in _B_GAMES:
        headings = ["training", *(["NashConv"] if game == KUHN else [])]
        headings += [f"wins, draws, losses against {judge}" for judge in judges]
        headings += [f"mean return against {judge}" for judge in judges] + [
            "faults a game in training (self-play: of both seats)"
        ]
        rows: list[list[str]] = []
        for condition in conditions:
            row = [_OPPONENTS[condition]]
            if game == KUHN:
                row.append(figures.estimate("nash_conv", condition, game).text(".3f"))
            row += [_shares(figures, condition, game, judge) for judge in judges]
            row += [figures.estimate("mean_return", condition, game, judge).text("+.3f") for judge in judges]
            has_run = condition not in ("before", "sft")
            row.append(figures.estimate("training_faults", condition, game).text(".3f") if has_run else "")
            rows.append(row)
        tables.append(_titled(f"{_name(game)[0].upper()}{_name(game)[1:]}:", headings, rows))
    return Section(
        question="Is playing against oneself better than playing against a fixed opponent, or than imitating experts?",
        method="All trainings begin with the same warm model and learn from about the same number of turns. Against a"
        " fixed opponent twice as many games are played, because one seat learns. The experts are an equilibrium"
        " (cfr) in poker, minimax and mcts:16 in tic-tac-toe; the turns of the winners are imitated, as in the paper.",
        tables=tuple(tables),
        findings=tuple(_findings_b(figures)),
        picture="What each training comes to; dots are seeds, bars 95 % intervals of the mean.",
        draw=lambda: _draw_b(figures),
    )


def _shares(figures: PartFigures, condition: str, game: str, judge: str) -> str:
    wins = figures.estimate("wins", condition, game, judge)
    draws = figures.estimate("draws", condition, game, judge).mean
    return f"{wins.text('.2f')}, {draws:.2f}, {1 - wins.mean - draws:.2f}"


def _findings_b(figures: PartFigures) -> list[str]:
    found: list[str] = []
    for game, conditions, judges in _B_GAMES:
        for other in conditions:
            if other == "self":
                continue
            if game == KUHN:
                difference = figures.difference("nash_conv", "self", other, game)
                found.append(compared("NashConv in Kuhn poker", "self-play", _OPPONENTS[other], difference, ".3f"))
            for judge in judges if game == TIC_TAC_TOE else ():
                difference = figures.difference("mean_return", "self", other, game, judge)
                what = f"Mean return against {judge} in tic-tac-toe"
                found.append(compared(what, "self-play", _OPPONENTS[other], difference, ".3f"))
    nearest = min(_B_GAMES[0][1], key=lambda each: figures.estimate("nash_conv", each, KUHN).mean)
    found.append(
        f"Closest to equilibrium in Kuhn poker in the mean is: {_OPPONENTS[nearest]}. In the paper self-play (44.5 on"
        " benchmarks of reasoning) is above imitation (39.7), and fixed opponents (29.6, 33.4) below the base model"
        f" (34.0); the order here {'agrees' if nearest == 'self' else 'is another one'}, but it is of strength in the"
        " game itself, and experts that play perfectly, as here, do not exist for the paper's purpose."
    )
    return found


def _draw_b(figures: PartFigures) -> Drawing:
    drawing, (first, second, third) = _sheet(1, 3, height=3.4)
    _, kuhn, _ = _B_GAMES[0]
    names = [_OPPONENTS[each] for each in kuhn]
    dots(first, names, [{"": figures.estimate("nash_conv", each, KUHN)} for each in kuhn])
    first.set_xlabel("NashConv in Kuhn poker, chips")
    _, ttt, judges = _B_GAMES[1]
    for axes, judge in ((second, judges[0]), (third, judges[1])):
        names = [_OPPONENTS[each] for each in ttt]
        dots(axes, names, [{"": figures.estimate("mean_return", each, TIC_TAC_TOE, judge)} for each in ttt])
        axes.set_xlabel(f"mean return against {judge},\ntic-tac-toe")
    return drawing


# -- C ----------------------------------------------------------------------------------------------------------------

_C_JUDGES: Final = (
    (TIC_TAC_TOE, "random"),
    (TIC_TAC_TOE, "minimax"),
    (KUHN, "random"),
    (KUHN, "cfr"),
    (NEGOTIATION, "random"),
)
_SPECIALISTS: Final = {TIC_TAC_TOE: "tic-tac-toe", KUHN: "Kuhn poker", NEGOTIATION: "negotiation"}


def _section_c(figures: PartFigures) -> Section:
    headings = [
        "trained on",
        "turns",
        *(f"{_name(game)} v {judge}" for game, judge in _C_JUDGES),
        "NashConv, Kuhn poker",
    ]
    rows = [
        [
            name,
            "" if condition == "before" else f"{figures.estimate('turns', condition, '').mean:,.0f}",
            *(figures.estimate("mean_return", condition, *each).text("+.2f") for each in _C_JUDGES),
            figures.estimate("nash_conv", condition, KUHN).text(".3f"),
        ]
        for condition, name in _MIXES.items()
    ]
    return Section(
        question="With the same number of turns in all, is it better to train on one game or on three?",
        method="From the same warm model, runs on one game each and one run on all three, a third of the turns each."
        " Every final model is judged in all three games.",
        tables=(_titled("Mean return by game and judge:", headings, rows),),
        findings=tuple(_findings_c(figures)),
        picture="Mean return against random in each game by what was trained; dots are seeds, bars 95 % intervals of"
        " the mean.",
        draw=lambda: _draw_c(figures),
    )


def _findings_c(figures: PartFigures) -> list[str]:
    found: list[str] = []
    for game, specialist in _SPECIALISTS.items():
        for other in (specialist, "before"):
            if game == KUHN:
                difference = figures.difference("nash_conv", "all three", other, game)
                what, form = "NashConv in Kuhn poker", ".3f"
            else:
                difference = figures.difference("mean_return", "all three", other, game, "random")
                what, form = f"Mean return against random in {_name(game)}", ".2f"
            found.append(compared(what, "all three", _MIXES[other], difference, form))
    for trained in _SPECIALISTS.values():
        harmed = [
            _name(game)
            for game, own in _SPECIALISTS.items()
            if own != trained and figures.difference("mean_return", trained, "before", game, "random").is_below
        ]
        gained = [
            _name(game)
            for game, own in _SPECIALISTS.items()
            if own != trained and figures.difference("mean_return", trained, "before", game, "random").is_above
        ]
        found.append(
            f"Training on {trained} alone makes the model worse against random in: {', '.join(harmed) or 'neither'};"
            f" better in: {', '.join(gained) or 'neither'} of the other two."
        )
    found.append(
        "The paper finds that games teach different skills and that training on several is best on other tasks. What is"
        " measured here is what a small model keeps and forgets of three games, not skills of reasoning."
    )
    return found


def _draw_c(figures: PartFigures) -> Drawing:
    drawing, panels = _sheet(1, 3, height=3.4)
    for axes, game in zip(panels, LEARNED, strict=True):
        dots(
            axes,
            list(_MIXES.values()),
            [{"": figures.estimate("mean_return", each, game, "random")} for each in _MIXES],
        )
        axes.set_title(_name(game), fontsize=10)
        axes.set_xlabel("mean return against random")
    return drawing


# -- D ----------------------------------------------------------------------------------------------------------------


def _section_d(figures: PartFigures) -> Section:
    tables: list[str] = []
    for game in (ROCK_PAPER_SCISSORS, KUHN):
        measures = {
            "NashConv at the start": "nash_conv_first",
            "over the second half": "nash_conv_late",
            "at the end": "nash_conv_last",
            "of the mean policy of the second half": "nash_conv_of_mean",
            "path": "path",
            "start to end": "displacement",
        }
        if game == ROCK_PAPER_SCISSORS:
            measures["times around"] = "turns_around"
        rows = [
            [name, *(figures.estimate(measure, condition, game).text(".2f") for measure in measures.values())]
            for condition, name in _LEAGUES.items()
        ]
        tables.append(_titled(f"{_name(game)[0].upper()}{_name(game)[1:]}:", ["opponents", *measures], rows))
    return Section(
        question="Does a model that only ever meets its present self go in circles, and does a league of its earlier"
        " selves stop that?",
        method="Without any pull to the start (`--beta 0`) and at a constant learning rate. The policy is read from the"
        " model's own probabilities of the legal moves every few steps. The path is the sum of the distances from each"
        " such policy to the next, in total variation averaged over information sets; start to end is the distance of"
        " the last from the first. The mean policy plays in every information set the mean of the probabilities there."
        " In rock paper scissors, times around counts how often the policy goes around the equilibrium, signed, the"
        " mean of both roles. In a league every game trains one seat, so that twice as many are played.",
        tables=tuple(tables),
        findings=tuple(_findings_d(figures)),
        picture="Above: rock paper scissors, probabilities by step of the first seed, Player 0 solid, Player 1 dashed."
        " Below: NashConv by step, thin lines are seeds and thick ones their mean; path against NashConv of the second"
        " half, a mark a run.",
        draw=lambda: _draw_d(figures),
    )


def _findings_d(figures: PartFigures) -> list[str]:
    found: list[str] = []
    for game in (ROCK_PAPER_SCISSORS, KUHN):
        name = _name(game)
        path = figures.estimate("path", "mirror", game).mean
        far = figures.estimate("displacement", "mirror", game).mean
        ends = [
            late.value - first.value
            for late, first in zip(
                figures.figures("nash_conv_late", "mirror", game),
                figures.figures("nash_conv_first", "mirror", game),
                strict=True,
            )
        ]
        gained = compared(
            f"NashConv of mirror play in {name}", "the second half", "the start", Estimate.of(ends), ".2f"
        )
        found.append(
            f"In {name} mirror play travels {path:.2f} to end {far:.2f} from its start"
            f" ({path / far:.1f} times as far). {gained}"
        )
        for league in ("latest", "uniform"):
            difference = figures.difference("nash_conv_late", league, "mirror", game)
            what = f"NashConv over the second half in {name}"
            found.append(compared(what, _LEAGUES[league], "mirror play", difference, ".2f"))
        for condition, label in _LEAGUES.items():
            pairs = zip(
                figures.figures("nash_conv_of_mean", condition, game),
                figures.figures("nash_conv_late", condition, game),
                strict=True,
            )
            difference = Estimate.of([mean.value - own.value for mean, own in pairs])
            what = f"NashConv in {name}, {label}"
            found.append(compared(what, "the mean policy of the second half", "its policies", difference, ".2f"))
    found.append(
        "The paper plays mirror games only and does not measure cycling. Where the mean policy is closer to equilibrium"
        " than the policies that it is the mean of, the training circles around what it does not reach."
    )
    return found


def _draw_d(figures: PartFigures) -> Drawing:
    drawing, panels = _sheet(2, 3, height=6.2)
    for axes, (condition, name) in zip(panels[:3], _LEAGUES.items(), strict=True):
        for at, move in enumerate(("[rock]", "[paper]", "[scissors]")):
            for player, dashes in (("Player 0", "-"), ("Player 1", "--")):
                curve = figures.curves(f"probability {move}", condition, ROCK_PAPER_SCISSORS, player)[0]
                label = move if player == "Player 0" else None
                axes.plot(curve.steps, curve.values, dashes, color=COLOURS[at], linewidth=1.2, label=label)
        axes.set_ylim(0, 1)
        axes.set_title(f"rock paper scissors, {name}", fontsize=9)
        axes.set_xlabel("step")
    panels[0].set_ylabel("probability")
    panels[0].legend(frameon=False, fontsize=7)
    for axes, game in ((panels[3], ROCK_PAPER_SCISSORS), (panels[4], KUHN)):
        for at, (condition, name) in enumerate(_LEAGUES.items()):
            _draw_curves(axes, figures.curves("nash_conv", condition, game), COLOURS[at], name)
        axes.set_title(_name(game), fontsize=9)
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
    panels[3].set_ylabel("NashConv")
    panels[3].legend(frameon=False, fontsize=7)
    for at, condition in enumerate(_LEAGUES):
        for game, mark in ((ROCK_PAPER_SCISSORS, "o"), (KUHN, "^")):
            panels[5].plot(
                [each.value for each in figures.figures("path", condition, game)],
                [each.value for each in figures.figures("nash_conv_late", condition, game)],
                mark,
                color=COLOURS[at],
                label=_name(game) if at == 0 else None,
            )
    panels[5].set_xlabel("path")
    panels[5].set_ylabel("NashConv, second half")
    panels[5].legend(frameon=False, fontsize=7)
    return drawing


def _draw_curves(axes: Axes, curves: Sequence[Curve], colour: str, name: str) -> None:
    for curve in curves:
        axes.plot(curve.steps, curve.values, color=colour, linewidth=0.6, alpha=0.5)
    means = [fmean(values) for values in zip(*(curve.values for curve in curves), strict=True)]
    axes.plot(curves[0].steps, means, color=colour, linewidth=2, label=name)


# -- E ----------------------------------------------------------------------------------------------------------------


def _section_e(figures: PartFigures) -> Section:
    games = (*HARDER, *UNSEEN)
    tables = [
        _titled(
            f"{title} against random:",
            ["game", *_MIXES.values()],
            [
                [_name(game), *(figures.estimate(measure, each, game, "random").text(".2f") for each in _MIXES)]
                for game in games
            ],
        )
        for title, measure in (("Wins, share of games,", "wins"), ("Faults of the model a game,", "faults"))
    ]
    return Section(
        question="Is the model better after self-play in harder versions of its games, and in games that it never saw?",
        method="The models of part C, without any further training. A fault loses the game.",
        tables=tuple(tables),
        findings=tuple(_findings_e(figures)),
        picture="Wins against random (left) and faults a game (right) by what was trained; the bars are 95 %"
        " intervals of the mean.",
        draw=lambda: _draw_e(figures),
    )


def _findings_e(figures: PartFigures) -> list[str]:
    games = (*HARDER, *UNSEEN)
    faulty = [
        game for game in games if min(figures.estimate("faults", each, game, "random").mean for each in _MIXES) > 0.5
    ]
    listed = ", ".join(map(_name, faulty)) or "none"
    found = [
        (
            f"In {len(faulty)} of {len(games)} games ({listed}) every model, trained or not, ends more than half of its"
            " games by a fault: a small model with a vocabulary made of its own three games cannot write the moves of"
            " others, and what it wins or loses there says little about play."
        )
    ]
    for condition, name in _MIXES.items():
        if condition == "before":
            continue
        better = [game for game in games if figures.difference("wins", condition, "before", game, "random").is_above]
        worse = [game for game in games if figures.difference("wins", condition, "before", game, "random").is_below]
        found.append(
            f"Training on {name.removesuffix(' only')}: more wins than before in {_listed(better)}; fewer in"
            f" {_listed(worse)}."
        )
    found.append(
        f"The paper reports that self-play carries over to games that were not trained. With 95 % intervals and"
        f" {len(games) * (len(_MIXES) - 1)} comparisons one or two differences would be called real by chance alone."
    )
    return found


def _listed(games: Sequence[str]) -> str:
    return ", ".join(map(_name, games)) or "no game"


def _draw_e(figures: PartFigures) -> Drawing:
    drawing, (left, right) = _sheet(1, 2, height=5.4)
    games = (*HARDER, *UNSEEN)
    for axes, measure, name in (
        (left, "wins", "wins against random, share of games"),
        (right, "faults", "faults a game"),
    ):
        rows = [{_MIXES[each]: figures.estimate(measure, each, game, "random") for each in _MIXES} for game in games]
        dots(axes, [_name(game) for game in games], rows)
        axes.set_xlabel(name)
        axes.set_xlim(-0.03, 1.03)
    right.set_yticklabels([])
    left.legend(frameon=False, fontsize=7)
    return drawing


# -- drawing ----------------------------------------------------------------------------------------------------------


def _sheet(rows: int, columns: int, *, height: float) -> tuple[Drawing, list[Axes]]:
    """Returns an empty sheet, 11 inches wide, and its panels by row."""
    drawing = Drawing(figsize=(11, height), layout="constrained")
    FigureCanvasAgg(drawing)
    panels = [drawing.add_subplot(rows, columns, at + 1) for at in range(rows * columns)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
        axes.set_axisbelow(True)
    return drawing, panels


def dots(axes: Axes, labels: Sequence[str], rows: Sequence[Mapping[str, Estimate]]) -> None:
    """Draws estimates as marks with their intervals, a row a label from the top, and the values of the seeds as dots.

    Args:
        axes: Where.
        labels: Of the rows.
        rows: The estimates of a row by the name of their series; a series has one colour.
    """
    for row, estimates in enumerate(rows):
        for at, (name, estimate) in enumerate(estimates.items()):
            y = row + (at - (len(estimates) - 1) / 2) * 0.8 / max(len(estimates), 2)
            colour = COLOURS[at]
            if estimate.low is not None and estimate.high is not None:
                axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.6)
            axes.plot(estimate.values, [y] * len(estimate.values), ".", color=colour, markersize=4, alpha=0.6)
            axes.plot([estimate.mean], [y], "D", color=colour, markersize=5, label=name if row == 0 and name else None)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()


SECTIONS: Final[dict[str, Callable[[PartFigures], Section]]] = {
    "A": _section_a,
    "B": _section_b,
    "C": _section_c,
    "D": _section_d,
    "E": _section_e,
}
