"""The conformance check of a game: `check_game("kuhn_poker_v0")` passes, or names the law that the game breaks.

The laws are the members of `Law`. They are tested on every position of a small game, on those of random games of a
larger one, and in matches. What the rules of a particular game say is for its own tests.
"""

from __future__ import annotations

import copy
import math
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from typing import Any, Final

import numpy as np

from spiral_envs.errors import BrokenLawError, IllegalMoveError, MoveError
from spiral_envs.extraction import extract, unbracketed
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player
from spiral_envs.hostile import CONTROL_TOKENS, hostile_replies
from spiral_envs.match import Fault, GameMatch, Match, Outcome, Reply
from spiral_envs.positions import History, Position, choose, num_plies, positions_of, possible_moves, replay
from spiral_envs.registry import find_game

MAX_MOVES: Final = 12
"""Moves tried in a position that has more."""


class Law(Enum):
    """The laws; the value is how an error names them."""

    SOUND_RULES = "law 0 (sound rules)"
    """The rules agree with themselves: the probabilities of chance sum to 1, a player to move has a legal move and
    no move is listed twice, nobody moves at the end, returns are 0 before it, and no game takes more than
    `max_plies` plies."""

    ZERO_SUM = "law 1 (zero sum)"
    """Returns of a zero-sum game sum to exactly 0, forfeits included."""

    NO_FREE_FAULT = "law 2 (no free fault)"
    """Returns are within `return_range`, and a forfeit pays the offender no more than the worst legal outcome."""

    DETERMINISM = "law 3 (determinism)"
    """The same seed and the same replies give the same match, whatever else runs: another match between its turns,
    or other users of the global random numbers of `random` and numpy, which the game neither reads nor changes."""

    INFORMATION = "law 4 (information)"
    """Equal texts mean equal legal moves and, with hidden information, an equal past: all that the player did and
    all that it was ever shown, in its own turns or while it waited. So a card that shows only between a player's
    turns breaks this law. And where chance deals hidden information, some different positions must look alike to
    the player to move: texts from which everything hidden can be read break this law. Whether one fact that is
    shown was meant to be public, only the game's own test can say."""

    ROUND_TRIP = "law 5 (round trip)"
    """A legal move's text is read as that move: as it is, without its brackets, and in `\\boxed{}` either way."""

    ONLY_MOVES = "law 6 (only moves)"
    """A reply can do nothing but move: nobody is shown what surrounds the move, and what is said aloud adds no
    line, bracket, quotation mark or control token of a chat template to what the players are shown."""

    PURE_READING = "law 7 (pure reading)"
    """Reading changes nothing, `next_state` leaves its argument alone, and a pickled or deep copy of a match goes
    on like the match itself without touching it."""

    FAULTS = "law 8 (faults)"
    """Any text is a move or a fault, never an error. The rules refuse an illegal move with `IllegalMoveError`, a
    move from elsewhere in the game is illegal rather than malformed, and a truncated reply is truncated."""

    DISCRETE = "law 9 (discrete form)"
    """The discrete form of a game lists every legal move, each once, and its features are as many finite numbers as its
    shape has places. They tell a player no more than the text: equal texts mean equal features."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What the laws are tested on.

    Attributes:
        spec: The game.
        positions: Every position, or those of random games.
        num_matches: How many matches are played for a law.
        seed: Decides every random choice.
    """

    spec: GameSpec
    positions: tuple[Position, ...]
    num_matches: int
    seed: int

    def rng(self) -> random.Random:
        """Returns new random numbers."""
        return random.Random(self.seed)

    def decisions(self, limit: int) -> list[Position]:
        """Returns at most `limit` random positions in which a player is to move."""
        decisions = [position for position in self.positions if position.player >= 0]
        return decisions if len(decisions) <= limit else self.rng().sample(decisions, limit)

    def matches(self, limit: int) -> Iterator[GameMatch]:
        """Yields at most `limit` new matches."""
        for index in range(min(self.num_matches, limit)):
            yield GameMatch(self.spec, seed=self.seed + index)

    def error(self, law: Law, what: str, history: History) -> BrokenLawError:
        """Returns the error that says what breaks `law` after `history`."""
        written = [f"chance {move!r}" if player == CHANCE else f"seat {player} {move!r}" for player, move in history]
        return BrokenLawError(f"{self.spec.label} breaks {law.value}: {what}, after {', '.join(written) or 'no move'}")

    def match_error(self, law: Law, what: str, match: Match) -> BrokenLawError:
        """Returns the error that says what breaks `law` in `match`."""
        written = ", ".join(f"{turn.response[:200]!r}" for turn in match.turns) or "no reply"
        return BrokenLawError(f"{self.spec.label} breaks {law.value}: {what}, with seed {match.seed} after {written}")


