"""What is played next: which game, from which seed, against whom and from which seat."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate
from typing import Final, NamedTuple, TypedDict

from spiral_envs.agents import agent_names
from spiral_envs.chance import match_seed, uniform
from spiral_envs.errors import UnknownNameError
from spiral_envs.sources import find_source

SELF: Final = "self"
"""The kind of opponent where every seat is the model that learns."""

LEAGUE: Final = "league"
"""The kind of opponent that is a snapshot of the model, taken earlier in the run."""

_DRAWS: Final = int.from_bytes(b"opponent")
"""Goes into the seed, so that the schedule's random numbers are not those of a match."""

_TOLERANCE: Final = Fraction(1, 10**6)
"""How far from 1 weights may sum to: room for decimals such as 0.3333333."""


class MixBy(StrEnum):
    """What the weights of the games are shares of."""

    GAMES = "games"
    """Games, however long they are."""

    TURNS = "turns"
    """Turns of the model that learns, which are what it trains on."""


class GamePlan(NamedTuple):
    """One game to play.

    Attributes:
        number: Its position in the run, from 0.
        game: The game, as the settings name it.
        seed: The seed of the match.
        opponent: The kind of opponent: `SELF`, `LEAGUE` or an agent string.
        learner_seats: The seats of the model that learns: all of them against itself.
    """

    number: int
    game: str
    seed: int
    opponent: str
    learner_seats: tuple[int, ...]


class ScheduleState(TypedDict):
    """What a schedule has recorded, as JSON can hold it.

    Attributes:
        games: The game of every slot.
        weights: The weight of every slot, in lowest whole numbers.
        mix_by: A value of `MixBy`.
        replays: Games of a deal.
        games_played: By slot.
        learner_turns: By slot.
    """

    games: list[str]
    weights: list[int]
    mix_by: str
    replays: int
    games_played: list[int]
    learner_turns: list[int]


