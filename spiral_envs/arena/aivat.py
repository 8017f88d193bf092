"""Less luck in the returns of card and dice games: duplicate deals, and what chance gave each player taken out.

For every move of chance the correction is how much better than its average over all outcomes the outcome was, by the
expected returns of play under a fixed reference policy. Whatever the players do, its expectation is 0, so that the
corrected return has the expectation of the return itself, and less variance the better the reference resembles the
players. These are the chance nodes of AIVAT (Burch, Schmid, Moravčík, Morrill and Bowling, AAAI 2018, arXiv
1612.06915); its correction of the players' own moves would need to know their policies.

The moves of chance of a recorded game are found by replaying it from its seed.
"""

# Records come from JSON.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any, Final, NamedTuple, TypeAlias

from spiral_envs.agents.cfr import CfrAgent
from spiral_envs.game import CHANCE, TERMINAL, GameSpec
from spiral_envs.games.kuhn_poker import Bet, Card, Hand, KuhnState
from spiral_envs.intervals import FEW_PAIRS, student_t
from spiral_envs.match import Fault, GameMatch, InvalidMove, Reply, make_view
from spiral_envs.printable import one_line
from spiral_envs.registry import find_game

MAX_STATES: Final = 600_000
"""A game with more states has no values here."""

MAX_PLIES: Final = 100
"""A longer game has none either: its values are found by recursion."""

_HEADINGS: Final = (
    "| game | agent | against | pairs | mean return | with duplicate deals | and less luck"
    " | variance: deals | luck | both |"
)

_LEGEND: Final = (
    "What the agent got in a game, in the units of its returns (chips where chips are paid), with 95 % intervals: of"
    " single games, as if each had a deal of its own; of pairs, in which both agents play both seats of the same deal;"
    " and of pairs less what chance gave (AIVAT on chance nodes). The variances are shares of the first figure's, which"
    " are also the shares of the games that would do: with duplicate deals, without the luck, and both."
)

Values: TypeAlias = tuple[float, ...]
"""A number for every seat."""


class Reference(StrEnum):
    """The policy whose values say how good an outcome of chance is."""

    UNIFORM = "uniform"
    """Every legal move is equally likely."""

    EQUILIBRIUM = "equilibrium"
    """That of the `cfr` agent, which needs OpenSpiel."""


class ChanceValues:
    """The expected returns of play under a reference policy, from every state of a game of hidden information."""

    def __init__(self, spec: GameSpec, reference: Reference) -> None:
        """Sets the game; values are computed when they are asked for.

        Raises:
            ValueError: The game has no hidden information, too many plies or players' own words.
        """
        if spec.talk or spec.perfect_information or spec.game.max_plies > MAX_PLIES:
            raise ValueError(
                f"cannot correct the luck in {spec.label}: it takes hidden information, moves that can be listed, and"
                f" at most {MAX_PLIES} plies"
            )
        self.spec = spec
        self._cfr = CfrAgent(seed=0) if reference is Reference.EQUILIBRIUM else None
        self._known: dict[Any, Values] = {}

    def value(self, state: Any) -> Values:
        """Returns what every seat gets on average from `state` on.

        Raises:
            MissingExtraError: The reference needs OpenSpiel.
            ValueError: The game has too many states, or the reference cannot play it.
        """
        state = _without_past(state)
        known = self._known.get(state)
        if known is None:
            if len(self._known) >= MAX_STATES:
                raise ValueError(
                    f"cannot correct the luck in {self.spec.label}: it has more than {MAX_STATES:,} states"
                )
            known = self._known[state] = self._value(state)
        return known

    def luck(self, before: Any, after: Any) -> Values:
        """Returns how much better than average for every seat the move of chance from `before` to `after` was."""
        average, outcome = self.value(before), self.value(after)
        return tuple(there - mean for there, mean in zip(outcome, average, strict=True))

    def _value(self, state: Any) -> Values:
        game = self.spec.game
        player = game.to_move(state)
        if player == TERMINAL:
            return game.returns(state)
        if player == CHANCE:
            outcomes: Sequence[tuple[Any, float]] = game.chance_outcomes(state)
        else:
            outcomes = tuple(zip(game.legal_moves(state), self._policy(state, player), strict=True))
        following = [(self.value(game.next_state(state, move)), chance) for move, chance in outcomes if chance > 0]
        return tuple(
            math.fsum(values[seat] * chance for values, chance in following) for seat in range(game.num_players)
        )

    def _policy(self, state: Any, seat: int) -> list[float]:
        legal = self.spec.game.legal_moves(state)
        if self._cfr is None:
            return [1 / len(legal)] * len(legal)
        policy = self._cfr.policy(make_view(self.spec, state, seat, turn=0))
        return [policy.get(self.spec.codec.format_move(move), 0.0) for move in legal]


class ChanceMove(NamedTuple):
    """A move of chance: the states before and after it."""

    before: Any
    after: Any