def check_game(game: str | GameSpec, *, num_matches: int = 100, seed: int = 0) -> None:
    """Returns when the game has passed the test of every `Law`.

    Args:
        game: A registered id, with or without options, or a game that need not be registered.
        num_matches: Random games to take positions from, when there are too many to visit all, and matches to play.
        seed: Decides every random choice of the test.

    Raises:
        BrokenLawError: The game breaks a law; the message names it, and the moves or the replies that show it.
        UnknownNameError: No such game or option.
    """
    spec = find_game(game) if isinstance(game, str) else game
    saved = _global_random_state()
    try:
        positions = positions_of(spec, random.Random(seed), num_games=num_matches)
        case = _Case(spec, positions, num_matches, seed)
        for test in _TESTS:
            test(case)
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002 - put back as it was found


def _check_rules(case: _Case) -> None:
    game = case.spec.game
    for history, state, player, _ in case.positions:
        if num_plies(history) > game.max_plies:
            raise case.error(Law.SOUND_RULES, f"more plies than max_plies, which is {game.max_plies}", history)
        legal, outcomes = game.legal_moves(state), game.chance_outcomes(state)
        if player >= 0 and (not legal or len(set(legal)) < len(legal)):
            raise case.error(Law.SOUND_RULES, f"the legal moves are {legal!r}", history)
        if player < 0 and legal:
            raise case.error(Law.SOUND_RULES, f"legal moves {legal!r} where no player is to move", history)
        if player == CHANCE and abs(sum(probability for _, probability in outcomes) - 1) > 1e-9:
            raise case.error(Law.SOUND_RULES, f"the probabilities of {outcomes!r} do not sum to 1", history)
        if player != CHANCE and outcomes:
            raise case.error(Law.SOUND_RULES, f"outcomes {outcomes!r} where chance is not to move", history)
        returns = game.returns(state)
        if len(returns) != game.num_players or (player != TERMINAL and any(returns)):
            raise case.error(Law.SOUND_RULES, f"returns {returns!r} with player {player} to move", history)


def _check_zero_sum(case: _Case) -> None:
    if not case.spec.zero_sum:
        return
    for history, state, _, _ in case.positions:
        returns = case.spec.game.returns(state)
        if sum(returns) != 0:
            raise case.error(Law.ZERO_SUM, f"returns {returns!r} sum to {sum(returns)!r}", history)
    for match, outcome in _forfeits(case):
        if sum(outcome.returns) != 0:
            raise case.match_error(Law.ZERO_SUM, f"returns {outcome.returns!r} do not sum to 0", match)


def _check_forfeits(case: _Case) -> None:
    low, high = case.spec.return_range
    for history, state, _, _ in case.positions:
        returns = case.spec.game.returns(state)
        if min(returns) < low or max(returns) > high:
            raise case.error(Law.NO_FREE_FAULT, f"returns {returns!r} are not within {low!r} and {high!r}", history)
    for match, outcome in _forfeits(case):
        if outcome.offender is None or outcome.returns[outcome.offender] > low:
            raise case.match_error(Law.NO_FREE_FAULT, f"a fault pays {outcome.returns!r}, more than {low!r}", match)


