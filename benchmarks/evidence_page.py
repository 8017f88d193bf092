"""The page of the evidence: tables, pictures and sentences, all written from the figures that were measured."""

# Matplotlib is typed in part only.

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from benchmarks.evidence_comparisons import Comparison, Effect, Estimate, by_effect, comparison_table
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
    HARDER[0]: "tic-tac-toe 5×5 (4 in a row)",
    HARDER[1]: "Kuhn poker (5 cards)",
    HARDER[2]: "negotiation (8 resources)",
    HARDER[3]: "Kuhn poker (5 hands)",
    HARDER[4]: "negotiation (10 turns)",
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
_LEAGUES: Final = {"mirror": "mirror play", "latest": "a league of the latest", "uniform": "a league of all"}
_CONDITIONS: Final = {**_ESTIMATORS, **_OPPONENTS, **_MIXES, **_LEAGUES}
"""What every condition is called; no two parts use one name for different things."""


_RANGES: Final = {
    **dict.fromkeys(("wins", "draws", "faults", "training_faults"), (0.0, 1.0)),
    **dict.fromkeys(("nash_conv", "nash_conv_first", "nash_conv_late", "nash_conv_last"), (0.0, math.inf)),
    **dict.fromkeys(("nash_conv_of_mean", "path", "displacement"), (0.0, math.inf)),
}
"""What values a measure can have, which an interval by Student's t does not know."""


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
        """Returns the mean of a figure over the seeds, its interval cut to values that can be."""
        estimate = Estimate.of([each.value for each in self.figures(measure, condition, game, against)])
        return estimate.within(*_RANGES[measure]) if measure in _RANGES else estimate

    def difference(self, measure: str, first: str, second: str, game: str, against: str = "") -> Estimate:
        """Returns by how much a figure is higher in one condition than in another, the mean over pairs of a seed."""
        pairs = zip(
            self.figures(measure, first, game, against), self.figures(measure, second, game, against), strict=True
        )
        return Estimate.of([one.value - other.value for one, other in pairs])

    def compared(
        self, what: str, measure: str, first: str, second: str, game: str, against: str = "", *, form: str
    ) -> Comparison:
        """Returns a comparison of two conditions, each written named as on the page."""
        difference = self.difference(measure, first, second, game, against)
        return Comparison(what, _CONDITIONS[first], _CONDITIONS[second], difference, difference.text(f"+{form}"))

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
        short: The answer in a sentence or two, for the top of the page.
        comparisons: What is compared.
        findings: What else was found, a sentence or two each.
        picture: What its picture shows.
        draw: Draws it.
    """

    question: str
    method: str
    tables: tuple[str, ...]
    short: str
    comparisons: tuple[Comparison, ...]
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
    sections = {
        part: SECTIONS[part](PartFigures([Measured.of_json(each) for each in records]))
        for part, records in result["parts"].items()
    }
    lines = _head(result, sections)
    for part, section in sections.items():
        drawing = section.draw()
        drawing.savefig(pictures / f"{part.lower()}.png", dpi=110)
        lines += _written(part, section, result)
    page = out / PAGE
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page


def _head(result: Mapping[str, Any], sections: Mapping[str, Section]) -> list[str]:
    about = result["about"]
    scale, seeds = about["scale"], about["scale"]["seeds"]
    minutes = {part: seconds / 60 for part, seconds in about["seconds"].items()}
    changed = ", with changes that are not committed" if about["is_changed"] else ""
    rows = [[f"{part}: {PARTS[part]}", f"{each:.1f}"] for part, each in minutes.items()]
    provenance = (
        f"Commit {about['commit'] or 'unknown'}{changed}; digest of the sources {about['code']}."
        f" {_seeds(seeds)}. Unless something else is said, a figure is a mean over seeds with its 95 % interval by"
        " Student's t, and a difference is taken within a seed, from the same warm model, and called shown where its"
        " interval excludes 0. With so few seeds intervals are wide: what is not shown may still be there, and is not"
        " shown to be absent. Every part makes many comparisons, of which one in twenty is shown by chance alone where"
        " nothing differs; those that stand after Holm's correction for all comparisons of their part are marked."
    )
    sizes = (
        f"The warm model knows tic-tac-toe, one-hand Kuhn poker and negotiation from {scale['warmup_steps']} supervised"
        f" steps on games of weak players. A step of self-play is about 210 turns ({GAMES_PER_BATCH[KUHN]} poker hands"
        f" or {GAMES_PER_BATCH[TIC_TAC_TOE]} games of tic-tac-toe), and a run {scale['steps']} steps"
        f" ({scale['rps_steps']} in rock paper scissors). Matches are {2 * scale['pairs']} games against each judge,"
        f" {2 * scale['far_pairs']} in part E, every deal from both seats, at temperature 0.6 and top-p 0.95."
    )
    limits = (
        "What this cannot show: the embedded model has a fixed short phrase in place of reasoning, none to lose or to"
        " transfer, so that neither thinking collapse nor the gains on benchmarks of mathematics, the main results of"
        " SPIRAL ([arXiv 2506.24119](https://arxiv.org/abs/2506.24119)), are tested here. Where a part agrees or"
        " disagrees with the paper, it does so about strength in small games."
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
        "## In short",
        "",
        "Chosen by the numbers below: what the 95 % intervals show, over a few seeds, without correction.",
        "",
        *(f"- **{part}, {PARTS[part]}.** {section.short}" for part, section in sections.items()),
        "",
        limits,
        "",
        "## How to read it",
        "",
        provenance,
        "",
        sizes,
        "",
        *_table(["part", "minutes of one core"], [*rows, ["all", f"{sum(minutes.values()):.1f}"]]),
        "",
        "A run that several parts show is counted in the first.",
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
        f"**Found.** {section.short}",
        "",
        *comparison_table(section.comparisons),
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
        " every batch is computed. The variance is the trace of the covariance of these gradients over the batches. A"
        " baseline can take out no more than what comes from mean returns that differ from 0, and one for every role no"
        " more than one for all but for what comes from a difference between the roles: the table shows both. Then the"
        " model is trained with each estimator.",
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
        short=_short_a(figures),
        comparisons=(*_variance_comparisons(figures), *_outcome_comparisons(figures)),
        findings=(_finding_a(figures),),
        picture="Left: variance of the gradient relative to RAE's. Right: NashConv in Kuhn poker after training."
        " Circles are seeds, bars 95 % intervals of the mean.",
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


def _variance_comparisons(figures: PartFigures) -> list[Comparison]:
    found: list[Comparison] = []
    for game in (KUHN, TIC_TAC_TOE):
        for state, name in (("before", "warm model"), ("after", "after self-play")):
            for estimator in ("global", "none"):
                ratio = figures.ratio("gradient_variance_ratio", estimator, game, state)
                logs = Estimate.of([math.log(each) for each in ratio.values])
                what = f"variance of the gradient in {_name(game)}, {name}"
                text = f"{ratio.text('.2f')} times"
                found.append(Comparison(what, _ESTIMATORS[estimator], _ESTIMATORS["rae"], logs, text))
    return found


def _nash_comparisons(figures: PartFigures, first: str, others: Sequence[str]) -> list[Comparison]:
    return [figures.compared("NashConv in Kuhn poker", "nash_conv", first, other, KUHN, form=".3f") for other in others]


def _outcome_comparisons(figures: PartFigures) -> list[Comparison]:
    return [
        figures.compared(what, measure, "rae", other, game, against, form=".3f")
        for what, measure, game, against in (
            ("NashConv in Kuhn poker", "nash_conv", KUHN, ""),
            ("faults a game in Kuhn poker", "training_faults", KUHN, ""),
            ("wins against random in tic-tac-toe", "wins", TIC_TAC_TOE, "random"),
            ("faults a game in tic-tac-toe", "training_faults", TIC_TAC_TOE, ""),
        )
        for other in ("global", "none")
    ]


def _nash_conv(figures: PartFigures, condition: str) -> str:
    return figures.estimate("nash_conv", condition, KUHN).text(".2f")


def _nearness(comparisons: Sequence[Comparison]) -> str:
    """Returns in a clause how comparisons of NashConv, in which less is better, came out."""
    return by_effect(
        {each.second: each.effect for each in comparisons},
        {Effect.LOWER: "closer to equilibrium than", Effect.HIGHER: "farther from equilibrium than"},
        "no difference shown from",
        everybody="any other",
    )


def _short_a(figures: PartFigures) -> str:
    effects = [each.effect for each in _variance_comparisons(figures)]
    more, less = effects.count(Effect.HIGHER), effects.count(Effect.LOWER)
    return (
        f"Without a baseline for every role the gradient is noisier in {more} of {len(effects)} comparisons, less noisy"
        f" in {less}, and no difference is shown in {len(effects) - more - less}. In Kuhn poker training with RAE ends"
        f" at a NashConv of {_nash_conv(figures, 'rae')}:"
        f" {_nearness(_nash_comparisons(figures, 'rae', ('global', 'none')))}."
    )


def _finding_a(figures: PartFigures) -> str:
    effects = {each.effect for each in _nash_comparisons(figures, "rae", ("global", "none"))}
    if effects == {Effect.LOWER}:
        verdict = "RAE does best here as well, in strength"
    elif Effect.HIGHER in effects:
        verdict = "here RAE does worse than another estimator, which disagrees with the paper"
    elif Effect.LOWER in effects:
        verdict = "here RAE does better than one of the two others, and no difference from the other is shown"
    else:
        verdict = "no advantage of RAE in strength is shown here"
    return (
        "The paper reports that training without RAE collapses to replies without reasoning after about 200 steps:"
        f" {verdict}. The runs are shorter, and there is no reasoning that could collapse."
    )


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
        short=_short_b(figures),
        comparisons=tuple(_comparisons_b(figures)),
        findings=(_finding_b(figures),),
        picture="What each training comes to; circles are seeds, bars 95 % intervals of the mean.",
        draw=lambda: _draw_b(figures),
    )


def _shares(figures: PartFigures, condition: str, game: str, judge: str) -> str:
    wins = figures.estimate("wins", condition, game, judge)
    draws = figures.estimate("draws", condition, game, judge).mean
    return f"{wins.text('.2f')}, {draws:.2f}, {1 - wins.mean - draws:.2f}"


def _comparisons_b(figures: PartFigures) -> list[Comparison]:
    _, kuhn, _ = _B_GAMES[0]
    _, tic_tac_toe, judges = _B_GAMES[1]
    return _nash_comparisons(figures, "self", [each for each in kuhn if each != "self"]) + [
        figures.compared(
            f"mean return against {judge} in tic-tac-toe", "mean_return", "self", other, TIC_TAC_TOE, judge, form=".3f"
        )
        for other in tic_tac_toe
        if other != "self"
        for judge in judges
    ]


def _short_b(figures: PartFigures) -> str:
    comparisons = _comparisons_b(figures)
    nearness = _nearness([each for each in comparisons if "NashConv" in each.what])
    reached = f"{_nash_conv(figures, 'self')}, from {_nash_conv(figures, 'before')}"
    clauses = [f"In Kuhn poker self-play ends at a NashConv of {reached}: {nearness}"]
    for judge in ("random", "minimax"):
        what = f"mean return against {judge} in tic-tac-toe"
        clause = by_effect(
            {each.second: each.effect for each in comparisons if each.what == what},
            {Effect.HIGHER: "better than", Effect.LOWER: "worse than"},
            "no difference shown from",
            everybody="any other",
        )
        clauses.append(f"against {judge} in tic-tac-toe {clause}")
    return "; ".join(clauses) + "."


def _finding_b(figures: PartFigures) -> str:
    claims = (
        ("self-play above imitation", "self", "sft"),
        ("self-play above an opponent that plays at random", "self", "random"),
        ("self-play above an expert as opponent", "self", "cfr"),
        ("a random opponent below the start", "before", "random"),
        ("an expert as opponent below the start", "before", "cfr"),
    )
    words = {Effect.LOWER: "the same here", Effect.HIGHER: "the reverse here"}
    said: list[str] = []
    for claim, better, worse in claims:
        [comparison] = _nash_comparisons(figures, better, [worse])
        said.append(f"{claim}: {words.get(comparison.effect, 'not shown here')}")
    return (
        "In the paper self-play (44.5 on benchmarks of reasoning) is above imitation (39.7), and fixed opponents (29.6,"
        " 33.4) are below the base model (34.0). By NashConv in Kuhn poker: "
        + "; ".join(said)
        + ". This is strength in the game itself, which the paper's order is not about; and experts that play"
        " perfectly, as here, do not exist for its purpose."
    )


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
        short=_short_c(figures),
        comparisons=tuple(_comparisons_c(figures)),
        findings=tuple(_findings_c(figures)),
        picture="Each game by what was trained: mean return against random, more is better, and in Kuhn poker NashConv,"
        " less is better, because wins against random say little there. Circles are seeds, bars 95 % intervals of the"
        " mean.",
        draw=lambda: _draw_c(figures),
    )


def _judged_in(figures: PartFigures, first: str, second: str, game: str) -> Comparison:
    """Returns the comparison of two models in a game by what says most about it."""
    if game == KUHN:
        return figures.compared("NashConv in Kuhn poker", "nash_conv", first, second, game, form=".3f")
    what = f"mean return against random in {_name(game)}"
    return figures.compared(what, "mean_return", first, second, game, "random", form=".2f")


def _strength(game: str, comparison: Comparison) -> Effect:
    """Returns the effect on strength: `HIGHER` is stronger, also where it is NashConv that was compared."""
    return comparison.effect.reverse if game == KUHN else comparison.effect


def _comparisons_c(figures: PartFigures) -> list[Comparison]:
    general = [
        _judged_in(figures, "all three", other, game)
        for game, specialist in _SPECIALISTS.items()
        for other in (specialist, "before")
    ]
    elsewhere = [
        _judged_in(figures, trained, "before", game)
        for trained in _SPECIALISTS.values()
        for game, own in _SPECIALISTS.items()
        if own != trained
    ]
    return general + elsewhere


def _short_c(figures: PartFigures) -> str:
    clauses: list[str] = []
    for others, name in ((_SPECIALISTS, "the model trained on that game alone"), ({}, "the start")):
        effects = {
            _name(game): _strength(game, _judged_in(figures, "all three", others.get(game, "before"), game))
            for game in _SPECIALISTS
        }
        clause = by_effect(effects, {Effect.HIGHER: "stronger in", Effect.LOWER: "weaker in"}, "no difference shown in")
        clauses.append(f"compared with {name}: {clause}")
    return f"The model trained on all three games, with a third of the turns each, {'; '.join(clauses)}."


def _findings_c(figures: PartFigures) -> list[str]:
    found: list[str] = []
    for trained in _SPECIALISTS.values():
        effects = {
            _name(game): _strength(game, _judged_in(figures, trained, "before", game))
            for game, own in _SPECIALISTS.items()
            if own != trained
        }
        clause = by_effect(effects, {Effect.HIGHER: "stronger in", Effect.LOWER: "weaker in"}, "no difference shown in")
        found.append(f"Training on {trained} alone, compared with the start, in the other two games: {clause}.")
    found.append(
        "The paper finds that games teach different skills and that training on several is best on other tasks. What is"
        " measured here is what a small model keeps and forgets of three games, not skills of reasoning: it can neither"
        " agree nor disagree."
    )
    return found


def _draw_c(figures: PartFigures) -> Drawing:
    drawing, panels = _sheet(1, 3, height=3.4)
    for axes, game in zip(panels, LEARNED, strict=True):
        measure = ("nash_conv", "") if game == KUHN else ("mean_return", "random")
        rows = [{"": figures.estimate(measure[0], each, game, measure[1])} for each in _MIXES]
        dots(axes, list(_MIXES.values()) if axes is panels[0] else [""] * len(rows), rows)
        axes.set_title(_name(game), fontsize=10)
        axes.set_xlabel("NashConv, chips" if game == KUHN else "mean return against random")
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
        " model's own probabilities of the legal moves in the answer's box every few steps, and off 64 replies to every"
        " information set where it has come to write its moves in another form. The path is the sum of the distances"
        " from each such policy to the next, in total variation averaged over information sets; start to end is the"
        " distance of the last from the first. The mean policy plays in every information set the mean of the"
        " probabilities there. In rock paper scissors, times around counts how often the policy goes around the"
        " equilibrium, signed, the mean of both roles. In a league every game trains one seat, so that twice as many"
        " are played.",
        tables=tuple(tables),
        short=_short_d(figures),
        comparisons=tuple(_comparisons_d(figures)),
        findings=tuple(_findings_d(figures)),
        picture="Above: rock paper scissors, probabilities by step of the first seed, Player 0 solid, Player 1 dashed."
        " Below: NashConv by step, thin lines are seeds and thick ones their mean; path against NashConv of the second"
        " half, a mark a run, in the colours of the two pictures beside it.",
        draw=lambda: _draw_d(figures),
    )


def _within(figures: PartFigures, what: str, first: str, second: str, condition: str, game: str) -> Comparison:
    """Returns the comparison of two measures of the same runs."""
    names = {
        "nash_conv_late": "second half",
        "nash_conv_first": "start",
        "nash_conv_of_mean": "mean policy of the second half",
    }
    pairs = zip(figures.figures(first, condition, game), figures.figures(second, condition, game), strict=True)
    difference = Estimate.of([one.value - other.value for one, other in pairs])
    return Comparison(what, names[first], names[second], difference, difference.text("+.2f"))


def _leagues_against_mirror(figures: PartFigures, game: str) -> list[Comparison]:
    what = f"NashConv over the second half in {_name(game)}"
    return [
        figures.compared(what, "nash_conv_late", league, "mirror", game, form=".2f") for league in ("latest", "uniform")
    ]


def _progress(figures: PartFigures, game: str) -> Comparison:
    what = f"NashConv of mirror play in {_name(game)}"
    return _within(figures, what, "nash_conv_late", "nash_conv_first", "mirror", game)


def _comparisons_d(figures: PartFigures) -> list[Comparison]:
    found: list[Comparison] = []
    for game in (ROCK_PAPER_SCISSORS, KUHN):
        found += [_progress(figures, game), *_leagues_against_mirror(figures, game)]
        for condition, label in _LEAGUES.items():
            what = f"NashConv in {_name(game)}, {label}"
            found.append(_within(figures, what, "nash_conv_of_mean", "nash_conv_late", condition, game))
    return found


def _short_d(figures: PartFigures) -> str:
    nearer = {Effect.LOWER: "closer to equilibrium", Effect.HIGHER: "farther from equilibrium"}
    clauses: list[str] = []
    for game in (ROCK_PAPER_SCISSORS, KUHN):
        progress = nearer.get(_progress(figures, game).effect, "no nearer or farther, as far as is shown,")
        leagues = by_effect(
            {each.first: each.effect for each in _leagues_against_mirror(figures, game)},
            {Effect.LOWER: "closer than that", Effect.HIGHER: "farther than that"},
            "no difference from that shown",
            after=True,
        )
        late, first = (figures.estimate(f"nash_conv_{when}", "mirror", game).text(".2f") for when in ("late", "first"))
        clauses.append(
            f"In {_name(game)} mirror play is {progress} in its second half (NashConv {late}) than at its start"
            f" ({first}); {leagues}."
        )
    return " ".join(clauses)


def _findings_d(figures: PartFigures) -> list[str]:
    found: list[str] = []
    for game in (ROCK_PAPER_SCISSORS, KUHN):
        path = figures.estimate("path", "mirror", game).mean
        far = figures.estimate("displacement", "mirror", game).mean
        times = f" ({path / far:.1f} times as far)" if far else ""
        found.append(f"In {_name(game)} mirror play travels {path:.2f} to end {far:.2f} from its start{times}.")
    around = figures.estimate("turns_around", "mirror", ROCK_PAPER_SCISSORS).values
    found.append(
        "A long path alone is no circle: the noise of sampled batches makes one, too. Times around the equilibrium of"
        f" rock paper scissors, by seed: {', '.join(f'{each:+.1f}' for each in around)}; noise goes around as often one"
        " way as the other."
    )
    found.append(
        "The paper plays mirror games only and does not measure cycling. Where the mean policy is closer to equilibrium"
        " than the policies that it is the mean of, the training moves around something that it does not reach."
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
            )
    for game, mark in ((ROCK_PAPER_SCISSORS, "o"), (KUHN, "^")):
        panels[5].plot([], [], mark, color="#7f7f7f", label=_name(game))
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
        short=_short_e(figures),
        comparisons=tuple(
            _wins_compared(figures, trained, game) for game in games for trained in _MIXES if trained != "before"
        ),
        findings=tuple(_findings_e(figures)),
        picture="Wins against random (left) and faults a game (right) by what was trained; the bars are 95 %"
        " intervals of the mean.",
        draw=lambda: _draw_e(figures),
    )


def _wins_compared(figures: PartFigures, trained: str, game: str) -> Comparison:
    what = f"wins against random in {_name(game)}"
    return figures.compared(what, "wins", trained, "before", game, "random", form=".2f")


def _faulty(figures: PartFigures) -> list[str]:
    """Returns the games in which every model ends more than half of its games by a fault."""
    return [
        game
        for game in (*HARDER, *UNSEEN)
        if min(figures.estimate("faults", each, game, "random").mean for each in _MIXES) > 0.5
    ]


def _short_e(figures: PartFigures) -> str:
    faulty = _faulty(figures)
    rest = [game for game in (*HARDER, *UNSEEN) if game not in faulty]
    clause = by_effect(
        {_name(game): _wins_compared(figures, "all three", game).effect for game in rest},
        {Effect.HIGHER: "more wins than before training in", Effect.LOWER: "fewer wins than before training in"},
        "no difference shown in",
    )
    said = f"In {len(faulty)} of {len(HARDER) + len(UNSEEN)} games every model ends more than half of its games by a"
    others = f"; in the others training on all three games brings: {clause}" if rest else ""
    return f"{said} fault, so that wins there say little{others}."


def _findings_e(figures: PartFigures) -> list[str]:
    faulty = ", ".join(map(_name, _faulty(figures))) or "none"
    found = [
        (
            f"Games in which every model, trained or not, ends more than half of its games by a fault: {faulty}. The"
            " vocabulary of the embedded model was made for its own three games."
        )
    ]
    for condition, name in _MIXES.items():
        if condition != "before":
            effects = {_name(game): _wins_compared(figures, condition, game).effect for game in (*HARDER, *UNSEEN)}
            clause = by_effect(
                {game: each for game, each in effects.items() if each in (Effect.HIGHER, Effect.LOWER)},
                {Effect.HIGHER: "more wins in", Effect.LOWER: "fewer in"},
                "",
            )
            found.append(f"Training on {name.removesuffix(' only')}: {clause or 'no difference in wins is shown'}.")
    found.append(
        "The paper reports that self-play carries over to games that were not trained; its model reads and writes"
        " English, this one cannot."
    )
    return found


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
    handles, names = left.get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8)
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
    """Draws estimates as marks with their intervals, a row a label from the top, and those of the seeds as circles.

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
            axes.plot([estimate.mean], [y], "D", color=colour, markersize=6, label=name if row == 0 and name else None)
            # Above the bar and open, so that they are seen where they lie on it.
            axes.plot(estimate.values, [y] * len(estimate.values), "o", color=colour, mfc="white", markersize=3.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()


SECTIONS: Final[dict[str, Callable[[PartFigures], Section]]] = {
    "A": _section_a,
    "B": _section_b,
    "C": _section_c,
    "D": _section_d,
    "E": _section_e,
}
