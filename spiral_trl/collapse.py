"""Notices when self-play goes wrong while its loss looks fine, and warns or stops the run.

A model that plays itself can end in a corner that it shares with its opponent: it stops reasoning, both seats settle
for draws, one seat gives up, or nobody makes a legal move any more. Rewards that sum to zero hide that, so the signs
are looked for in the figures of the games. Each is a mean over a window of logged steps, held against a limit or
against the mean of the first logged steps of the run. None of them proves a collapse: perfect players draw
tic-tac-toe for good. An alarm says where to look.
"""

# transformers is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportPrivateImportUsage=false

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum, StrEnum
from statistics import fmean
from typing import Any, Final, NamedTuple

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spiral_trl.records import JsonLines

_logger = logging.getLogger(__name__)

_NOT_OF_THE_BATCH: Final = ("eval/", "eval_", "league/", "nash_conv/", "sampling/")
"""How names begin that are no figures of the games of a batch."""

_AGAINST_ANOTHER: Final = "/vs "
"""Part of a name of games against anyone but the model itself, where a lead is no sign of trouble."""

_LEAD: Final = "lead"
"""Games won less games lost by the first role, as a share."""


class CollapseAction(StrEnum):
    """What an alarm does."""

    WARN = "warn"
    """It is logged and written down."""

    STOP = "stop"
    """It also ends the run after the step."""

    OFF = "off"
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class CollapseSettings:
    """When an alarm is raised. Means are over logged steps in which the game was played.

    Attributes:
        early: How many of the first logged steps say what is usual for the run.
        window: How many of the last logged steps are looked at.
        short_replies: Alarm where the mean length of a reply is below this share of the early one.
        long_replies: Alarm where it is above this multiple of the early one.
        empty_reasoning: Alarm where more than this share of the replies is nothing but the answer.
        seat_gap: Alarm where the lead of the first role (games won less games lost, as a share) is further than this
            from the early one.
        one_seat_wins: Alarm where the lead of either role is above this; 0.94 is 97 of 100 games without draws.
        draws: Alarm where more than this share of the games is drawn.
        faults: Alarm where there are more faults a game than this.
        entropy: Alarm where the policy's entropy is below this share of the early one.
        slack: How far a figure must come back from its limit, as a share of it, before the same alarm can be raised
            again. What is held against a fixed limit must have been that far on its good side once before the first
            alarm: a model that starts with empty reasoning has not lost it.
    """

    early: int = 10
    window: int = 10
    short_replies: float = 0.5
    long_replies: float = 4.0
    empty_reasoning: float = 0.5
    seat_gap: float = 0.6
    one_seat_wins: float = 0.94
    draws: float = 0.98
    faults: float = 0.5
    entropy: float = 0.1
    slack: float = 0.2

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ValueError: A value is out of its range.
        """
        for name, value in asdict(self).items():
            if value <= 0:
                raise ValueError(f"{name} is {value!r}: expected more than 0")
        for name, value in (("short_replies", self.short_replies), ("entropy", self.entropy), ("slack", self.slack)):
            if value >= 1:
                raise ValueError(f"{name} is {value!r}: expected a share below 1")
        if self.long_replies <= 1:
            raise ValueError(f"long_replies is {self.long_replies!r}: expected a multiple above 1")


class Alarm(NamedTuple):
    """A sign of a collapse.

    Attributes:
        step: The optimizer step at which it was noticed.
        name: What is wrong: `GAME/short_replies`, `GAME/long_replies`, `GAME/empty_reasoning`, `GAME/seat_gap`,
            `GAME/one_seat_wins`, `GAME/draw_flood`, `GAME/faults` or `entropy_collapse`.
        message: The same in a sentence.
        figure: The mean over the window.
        limit: What it passed.
    """

    step: int
    name: str
    message: str
    figure: float
    limit: float


class _Measure(Enum):
    """What of the mean over the window is held against the limit."""

    SIZE = "size"
    """Its absolute value."""

    RATIO = "ratio"
    """How many times the early mean it is."""

    DISTANCE = "distance"
    """How far from the early mean it is, on either side."""

    def of(self, mean: float, early: float) -> float:
        if self is _Measure.SIZE:
            return abs(mean)
        return mean / early if self is _Measure.RATIO else abs(mean - early)

    def figure(self, limit: float, mean: float, early: float) -> float:
        """Returns the mean at which the limit is reached, on the side of `mean`."""
        if self is _Measure.RATIO:
            return limit * early
        return math.copysign(limit, mean) if self is _Measure.SIZE else early + math.copysign(limit, mean - early)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One kind of alarm.

    Attributes:
        name: The last part of the alarm's name.
        kind: The last part of the name of the figure that is watched.
        measure: What of it.
        limit: Where trouble begins.
        is_floor: Whether it begins below the limit rather than above.
        meaning: The sign, in words.
    """

    name: str
    kind: str
    measure: _Measure
    limit: float
    is_floor: bool
    meaning: str

    def is_broken(self, value: float) -> bool:
        return value < self.limit if self.is_floor else value > self.limit

    def is_well(self, value: float, slack: float) -> bool:
        """Returns whether the value is clearly on the good side."""
        return value >= self.limit * (1 + slack) if self.is_floor else value <= self.limit * (1 - slack)