def _check_determinism(case: _Case) -> None:
    # Matches of one specification share what they compute, which would hide that it came out differently.
    spec = case.spec
    for index in range(min(case.num_matches, 30)):
        seed = case.seed + index
        _seed_global_random(index)
        before = _global_random_state()
        first = list(_playing(GameMatch(replace(spec), seed=seed)))
        if pickle.dumps(before) != pickle.dumps(_global_random_state()):
            raise case.error(Law.DETERMINISM, f"a match with seed {seed} used the global random numbers", ())
        _seed_global_random(index + 1)
        other = _playing(GameMatch(replace(spec), seed=seed + 1))
        for turn, (position, again) in enumerate(
            zip(first, _playing(GameMatch(replace(spec), seed=seed)), strict=True)
        ):
            if position != again:
                was, is_now = next(pair for pair in zip(position, again, strict=True) if pair[0] != pair[1])
                what = f"after {turn} replies, a match with seed {seed} shows {was!r} and then {is_now!r}"
                raise case.error(Law.DETERMINISM, what, ())
            next(other, None)


def _check_information(case: _Case) -> None:
    spec, game = case.spec, case.spec.game
    known: dict[tuple[Player, str], Position] = {}
    some_look_alike = False
    for position in case.positions:
        player = position.player
        if player < 0:
            continue
        twin = known.setdefault((player, position.shown[player][-1]), position)
        what = f"seat {player} is shown the same text after {_moves_of(twin.history)!r}, with "
        if game.legal_moves(twin.state) != game.legal_moves(position.state):
            raise case.error(Law.INFORMATION, f"{what}other legal moves", position.history)
        if spec.perfect_information:
            continue
        if twin.shown[player] != position.shown[player]:
            raise case.error(Law.INFORMATION, f"{what}other texts before it", position.history)
        if _moves_of(twin.history, player) != _moves_of(position.history, player):
            raise case.error(Law.INFORMATION, f"{what}other moves of its own before it", position.history)
        some_look_alike = some_look_alike or twin.state != position.state
    has_chance = any(position.player == CHANCE for position in case.positions)
    if has_chance and not spec.perfect_information and not some_look_alike and not _has_twin(case):
        raise case.error(Law.INFORMATION, "every text gives away all that is hidden", ())


def _check_round_trip(case: _Case) -> None:
    rng = case.rng()
    for position in case.positions:
        if position.player >= 0:
            for move in _some(case.spec.game.legal_moves(position.state), rng):
                _check_text_of(case, position, move)
    for match in case.matches(30):
        for text in _replies(match):
            match.submit(text)
            if match.turns[-1].move != text:
                raise case.match_error(Law.ROUND_TRIP, f"{text!r} played {match.turns[-1].move!r}", match)


def _check_text_of(case: _Case, position: Position, move: Any) -> None:
    codec, history = case.spec.codec, position.history
    text = codec.format_move(move)
    for written in (text, unbracketed(text)):
        boxed = extract(f"\\boxed{{{written}}}", lambda _: False).text
        if boxed != written:
            raise case.error(Law.ROUND_TRIP, f"{written!r} in a box is read as {boxed!r}", history)
        try:
            read = codec.parse_move(position.state, written)
        except MoveError as error:
            raise case.error(Law.ROUND_TRIP, f"{move!r} is written {written!r}, then {error}", history) from error
        if read != move:
            raise case.error(Law.ROUND_TRIP, f"{move!r} is written {written!r} and read {read!r}", history)


def _check_replies(case: _Case) -> None:
    rng = case.rng()
    for match in case.matches(10):
        for turn, text in enumerate(_replies(match)):
            if not _is_tried(turn, rng):
                match.submit(text)
                continue
            plain = copy.deepcopy(match)
            plain.submit(text)
            for token in CONTROL_TOKENS[turn % 3 :: 3]:
                spoken = copy.deepcopy(match)
                spoken.submit(f"\\boxed{{{text[:-1]} | so {token} it is]}}")
                if spoken.turns[-1].fault is None:
                    _check_remark(case, spoken, plain, token)
            boxed = f"<think>{_SECRET} {text}</think>{_SECRET} [{_SECRET}] \\boxed{{{text}}} {_SECRET}"
            match.submit(boxed if turn % 2 or not text.startswith("[") else f"{_SECRET} {text} [{_SECRET}]")
            if match.turns[-1].move != text:
                raise case.match_error(Law.ONLY_MOVES, f"{text!r} is not played with reasoning around it", match)
            if any(_SECRET in shown for shown in _texts(match)):
                raise case.match_error(Law.ONLY_MOVES, "the players are shown the reasoning of a reply", match)