class Schedule:
    """Plans the games of a run, so that every process plans the same and every game keeps its share.

    Each entry of the list of games is a slot with a weight. The next game is that of the slot whose next game, as long
    as its games have been on average, would be done first if each slot were served at a constant rate, its weight; a
    slot that is ahead of its share waits. That is worst-case fair weighted fair queueing (Bennett and Zhang, INFOCOM
    1996); with games as the unit no slot is ever a whole game away from its share. Without the waiting, slots of a
    large weight would run ahead by many games: 25 after 50 games of one slot with weight 1/2 and fifty with 1/100.

    All of it is computed in whole numbers, so that no share drifts however long the run is. In turns, a slot is charged
    at least one a game on average, lest one whose games end before the learner moves takes the whole run; and the
    lengths of games that are planned are not yet known, so that a batch may miss the shares, which later ones make up.
    """

    def __init__(
        self,
        games: Sequence[str],
        *,
        weights: Sequence[float] | None,
        mix_by: str,
        opponents: Mapping[str, float],
        seed: int,
        replays: int = 1,
    ) -> None:
        """Starts with nothing recorded.

        Args:
            games: The slots: games, of which one may be named more than once.
            weights: The share of each slot, with sum 1; None for equal ones. A slot of weight 0 is never played.
            mix_by: What the weights are shares of, a value of `MixBy`.
            opponents: Kinds of opponents with the share of the deals that is played against each, with sum 1.
            seed: The seed of the run, from 0.
            replays: How often each deal is played: as many consecutive games share everything but their number.

        Raises:
            UnknownNameError: A game, a kind of opponent or a value of `mix_by` that does not exist.
            ValueError: Weights that are no shares, or a number out of its range.
        """
        if not games:
            raise ValueError("games is empty: name at least one game")
        if mix_by not in tuple(MixBy):
            raise UnknownNameError("way to mix games", mix_by, tuple(MixBy))
        if seed < 0:
            raise ValueError(f"seed is {seed!r}: expected an integer from 0")
        if replays < 1:
            raise ValueError(f"replays is {replays!r}: expected at least 1")
        sources = [find_source(game) for game in games]
        self._slot_games: Final = tuple(games)
        self._labels: Final = tuple(source.label for source in sources)
        self._num_seats: Final = tuple(len(source.roles) for source in sources)
        self._weights: Final = _slot_weights(weights, len(games))
        self._mix_by: Final = MixBy(mix_by)
        self._slots_by_game: Final = _slots_by_game(games, self._weights)
        self._kinds, self._cumulative = _opponent_shares(opponents)
        self._seed: Final = seed
        self._draws: Final = (seed << 64) + _DRAWS
        self._replays: Final = replays
        self._games_played = [0] * len(games)
        self._learner_turns = [0] * len(games)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of opponents that can be drawn, in alphabetical order."""
        return self._kinds

    @property
    def num_recorded(self) -> int:
        """How many games were recorded, which is the number of the first one that was not."""
        return sum(self._games_played)

    def plan(self, first_number: int, count: int) -> list[GamePlan]:
        """Returns the plans of `count` games from number `first_number` on; the schedule stays as it is.

        Games before them that were not recorded count as being played.

        Raises:
            ValueError: A number that was recorded already, or that cuts through the replays of a deal.
        """
        for name, value in (("first_number", first_number), ("count", count)):
            if value < 0 or value % self._replays:
                raise ValueError(f"{name} is {value}: expected a multiple of {self._replays}, the replays of a deal")
        if first_number < self.num_recorded:
            raise ValueError(f"game {first_number} was recorded already: the next one is {self.num_recorded}")
        accounts = self._accounts()
        everything = [slot for slot, weight in enumerate(self._weights) if weight]
        for _ in range(self.num_recorded, first_number, self._replays):
            accounts.give(everything)
        plans: list[GamePlan] = []
        for first_of_deal in range(first_number, first_number + count, self._replays):
            deal = first_of_deal // self._replays
            slot = accounts.give(everything)
            game, seed = self._slot_games[slot], match_seed(self._seed, deal)
            opponent, seats = self._table(deal, self._num_seats[slot])
            plans += (
                GamePlan(number, game, seed, opponent, seats)
                for number in range(first_of_deal, first_of_deal + self._replays)
            )
        return plans

    def record(self, plans: Sequence[GamePlan], learner_turns: Sequence[int]) -> None:
        """Counts games that were played.

        Args:
            plans: The next games that were not recorded yet, in the order of their numbers, whole deals.
            learner_turns: For each of them, the turns of the model that learns, over all of its seats.

        Raises:
            ValueError: Other games are due, or a number of turns is missing or negative. Nothing is counted then.
        """
        self._check_played(plans, learner_turns)
        # A plan does not say which of the slots of its game it came from: the one that is served next, as in `plan`.
        accounts = self._accounts()
        for first in range(0, len(plans), self._replays):
            slot = accounts.give(self._slots_by_game[plans[first].game])
            self._games_played[slot] += self._replays
            self._learner_turns[slot] += sum(learner_turns[first : first + self._replays])

    def shares(self) -> dict[str, tuple[float, float]]:
        """Returns for the label of every game its share of all games and of all the learner's turns recorded so far.

        Both are 0 as long as there are none.
        """
        games: dict[str, int] = dict.fromkeys(self._labels, 0)
        turns: dict[str, int] = dict.fromkeys(self._labels, 0)
        for label, num_games, num_turns in zip(self._labels, self._games_played, self._learner_turns, strict=True):
            games[label] += num_games
            turns[label] += num_turns
        all_games, all_turns = max(1, sum(games.values())), max(1, sum(turns.values()))
        return {label: (games[label] / all_games, turns[label] / all_turns) for label in games}

    def state_dict(self) -> ScheduleState:
        """Returns what was recorded, and the settings that it belongs to, as plain values."""
        return {
            "games": list(self._slot_games),
            "weights": list(self._weights),
            "mix_by": self._mix_by.value,
            "replays": self._replays,
            "games_played": list(self._games_played),
            "learner_turns": list(self._learner_turns),
        }

    def load_state_dict(self, state: ScheduleState) -> None:
        """Restores what `state_dict` returned.

        Raises:
            ValueError: The state was made with other games, weights, replays or another way to mix.
        """
        saved, own = _settings(state), _settings(self.state_dict())
        for name, value in own.items():
            if saved[name] != value:
                raise ValueError(f"the saved schedule has {name} {saved[name]}, this run has {value}")
        self._games_played = list(state["games_played"])
        self._learner_turns = list(state["learner_turns"])

    def _accounts(self) -> _Accounts:
        """Returns the accounts of the slots as recorded; a unit is a fraction of a turn that divides all means."""
        if self._mix_by is MixBy.GAMES:
            return _Accounts(self._weights, self._games_played, [self._replays] * len(self._weights))
        unit = math.lcm(*(max(1, num_games) for num_games in self._games_played))
        charged = [max(both) * unit for both in zip(self._learner_turns, self._games_played, strict=True)]
        expected = [
            charge // num_games if num_games else unit
            for charge, num_games in zip(charged, self._games_played, strict=True)
        ]
        return _Accounts(self._weights, charged, [each * self._replays for each in expected])

    def _table(self, deal: int, num_seats: int) -> tuple[str, tuple[int, ...]]:
        """Returns the kind of opponent of a deal and the learner's seats."""
        kind = self._kinds[bisect_right(self._cumulative, uniform(self._draws, 2 * deal))]
        if kind == SELF:
            return kind, tuple(range(num_seats))
        return kind, (int(uniform(self._draws, 2 * deal + 1) * num_seats),)

    def _check_played(self, plans: Sequence[GamePlan], learner_turns: Sequence[int]) -> None:
        if len(plans) != len(learner_turns):
            raise ValueError(f"{len(plans)} games were played, with turns of {len(learner_turns)}: expected as many")
        if len(plans) % self._replays:
            raise ValueError(f"{len(plans)} games are no whole deals: each is played {self._replays} times")
        for number, (plan, turns) in enumerate(zip(plans, learner_turns, strict=True), start=self.num_recorded):
            if plan.number != number:
                raise ValueError(f"game {plan.number} was played where {number} is the next to record")
            if plan.game not in self._slots_by_game:
                raise ValueError(f"game {plan.number} is {plan.game}: expected {' or '.join(self._slots_by_game)}")
            if turns < 0:
                raise ValueError(f"game {plan.number} has {turns} turns of the learner: expected at least 0")


