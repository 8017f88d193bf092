"""The conformance check of a game: `check_game("kuhn_poker_v0")` passes, or names the law that the game breaks.

The laws are the members of `Law`. They are tested on every position of a small game, on those of random games of a
larger one, and in matches (`spiral_envs.check_matches`). Of a bridge to an environment only matches can be tested. What
the rules of a particular game say is for its own tests.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from spiral_envs.check_matches import (
    MatchCase,
    ReplyWith,
    check_determinism,
    check_matches,
    random_legal,
    seed_global_random,
    unchanged_global_random,
)
from spiral_envs.errors import BrokenLawError, IllegalMoveError, MoveError
from spiral_envs.extraction import extract, unbracketed
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player
from spiral_envs.laws import Law
from spiral_envs.match import MatchSource
from spiral_envs.positions import History, Position, PositionError, num_plies, positions_of, possible_moves, replay
from spiral_envs.sources import find_source, source_of

MAX_MOVES: Final = 12
"""Moves tried in a position that has more."""


def check_game(
    game: str | GameSpec | MatchSource, *, num_matches: int = 100, seed: int = 0, reply: ReplyWith = random_legal
) -> None:
    """Returns when the game has passed the test of every `Law`.

    Args:
        game: A registered id or one of a bridge, with or without options, or a game that need not be registered.
        num_matches: Random games to take positions from, when there are too many to visit all, and matches to play.
        seed: Decides every random choice of the test.
        reply: Makes the replies in matches, given a view and random numbers; for games that do not list their moves.

    Raises:
        BrokenLawError: The game breaks a law; the message names it, and the moves or the replies that show it.
        MissingExtraError: The bridge's package is not installed.
        UnknownNameError: No such game or option.
        ValueError: The game does not list its legal moves, and nobody says how to reply.
    """
    if isinstance(game, str):
        game = find_source(game)
    source = source_of(game) if isinstance(game, GameSpec) else game
    matches = MatchCase(source, num_matches, seed, reply)
    with unchanged_global_random():
        if source.spec is None:
            check_determinism(matches)
            check_matches(matches)
            return
        case = _Case(source.spec, _positions(source.spec, num_matches, seed), seed)
        # In the order in which a broken law confuses the tests after it least.
        _check_rules(case)
        _check_reading(case)
        check_determinism(matches)
        for test in (_check_returns, _check_information, _check_round_trip, _check_faults, _check_discrete):
            test(case)
        check_matches(matches)


@dataclass(frozen=True, slots=True)
class _Case:
    """What the laws are tested on.

    Attributes:
        spec: The game.
        positions: Every position, or those of random games.
        seed: Decides every random choice.
    """

    spec: GameSpec
    positions: tuple[Position, ...]
    seed: int

    def rng(self) -> random.Random:
        """Returns new random numbers."""
        return random.Random(self.seed)

    def decisions(self, limit: int) -> list[Position]:
        """Returns at most `limit` random positions in which a player is to move."""
        decisions = [position for position in self.positions if position.player >= 0]
        return decisions if len(decisions) <= limit else self.rng().sample(decisions, limit)

    def error(self, law: Law, what: str, history: History) -> BrokenLawError:
        """Returns the error that says what breaks `law` after `history`."""
        written = [f"chance {move!r}" if player == CHANCE else f"seat {player} {move!r}" for player, move in history]
        return BrokenLawError(f"{self.spec.label} breaks {law.value}: {what}, after {', '.join(written) or 'no move'}")


def _positions(spec: GameSpec, num_games: int, seed: int) -> tuple[Position, ...]:
    """Returns the positions to test, or names what the game raises where it should tell what a position is."""
    try:
        # Raises unless they are texts.
        "".join(map(spec.codec.rules, range(spec.game.num_players)))
    except Exception as error:
        raise _Case(spec, (), seed).error(Law.SOUND_RULES, f"its text of the rules raises {error!r}", ()) from error
    try:
        return positions_of(spec, random.Random(seed), num_games=num_games)
    except PositionError as error:
        raise _Case(spec, (), seed).error(Law.SOUND_RULES, f"it raises {error.__cause__!r}", error.history) from error


def _check_rules(case: _Case) -> None:
    game = case.spec.game
    for history, state, player, _ in case.positions:
        if player not in range(TERMINAL, game.num_players):
            raise case.error(Law.SOUND_RULES, f"player {player!r} is to move", history)
        if num_plies(history) > game.max_plies:
            raise case.error(Law.SOUND_RULES, f"more plies than max_plies, which is {game.max_plies}", history)
        legal, outcomes = game.legal_moves(state), game.chance_outcomes(state)
        if player >= 0 and (not legal or len(set(legal)) < len(legal)):
            raise case.error(Law.SOUND_RULES, f"the legal moves are {legal!r}", history)
        if player < 0 and legal:
            raise case.error(Law.SOUND_RULES, f"legal moves {legal!r} where no player is to move", history)
        if player == CHANCE and not _is_distribution(outcomes):
            raise case.error(Law.SOUND_RULES, f"the outcomes {outcomes!r} are no distribution", history)
        if player != CHANCE and outcomes:
            raise case.error(Law.SOUND_RULES, f"outcomes {outcomes!r} where chance is not to move", history)
        returns = game.returns(state)
        is_sound = isinstance(returns, tuple) and len(returns) == game.num_players and all(map(math.isfinite, returns))  # pyright: ignore[reportUnnecessaryIsInstance] - it is what is tested
        if not is_sound or (player != TERMINAL and any(returns)):
            raise case.error(Law.SOUND_RULES, f"returns {returns!r} with player {player} to move", history)


def _is_distribution(outcomes: tuple[tuple[Any, float], ...]) -> bool:
    moves = [move for move, _ in outcomes]
    probabilities = [probability for _, probability in outcomes]
    # Written so that a NaN is refused.
    is_sum = abs(sum(probabilities) - 1) <= 1e-9
    return is_sum and all(0 <= probability <= 1 for probability in probabilities) and len(set(moves)) == len(moves)


def _check_returns(case: _Case) -> None:
    low, high = case.spec.return_range
    for history, state, _, _ in case.positions:
        returns = case.spec.game.returns(state)
        if case.spec.zero_sum and sum(returns) != 0:
            raise case.error(Law.ZERO_SUM, f"returns {returns!r} sum to {sum(returns)!r}", history)
        if min(returns) < low or max(returns) > high:
            raise case.error(Law.NO_FREE_FAULT, f"returns {returns!r} are not within {low!r} and {high!r}", history)


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
            if [texts[-1] for texts in twin.shown] != [texts[-1] for texts in position.shown]:
                raise case.error(
                    Law.INFORMATION, f"{what}perfect information and other texts of others", position.history
                )
            continue
        if twin.shown[player] != position.shown[player]:
            raise case.error(Law.INFORMATION, f"{what}other texts before it", position.history)
        if _moves_of(twin.history, player) != _moves_of(position.history, player):
            raise case.error(Law.INFORMATION, f"{what}other moves of its own before it", position.history)
        if spec.known_to(player, twin.state) != spec.known_to(player, position.state):
            raise case.error(Law.INFORMATION, f"{what}other knowledge in View.state", position.history)
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


def _check_reading(case: _Case) -> None:
    game, codec = case.spec.game, case.spec.codec
    for history, state, player, _ in case.decisions(300):
        before = copy.deepcopy(state)
        for seat in range(game.num_players):
            # A text that depends on the global random numbers is a matter of law 3.
            seed_global_random(case.seed)
            first = codec.observe(state, seat)
            seed_global_random(case.seed)
            second = codec.observe(state, seat)
            if first != second:
                raise case.error(Law.PURE_READING, f"seat {seat} reads first {first!r} and then {second!r}", history)
        move = game.legal_moves(state)[0]
        seed_global_random(case.seed)
        first = game.next_state(state, move)
        seed_global_random(case.seed)
        second = game.next_state(state, move)
        if state != before or game.legal_moves(state) != game.legal_moves(before) or game.to_move(state) != player:
            raise case.error(Law.PURE_READING, f"{move!r} changed the state that it was played in", history)
        if first != second:
            raise case.error(Law.PURE_READING, f"{move!r} gives first {first!r} and then {second!r}", history)


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


def _some(moves: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
    return moves if len(moves) <= MAX_MOVES else tuple(rng.sample(moves, MAX_MOVES))


def _moves_of(history: History, seat: Player | None = None) -> list[Any]:
    return [move for player, move in history if seat is None or player == seat]
