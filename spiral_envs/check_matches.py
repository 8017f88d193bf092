"""The laws as far as matches show them, whatever their rules come from: tests over `MatchSource`.

They need replies that are moves: random ones where a game lists its legal moves, else whoever asks for the test says
how to reply.
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, TypeAlias

import numpy as np

from spiral_envs.errors import BrokenLawError
from spiral_envs.hostile import CONTROL_TOKENS, hostile_replies
from spiral_envs.laws import Law
from spiral_envs.match import Fault, Match, MatchSource, Outcome, Reply, View
from spiral_envs.positions import choose
from spiral_envs.sources import source_of

ReplyWith: TypeAlias = Callable[[View, random.Random], str]
"""Returns a reply that is a move, given what the seat to move is shown."""


@dataclass(frozen=True, slots=True)
class MatchCase:
    """What the laws are tested on.

    Attributes:
        source: Where the matches come from.
        num_matches: How many matches are played for a law.
        seed: Decides every random choice.
        reply: Makes the replies.
    """

    source: MatchSource
    num_matches: int
    seed: int
    reply: ReplyWith

    def rng(self) -> random.Random:
        """Returns new random numbers."""
        return random.Random(self.seed)

    def matches(self, limit: int) -> Iterator[Match]:
        """Yields at most `limit` new matches."""
        for index in range(min(self.num_matches, limit)):
            yield self.source.start(seed=self.seed + index)

    def replies(self, match: Match) -> Iterator[str]:
        """Yields a move as long as there is one; whoever asks for them submits them."""
        rng = random.Random(match.seed)
        while match.seat_to_move is not None:
            yield self.reply(match.view(match.seat_to_move), rng)

    def submit(self, match: Match, text: str) -> None:
        """Submits a reply, and names the law if that raises an error."""
        try:
            match.submit(text)
        except Exception as error:
            raise self.error(Law.FAULTS, f"the reply {text[:200]!r} raises {error!r}", match) from error

    def playing(self, match: Match) -> Iterator[tuple[object, ...]]:
        """Plays moves and yields, before each and after the last, all that the match tells."""
        for text in self.replies(match):
            yield _told(match)
            self.submit(match, text)
        yield _told(match)

    def forfeits(self) -> Iterator[tuple[Match, Outcome]]:
        """Yields matches that a fault has ended, in different turns."""
        for match in self.matches(50):
            for turn, text in enumerate(self.replies(match)):
                self.submit(match, Reply(fault=Fault.TRUNCATED) if turn == match.seed % 7 else text)
            if match.outcome is not None and match.outcome.fault is not None:
                yield match, match.outcome

    def error(self, law: Law, what: str, match: Match) -> BrokenLawError:
        """Returns the error that says what breaks `law` in `match`."""
        written = ", ".join(f"{turn.response[:200]!r}" for turn in match.turns) or "no reply"
        where = f"with seed {match.seed} after {written}"
        return BrokenLawError(f"{self.source.label} breaks {law.value}: {what}, {where}")


def random_legal(view: View, rng: random.Random) -> str:
    """Returns a random legal move.

    Raises:
        ValueError: The game lists none.
    """
    legal = view.legal_moves
    if not legal:
        raise ValueError(f"{view.game} does not list its legal moves: say how to reply")
    return legal[choose(rng, legal)]


def check_matches(case: MatchCase) -> None:
    """Returns when the matches have passed the tests of the laws that matches can show, but for determinism.

    Raises:
        BrokenLawError: A law is broken; the message names it, and the replies that show it.
        ValueError: A reply that the caller made is no move.
    """
    # In the order in which a broken law confuses the tests after it least.
    for test in (_check_returns, _check_round_trip, _check_replies, _check_copies, _check_faults):
        test(case)


@contextmanager
def unchanged_global_random() -> Generator[None]:
    """Puts the global random numbers back as they were found."""
    saved = _global_random_state()
    try:
        yield
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002


def seed_global_random(seed: int) -> None:
    """Sets the global random numbers, which a careless game would read."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def check_determinism(case: MatchCase) -> None:
    """Returns when the same seeds and replies have given the same matches; it changes the global random numbers.

    Raises:
        BrokenLawError: They have not.
    """
    spec = case.source.spec
    for index in range(min(case.num_matches, 30)):
        # Matches of one specification share what they compute, which would hide that it came out differently.
        sources = [source_of(replace(spec)) if spec is not None else case.source for _ in range(3)]
        seed = case.seed + index
        seed_global_random(index)
        before = _global_random_state()
        match = sources[0].start(seed=seed)
        first = list(case.playing(match))
        if pickle.dumps(before) != pickle.dumps(_global_random_state()):
            raise case.error(Law.DETERMINISM, "the match used the global random numbers", match)
        seed_global_random(index + 1)
        other = case.playing(sources[1].start(seed=seed + 1))
        again = sources[2].start(seed=seed)
        for position, position_again in zip(first, case.playing(again), strict=True):
            if position != position_again:
                was, is_now = next(pair for pair in zip(position, position_again, strict=True) if pair[0] != pair[1])
                raise case.error(Law.DETERMINISM, f"the same match shows {was!r} and then {is_now!r}", again)
            next(other, None)