def _rules(settings: CollapseSettings) -> tuple[_Rule, ...]:
    size, ratio, distance = _Measure.SIZE, _Measure.RATIO, _Measure.DISTANCE
    return (
        _Rule("short_replies", "reply_tokens", ratio, settings.short_replies, True, "replies have become short"),
        _Rule("long_replies", "reply_tokens", ratio, settings.long_replies, False, "replies have become long"),
        _Rule("empty_reasoning", "empty_reasoning", size, settings.empty_reasoning, False, "replies lost reasoning"),
        _Rule("seat_gap", _LEAD, distance, settings.seat_gap, False, "the lead of the first seat has moved"),
        _Rule("one_seat_wins", _LEAD, size, settings.one_seat_wins, False, "one seat wins nearly always"),
        _Rule("draw_flood", "draw", size, settings.draws, False, "nearly all games are drawn"),
        _Rule("faults", "faults", size, settings.faults, False, "many games end on a fault"),
        _Rule("entropy_collapse", "entropy", ratio, settings.entropy, True, "the policy has lost its entropy"),
    )


@dataclass(slots=True)
class _Series:
    """A figure over the run: its first values and its last ones."""

    early: list[float] = field(default_factory=list[float])
    recent: list[float] = field(default_factory=list[float])


class CollapseDetector:
    """Watches the logged figures of a run; the same figures always give the same alarms."""

    def __init__(self, settings: CollapseSettings | None = None) -> None:
        """Sets when alarms are raised."""
        self._settings = settings or CollapseSettings()
        self._rules = _rules(self._settings)
        self._series: dict[str, _Series] = {}
        self._first_roles: dict[str, str] = {}
        self._is_armed: dict[str, bool] = {}

    def update(self, step: int, metrics: Mapping[str, float]) -> list[Alarm]:
        """Takes the figures of a logged step and returns what is newly wrong.

        An alarm is raised once; it can be raised again after its figure has come back to the good side.

        Args:
            step: The optimizer step.
            metrics: The figures by name, as in `metrics.jsonl`. Others than those of the games played against itself
                and the entropy are passed over, and so is what is not finite.
        """
        alarms: list[Alarm] = []
        for name, figure in self._watched(metrics).items():
            series = self._series.setdefault(name, _Series())
            if len(series.early) < self._settings.early:
                series.early.append(figure)
            series.recent = [*series.recent, figure][-self._settings.window :]
            game, _, kind = name.rpartition("/")
            for rule in self._rules:
                if rule.kind == kind:
                    alarms += self._check(rule, game, series, step)
        return alarms

    def state_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold and `load_state_dict` takes."""
        return {
            "series": {name: asdict(series) for name, series in self._series.items()},
            "first_roles": dict(self._first_roles),
            "is_armed": dict(self._is_armed),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on exactly where the detector was that `state` is of."""
        self._series = {
            name: _Series(list(series["early"]), list(series["recent"])) for name, series in state["series"].items()
        }
        self._first_roles = dict(state["first_roles"])
        self._is_armed = dict(state["is_armed"])

    def _watched(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Returns the figures to watch by `GAME/KIND`, or `entropy`."""
        watched: dict[str, float] = {}
        for name, figure in metrics.items():
            if not math.isfinite(figure) or name.startswith(_NOT_OF_THE_BATCH) or _AGAINST_ANOTHER in name:
                continue
            parent, _, kind = name.rpartition("/")
            if name == "entropy" or (parent and kind in {"reply_tokens", "empty_reasoning", "faults"}):
                watched[name] = figure
            elif kind in {"win", "draw", "loss"}:
                game, _, role = parent.rpartition("/")
                # The loss of the run has no game. What the first role wins, the others lose.
                if not game or self._first_roles.setdefault(game, role) != role:
                    continue
                if kind == "draw":
                    watched[f"{game}/draw"] = figure
                else:
                    lead = f"{game}/{_LEAD}"
                    watched[lead] = watched.get(lead, 0.0) + (figure if kind == "win" else -figure)
        return watched

    def _check(self, rule: _Rule, game: str, series: _Series, step: int) -> Iterator[Alarm]:
        """Yields an alarm where the last figures of a series newly break a rule."""
        settings = self._settings
        is_relative = rule.measure is not _Measure.SIZE
        early, mean = fmean(series.early), fmean(series.recent)
        if is_relative and (len(series.early) < settings.early or (rule.measure is _Measure.RATIO and early <= 0)):
            return
        name = f"{game}/{rule.name}" if game else rule.name
        value = rule.measure.of(mean, early)
        # Half a window is enough to know that all was well, not to raise an alarm.
        if 2 * len(series.recent) >= settings.window and rule.is_well(value, settings.slack):
            self._is_armed[name] = True
        is_full = len(series.recent) >= settings.window
        if not is_full or not self._is_armed.get(name, is_relative) or not rule.is_broken(value):
            return
        self._is_armed[name] = False
        limit = rule.measure.figure(rule.limit, mean, early)
        message = (
            f"{game + ': ' if game else ''}{rule.meaning}: {rule.kind} is {mean:.3g} over the last"
            f" {len(series.recent)} logged steps, with the limit at {limit:.3g}; it was {early:.3g} over the first"
            f" {len(series.early)}"
        )
        yield Alarm(step, name, message, mean, limit)


class CollapseCallback(TrainerCallback):
    """Shows the logged figures to a detector, and writes, logs and follows its alarms.

    All processes log the same figures of the games, so that all of them stop together. The state is for the trainer to
    save: transformers would restore the state of a callback into a new object, in another place among the callbacks.

    Attributes:
        reason: The message of the alarm that stopped the run; None while none has.
    """

    def __init__(self, detector: CollapseDetector, file: JsonLines, action: CollapseAction) -> None:
        """Sets who looks, where alarms are written, and what they do."""
        self.reason: str | None = None
        self._detector = detector
        self._file = file
        self._action = action

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Looks at the figures of a training step."""
        if self._action is CollapseAction.OFF or not logs or "loss" not in logs:
            return
        figures = {name: float(value) for name, value in logs.items() if isinstance(value, int | float)}
        alarms = self._detector.update(state.global_step, figures)
        if not alarms:
            return
        if state.is_world_process_zero:
            self._file.append(alarm._asdict() for alarm in alarms)
            for alarm in alarms:
                _logger.warning("step %d: %s", alarm.step, alarm.message)
        if self._action is CollapseAction.STOP:
            self.reason = self.reason or alarms[0].message
            control.should_training_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the detector, which JSON can hold."""
        return self._detector.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state of `state_dict`."""
        self._detector.load_state_dict(state)