def chance_moves(record: Mapping[str, Any]) -> list[ChanceMove]:
    """Returns the moves of chance of a recorded game, in order; a forfeited game has those that happened.

    Args:
        record: A line of `games.jsonl`, as `Episode.to_json` writes it.

    Raises:
        ValueError: The record does not replay: it is of another version of the game.
        UnknownNameError: No such game.
    """
    spec = find_game(str(record["game"]))
    turns = record["turns"]
    # A fault with a move was replaced by a random one, which took a random number of the match.
    is_replaced = any(turn["fault"] and turn["move"] is not None for turn in turns)
    policy = InvalidMove.RANDOM if is_replaced else InvalidMove.FORFEIT
    match = GameMatch(spec, seed=int(record["seed"]), invalid_move=policy)
    found = list(_path(spec, spec.game.initial_state(), match.state))
    for turn in turns:
        seat = match.seat_to_move
        if seat is None or seat != turn["seat"] or match.view(seat).observation != turn["observation"]:
            raise _other_version(record)
        state = match.state
        match.submit(Reply("", Fault(turn["fault"])) if turn["fault"] else str(turn["move"]))
        played = match.turns[-1].move
        if played != turn["move"]:
            raise _other_version(record)
        if played is not None:
            state = spec.game.next_state(state, spec.codec.parse_move(state, played))
            found.extend(_path(spec, state, match.state))
    if match.outcome is None or list(match.outcome.returns) != list(record["returns"]):
        raise _other_version(record)
    return found


def corrected_returns(record: Mapping[str, Any], *, reference: Reference = Reference.EQUILIBRIUM) -> Values:
    """Returns what every seat got in a recorded game, less what chance gave it.

    Args:
        record: A line of `games.jsonl`, as `Episode.to_json` writes it.
        reference: The policy by whose values the luck is told. It must not depend on the game's outcome: choose it
            before looking.

    Raises:
        MissingExtraError: The reference needs OpenSpiel.
        UnknownNameError: No such game.
        ValueError: The record does not replay, or the game is too large.
    """
    values = _chance_values(find_game(str(record["game"])), reference)
    luck = [values.luck(move.before, move.after) for move in chance_moves(record)]
    return tuple(float(got) - math.fsum(each[seat] for each in luck) for seat, got in enumerate(record["returns"]))