def _check_remark(case: _Case, match: GameMatch, plain: GameMatch, token: str) -> None:
    """Compares what the players are shown after a move with a remark and after the same move without it."""
    for shown, without in zip(_texts(match), _texts(plain), strict=True):
        if token in shown and token not in without:
            raise case.match_error(Law.ONLY_MOVES, f"a remark shows {token!r} to the players", match)
        if len(shown.splitlines()) != len(without.splitlines()):
            raise case.match_error(Law.ONLY_MOVES, "a remark adds lines to what the players are shown", match)


def _check_reading(case: _Case) -> None:
    game, codec = case.spec.game, case.spec.codec
    for history, state, player, _ in case.decisions(300):
        before = copy.deepcopy(state)
        for seat in range(game.num_players):
            # A text that depends on the global random numbers is a matter of law 3.
            _seed_global_random(case.seed)
            first = codec.observe(state, seat)
            _seed_global_random(case.seed)
            second = codec.observe(state, seat)
            if first != second:
                raise case.error(Law.PURE_READING, f"seat {seat} reads first {first!r} and then {second!r}", history)
        move = game.legal_moves(state)[0]
        _seed_global_random(case.seed)
        first = game.next_state(state, move)
        _seed_global_random(case.seed)
        second = game.next_state(state, move)
        if state != before or game.legal_moves(state) != game.legal_moves(before) or game.to_move(state) != player:
            raise case.error(Law.PURE_READING, f"{move!r} changed the state that it was played in", history)
        if first != second:
            raise case.error(Law.PURE_READING, f"{move!r} gives first {first!r} and then {second!r}", history)


def _check_copies(case: _Case) -> None:
    for match in case.matches(20):
        for text in islice(_replies(match), match.seed % 5):
            match.submit(text)
        before = _texts(match)
        try:
            clones = (copy.deepcopy(match), pickle.loads(pickle.dumps(match)))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise case.match_error(Law.PURE_READING, f"the match cannot be copied: {error}", match) from error
        for clone in clones:
            expected = list(_playing(copy.deepcopy(match)))
            if list(_playing(clone)) != expected:
                raise case.match_error(Law.PURE_READING, "a copy of the match goes on differently", match)
            if _texts(match) != before:
                raise case.match_error(Law.PURE_READING, "playing a copy changed the match", match)


def _check_faults(case: _Case) -> None:
    game, codec, rng = case.spec.game, case.spec.codec, case.rng()
    elsewhere = tuple({move: None for position in case.positions for move in game.legal_moves(position.state)})
    for history, state, player, _ in case.positions:
        legal = game.legal_moves(state)
        for move in _some(elsewhere, rng):
            if move in legal:
                continue
            _expect_refusal(case, game.next_state, state, move, history)
            if player >= 0:
                _expect_refusal(case, lambda s, m: codec.parse_move(s, codec.format_move(m)), state, move, history)
    for match in case.matches(10):
        for turn, text in enumerate(_replies(match)):
            for reply in hostile_replies(text) if _is_tried(turn, rng) else ():
                _check_hostile(case, copy.deepcopy(match), reply)
            match.submit(text)


def _check_discrete(case: _Case) -> None:
    spec, form = case.spec, case.spec.discrete
    if form is None:
        return
    listed = set(form.moves)
    if len(listed) < len(form.moves):
        raise case.error(Law.DISCRETE, "a move is listed twice", ())
    known: dict[tuple[Player, str], tuple[float, ...]] = {}
    for history, state, player, shown in case.positions:
        for move in spec.game.legal_moves(state):
            if move not in listed:
                raise case.error(Law.DISCRETE, f"{move!r} is legal but not listed", history)
        if player == CHANCE:
            continue
        for seat in range(spec.game.num_players):
            features = tuple(map(float, form.features(state, seat)))
            if len(features) != form.num_features or not all(map(math.isfinite, features)):
                raise case.error(Law.DISCRETE, f"shape {form.shape} does not fit {features!r}", history)
            if known.setdefault((seat, shown[seat][-1]), features) != features:
                raise case.error(Law.DISCRETE, f"seat {seat} is shown the same text with other features", history)