def _check_returns(case: MatchCase) -> None:
    low, high = case.source.return_range
    for match in case.matches(50):
        for text in case.replies(match):
            case.submit(match, text)
        assert match.outcome is not None, "no seat is to move"
        if match.outcome.fault is not None and case.reply is not random_legal:
            raise ValueError(f"a reply is no move of {case.source.label}: {match.outcome.reason}")
        returns = match.outcome.returns
        if case.source.zero_sum and sum(returns) != 0:
            raise case.error(Law.ZERO_SUM, f"returns {returns!r} do not sum to 0", match)
        if min(returns) < low or max(returns) > high:
            raise case.error(Law.NO_FREE_FAULT, f"returns {returns!r} are not within {low!r} and {high!r}", match)
    for match, outcome in case.forfeits():
        if case.source.zero_sum and sum(outcome.returns) != 0:
            raise case.error(Law.ZERO_SUM, f"returns {outcome.returns!r} do not sum to 0", match)
        if outcome.offender is None or outcome.returns[outcome.offender] > low:
            raise case.error(Law.NO_FREE_FAULT, f"a fault pays {outcome.returns!r}, more than {low!r}", match)


def _check_round_trip(case: MatchCase) -> None:
    for match in case.matches(30):
        for text in case.replies(match):
            assert match.seat_to_move is not None, "there was a reply"
            is_listed = match.view(match.seat_to_move).legal_moves is not None
            case.submit(match, text)
            if is_listed and match.turns[-1].move != text:
                raise case.error(Law.ROUND_TRIP, f"{text!r} played {match.turns[-1].move!r}", match)


def _check_replies(case: MatchCase) -> None:
    rng = case.rng()
    for match in case.matches(10):
        for turn, text in enumerate(case.replies(match)):
            if not _is_tried(turn, rng):
                case.submit(match, text)
                continue
            plain = copy.deepcopy(match)
            case.submit(plain, text)
            for token in CONTROL_TOKENS[turn % 3 :: 3]:
                spoken = copy.deepcopy(match)
                case.submit(spoken, f"\\boxed{{{text[:-1]} | so {token} it is]}}")
                if spoken.turns[-1].fault is None:
                    _check_remark(case, spoken, plain, token)
            boxed = f"<think>{_SECRET} {text}</think>{_SECRET} [{_SECRET}] \\boxed{{{text}}} {_SECRET}"
            case.submit(match, boxed if turn % 2 or not text.startswith("[") else f"{_SECRET} {text} [{_SECRET}]")
            if match.turns[-1].move != plain.turns[-1].move:
                raise case.error(Law.ONLY_MOVES, f"{text!r} is not played with reasoning around it", match)
            if any(_SECRET in shown for shown in _texts(match)):
                raise case.error(Law.ONLY_MOVES, "the players are shown the reasoning of a reply", match)


def _check_remark(case: MatchCase, match: Match, plain: Match, token: str) -> None:
    """Compares what the players are shown after a move with a remark and after the same move without it."""
    for shown, without in zip(_texts(match), _texts(plain), strict=True):
        if token in shown and token not in without:
            raise case.error(Law.ONLY_MOVES, f"a remark shows {token!r} to the players", match)
        if len(shown.splitlines()) != len(without.splitlines()):
            raise case.error(Law.ONLY_MOVES, "a remark adds lines to what the players are shown", match)


def _check_copies(case: MatchCase) -> None:
    for match in case.matches(20):
        for text in islice(case.replies(match), match.seed % 5):
            case.submit(match, text)
        before = _texts(match)
        if _texts(match) != before:
            raise case.error(Law.PURE_READING, "reading changed what the players are shown", match)
        try:
            clones = (copy.deepcopy(match), pickle.loads(pickle.dumps(match)))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise case.error(Law.PURE_READING, f"the match cannot be copied: {error}", match) from error
        for clone in clones:
            expected = list(case.playing(copy.deepcopy(match)))
            if list(case.playing(clone)) != expected:
                raise case.error(Law.PURE_READING, "a copy of the match goes on differently", match)
            if _texts(match) != before:
                raise case.error(Law.PURE_READING, "playing a copy changed the match", match)


def _check_faults(case: MatchCase) -> None:
    rng = case.rng()
    for match in case.matches(10):
        for turn, text in enumerate(case.replies(match)):
            for reply in hostile_replies(text) if _is_tried(turn, rng) else ():
                _check_hostile(case, copy.deepcopy(match), reply)
            case.submit(match, text)


def _check_hostile(case: MatchCase, match: Match, reply: str) -> None:
    case.submit(match, reply)
    try:
        _texts(match)
    except Exception as error:
        raise case.error(Law.FAULTS, f"after the reply {reply[:200]!r} looking raises {error!r}", match) from error
    turn = match.turns[-1]
    if isinstance(reply, Reply) and turn.fault is not reply.fault:
        raise case.error(Law.FAULTS, f"a reply with fault {reply.fault!r} has fault {turn.fault!r}", match)


_SECRET: Final = "xqzsecret"


def _global_random_state() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()  # noqa: NPY002


def _told(match: Match) -> tuple[object, ...]:
    mover = match.seat_to_move
    return (*_texts(match), mover, mover is not None and match.view(mover).legal_moves, match.outcome)


def _texts(match: Match) -> list[str]:
    return [match.view(seat).text for seat in range(len(match.roles))]


def _is_tried(turn: int, rng: random.Random) -> bool:
    """Whether to test a turn: the first all, later ones ever more rarely, so that long games take little longer."""
    return rng.random() * (turn + 1) < 3