class Estimate(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        mean: In the units of the returns.
        standard_error: Of the mean; None for a single value.
        low: The lower end of the interval by Student's t; None without a standard error.
        high: The upper end.
    """

    mean: float
    standard_error: float | None
    low: float | None
    high: float | None


class CorrectedMatchup(NamedTuple):
    """What `first` got from `second` in a game, over both seats.

    The mean of `corrected` is that of `both`, and the mean of `raw` that of `duplicate`: pairs change the certainty.

    Attributes:
        first: An agent.
        second: The other.
        game: The game's label.
        pairs: How many complete pairs there are: both games of a deal, each agent once in each seat.
        raw: Of single games, counted as if each had a deal of its own.
        duplicate: Of pairs.
        corrected: Of single games less what chance gave, counted as if each had a deal of its own.
        both: Of pairs less what chance gave: the figure to report.
    """

    first: str
    second: str
    game: str
    pairs: int
    raw: Estimate
    duplicate: Estimate
    corrected: Estimate
    both: Estimate

    def units(self, estimate: Estimate) -> float | None:
        """Returns the share of the games that gives the certainty of `raw`; None where that cannot be told."""
        if estimate.standard_error is None or not self.raw.standard_error:
            return None
        return (estimate.standard_error / self.raw.standard_error) ** 2


def is_correctable(game: str, *, reference: Reference = Reference.EQUILIBRIUM) -> bool:
    """Returns whether `corrected_matchups` tells the luck in this game: one of two, with chance and hidden information.

    Raises:
        MissingExtraError: The reference needs OpenSpiel.
        UnknownNameError: No such game.
    """
    # The games of bridges have rules that may take long to value, and random numbers of their own.
    return ":" not in game and _is_correctable(find_game(game), reference)


def corrected_matchups(
    records: Iterable[Mapping[str, Any]], *, reference: Reference = Reference.EQUILIBRIUM
) -> tuple[CorrectedMatchup, ...]:
    """Returns every two agents' results in the games in which luck can be told, from the lines of `games.jsonl`.

    Games that are not `is_correctable` are left out, as are those of an agent against itself, whose mean is 0, and
    those that are not part of a complete pair.

    Raises:
        MissingExtraError: The reference needs OpenSpiel.
        ValueError: A record does not replay.
    """
    played: dict[tuple[str, str, str], dict[int, dict[str, Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        if _is_game(record) and is_correctable(str(record["game"]), reference=reference):
            first, second = sorted(record["agents"])
            # The first agent's seat tells the two games of a pair apart; a game that stands twice counts once.
            played[record["game"], first, second][int(record["pair"])].setdefault(record["agents"][0], record)
    matchups = [
        _matchup(game, first, second, [(pair[first], pair[second]) for pair in _whole(pairs.values())], reference)
        for (game, first, second), pairs in sorted(played.items())
        if _whole(pairs.values())
    ]
    return tuple(matchups)


def matchup_table(matchups: Sequence[CorrectedMatchup]) -> str:
    """Returns the matchups as a table in Markdown, followed by what its columns mean."""
    lines = [_HEADINGS, "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for each in matchups:
        estimates = (each.raw, each.duplicate, each.both)
        units = (each.units(each.duplicate), each.units(each.corrected), each.units(each.both))
        cells = (
            f"`{each.game}`",
            *(f"`{one_line(agent).replace('|', '∣')}`" for agent in (each.first, each.second)),
            str(each.pairs),
            *map(_text, estimates),
            *("" if share is None else f"{share:.2f}" for share in units),
        )
        lines.append(f"| {' | '.join(cells)} |")
    few = any(each.pairs < FEW_PAIRS for each in matchups)
    warning = (f"Below {FEW_PAIRS} pairs an interval says little.",) if few else ()
    return "\n".join((*lines, "", _LEGEND, *warning))


def _whole(pairs: Iterable[Mapping[str, Mapping[str, Any]]]) -> list[Mapping[str, Mapping[str, Any]]]:
    """Returns the pairs of which both games were finished."""
    return [pair for pair in pairs if len(pair) == 2]


def _matchup(
    game: str, first: str, second: str, pairs: Sequence[tuple[Mapping[str, Any], ...]], reference: Reference
) -> CorrectedMatchup:
    raw: list[list[float]] = []
    corrected: list[list[float]] = []
    for pair in pairs:
        seats = [record["agents"].index(first) for record in pair]
        raw.append([float(record["returns"][seat]) for record, seat in zip(pair, seats, strict=True)])
        less_luck = [corrected_returns(record, reference=reference) for record in pair]
        corrected.append([values[seat] for values, seat in zip(less_luck, seats, strict=True)])
    return CorrectedMatchup(
        first=first,
        second=second,
        game=game,
        pairs=len(pairs),
        raw=_by_seat(raw),
        duplicate=_estimate([fmean(pair) for pair in raw]),
        corrected=_by_seat(corrected),
        both=_estimate([fmean(pair) for pair in corrected]),
    )


def _by_seat(pairs: Sequence[Sequence[float]]) -> Estimate:
    """Returns the mean of single games with the error that it would have if no two shared a deal."""
    columns = list(zip(*pairs, strict=True))
    mean = fmean(fmean(column) for column in columns)
    if len(pairs) < 2:
        return Estimate(mean, None, None, None)
    # Each agent is as often in each seat, so that the seats' difference is no noise.
    error = math.sqrt(math.fsum(stdev(column) ** 2 for column in columns) / len(pairs)) / len(columns)
    return _interval(mean, error, len(columns) * (len(pairs) - 1))


def _estimate(values: Sequence[float]) -> Estimate:
    mean = fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None, None)
    return _interval(mean, stdev(values) / math.sqrt(len(values)), len(values) - 1)


def _interval(mean: float, error: float, degrees: int) -> Estimate:
    wide = student_t(degrees) * error
    return Estimate(mean, error, mean - wide, mean + wide)


def _text(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:+.3f}"
    return f"{estimate.mean:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _is_game(record: Mapping[str, Any]) -> bool:
    """Returns whether a line is a game of two different agents."""
    agents = record.get("agents")
    return isinstance(agents, list) and len(set(agents)) == 2 and {"game", "pair", "returns", "turns"} <= set(record)


def _path(spec: GameSpec, before: Any, after: Any) -> Iterator[ChanceMove]:
    """Yields the moves of chance that lead from one state to the other; moves with the same effect are the same."""
    found = _search(spec, before, after)
    assert found is not None, "a match goes from state to state by moves of chance"
    yield from found


def _search(spec: GameSpec, before: Any, after: Any) -> list[ChanceMove] | None:
    if before == after:
        return []
    for move, chance in spec.game.chance_outcomes(before) if spec.game.to_move(before) == CHANCE else ():
        following = spec.game.next_state(before, move)
        rest = _search(spec, following, after) if chance > 0 else None
        if rest is not None:
            return [ChanceMove(before, following), *rest]
    return None


_PAST: Final = Hand((Card.J, Card.Q), (Bet.CHECK, Bet.CHECK))
"""Stands for any finished hand."""


def _without_past(state: Any) -> Any:
    """Returns a state of the same worth for all that have it: finished hands of poker count only by their chips."""
    if isinstance(state, KuhnState) and len(state.chips) == 2 and state.finished:
        return state._replace(finished=(_PAST,) * len(state.finished))
    return state


def _other_version(record: Mapping[str, Any]) -> ValueError:
    return ValueError(
        f"game {record.get('id', record.get('index'))!r} of {record['game']} does not replay from its seed"
        f" {record['seed']}: it was recorded by another version of the game"
    )


@lru_cache(maxsize=64)
def _is_correctable(spec: GameSpec, reference: Reference) -> bool:
    start = spec.game.initial_state()
    if spec.game.num_players != 2 or spec.game.to_move(start) != CHANCE:
        return False
    try:
        _chance_values(spec, reference).value(start)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=64)
def _chance_values(spec: GameSpec, reference: Reference) -> ChanceValues:
    return ChanceValues(spec, reference)