def _expect_refusal(case: _Case, refuse: Callable[[Any, Any], object], state: Any, move: Any, history: History) -> None:
    try:
        refuse(state, move)
    except IllegalMoveError:
        return
    except Exception as error:
        raise case.error(Law.FAULTS, f"{move!r} is illegal here, but {error!r}", history) from error
    raise case.error(Law.FAULTS, f"the illegal move {move!r} is accepted", history)


def _check_hostile(case: _Case, match: GameMatch, reply: str) -> None:
    try:
        match.submit(reply)
        _texts(match)
    except Exception as error:
        raise case.match_error(Law.FAULTS, f"the reply {reply[:200]!r} raises {error!r}", match) from error
    turn = match.turns[-1]
    if isinstance(reply, Reply) and turn.fault is not reply.fault:
        raise case.match_error(Law.FAULTS, f"a reply with fault {reply.fault!r} has fault {turn.fault!r}", match)


_SECRET: Final = "xqzsecret"

_TESTS: Final[tuple[Callable[[_Case], None], ...]] = (
    _check_rules,
    _check_reading,
    _check_determinism,
    _check_zero_sum,
    _check_forfeits,
    _check_information,
    _check_round_trip,
    _check_replies,
    _check_copies,
    _check_faults,
    _check_discrete,
)
"""In the order in which a broken law confuses the tests after it least."""


def _has_twin(case: _Case) -> bool:
    """Whether some position looks the same to the player to move when one move before it, not its own, is another."""
    for position in case.decisions(200):
        moves = _moves_of(position.history)
        for index, (mover, move) in enumerate(position.history):
            before = replay(case.spec, moves[:index]) if mover != position.player else None
            for other in possible_moves(case.spec, before) if before is not None else ():
                twin = replay(case.spec, [*moves[:index], other, *moves[index + 1 :]])
                if (
                    other != move
                    and twin is not None
                    and twin.shown[position.player] == position.shown[position.player]
                ):
                    return True
    return False


def _forfeits(case: _Case) -> Iterator[tuple[GameMatch, Outcome]]:
    """Yields matches that a fault has ended, in different turns."""
    for match in case.matches(50):
        for turn, text in enumerate(_replies(match)):
            match.submit(Reply(fault=Fault.TRUNCATED) if turn == match.seed % 7 else text)
        if match.outcome is not None and match.outcome.fault is not None:
            yield match, match.outcome


def _playing(match: GameMatch) -> Iterator[tuple[object, ...]]:
    """Plays random legal moves and yields, before each and after the last, all that the match tells."""
    for text in _replies(match):
        yield _told(match)
        match.submit(text)
    yield _told(match)


def _told(match: GameMatch) -> tuple[object, ...]:
    mover = match.seat_to_move
    return (*_texts(match), mover, mover is not None and match.view(mover).legal_moves, match.outcome)


def _replies(match: GameMatch) -> Iterator[str]:
    """Yields a random legal move as long as there is one; whoever asks for them submits them."""
    rng = random.Random(match.seed)
    while match.seat_to_move is not None:
        legal = match.view(match.seat_to_move).legal_moves or ()
        yield legal[choose(rng, legal)]


def _is_tried(turn: int, rng: random.Random) -> bool:
    """Whether to test a turn: the first all, later ones ever more rarely, so that long games take little longer."""
    return rng.random() * (turn + 1) < 3


def _some(moves: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
    return moves if len(moves) <= MAX_MOVES else tuple(rng.sample(moves, MAX_MOVES))


def _moves_of(history: History, seat: Player | None = None) -> list[Any]:
    return [move for player, move in history if seat is None or player == seat]


def _texts(match: GameMatch) -> list[str]:
    return [match.view(seat).text for seat in range(len(match.roles))]


def _seed_global_random(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what a careless game would read


def _global_random_state() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()  # noqa: NPY002 - what a careless game would change