class _Accounts:
    """What every slot was given, in whole units, while games are handed out one after the other."""

    def __init__(self, weights: Sequence[int], charged: Sequence[int], expected: Sequence[int]) -> None:
        """Opens the accounts.

        Args:
            weights: In any unit; a slot of weight 0 may not be asked for.
            charged: What each slot was given so far.
            expected: What each slot is charged when it is served next, at least 1.
        """
        self._charged = list(charged)
        self._expected = expected
        self._total = sum(charged)
        # To multiply by it is to divide by the weight, times a constant, but exact.
        self._constant = math.lcm(*(weight for weight in weights if weight))
        self._inverse = [self._constant // weight if weight else 0 for weight in weights]
        self._all_weights = sum(weights)

    def give(self, slots: Sequence[int]) -> int:
        """Returns which of `slots` is served next and charges it: the lowest where several are equal."""
        # Of all slots one is always within its share, but perhaps none of the slots of one game.
        ready = [slot for slot in slots if self._is_within_share(slot)] or slots
        slot = min(ready, key=lambda each: (self._charged[each] + self._expected[each]) * self._inverse[each])
        self._charged[slot] += self._expected[slot]
        self._total += self._expected[slot]
        return slot

    def _is_within_share(self, slot: int) -> bool:
        """Whether what the slot was given is at most its weight's share of all that was given."""
        return self._charged[slot] * self._inverse[slot] * self._all_weights <= self._total * self._constant


def _slot_weights(weights: Sequence[float] | None, num_slots: int) -> tuple[int, ...]:
    """Returns the weights of the slots in lowest whole numbers."""
    if weights is None:
        return (1,) * num_slots
    if len(weights) != num_slots:
        raise ValueError(f"there are {len(weights)} weights for {num_slots} games: expected one each")
    fractions = _checked_shares("the games", weights)
    denominator = math.lcm(*(fraction.denominator for fraction in fractions))
    whole = [int(fraction * denominator) for fraction in fractions]
    divisor = math.gcd(*whole)
    return tuple(each // divisor for each in whole)


def _slots_by_game(games: Sequence[str], weights: Sequence[int]) -> dict[str, list[int]]:
    """Returns the slots of each game that are played at all."""
    slots: dict[str, list[int]] = {}
    for slot, (game, weight) in enumerate(zip(games, weights, strict=True)):
        if weight:
            slots.setdefault(game, []).append(slot)
    return slots


def _opponent_shares(opponents: Mapping[str, float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Returns the kinds that can be drawn, sorted, and up to which number from 0 to 1 each is drawn."""
    if not opponents:
        raise ValueError("opponents is empty: name at least one kind with its weight, such as self: 1")
    for opponent in opponents:
        kind, colon, _ = opponent.partition(":")
        if kind in {SELF, LEAGUE}:
            if colon:
                raise ValueError(f"opponent {kind!r} takes no argument, got {opponent!r}")
        # By its kind only: to make an agent may load a model.
        elif kind not in (agents := agent_names()):
            raise UnknownNameError("opponent", kind, (SELF, LEAGUE, *agents))
    names = sorted(opponents)
    shares = _checked_shares("the opponents", [opponents[name] for name in names])
    drawn = [(name, share) for name, share in zip(names, shares, strict=True) if share]
    ends = list(accumulate(share for _, share in drawn))
    return tuple(name for name, _ in drawn), tuple(float(end / ends[-1]) for end in ends)


def _checked_shares(whose: str, weights: Iterable[float]) -> list[Fraction]:
    """Returns `weights` as exact decimals.

    Raises:
        ValueError: One is negative or no number, or they do not sum to 1.
    """
    fractions: list[Fraction] = []
    for weight in weights:
        if not 0 <= weight < math.inf:
            raise ValueError(f"a weight of {whose} is {weight!r}: expected a finite number from 0")
        # By its digits: 0.3 is to be three times 0.1, which the binary numbers are not.
        fractions.append(Fraction(repr(float(weight))))
    total = sum(fractions)
    if not total:
        raise ValueError(f"all weights of {whose} are 0: expected shares that sum to 1")
    if abs(total - 1) > _TOLERANCE:
        raise ValueError(f"the weights of {whose} sum to {round(float(total), 9)!r}: expected 1")
    return fractions


def _settings(state: ScheduleState) -> dict[str, object]:
    """Returns the settings that the figures in `state` belong to, as the user knows them."""
    all_weights = sum(state["weights"])
    return {
        "games": state["games"],
        "weights": [weight / all_weights for weight in state["weights"]],
        "mix_by": state["mix_by"],
        "replays": state["replays"],
    }
