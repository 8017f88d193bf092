"""A game of OpenSpiel as `Game` and `Codec`: immutable states around clones of OpenSpiel's own."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeAlias

from spiral_envs.bridges.openspiel_names import Names, inner_names, names_of, unique
from spiral_envs.errors import IllegalMoveError, MalformedMoveError, MissingExtraError
from spiral_envs.extraction import MAX_MOVE_CHARS, unbracketed
from spiral_envs.game import CHANCE, TERMINAL, Player

SpielMove: TypeAlias = str | int
"""The move of a player is its text; that of chance is OpenSpiel's number of the action."""

_GRID: Final = 2.0**20
"""Returns whose sum is off by rounding are moved to multiples of 1/_GRID, which add up exactly."""

_MAX_CACHED_MOVES: Final = 4096

_FORGETFUL: Final = frozenset({"dark_hex", "go_fish", "repeated_game", "repeated_leduc_poker"})
"""Games whose information states leave out some of what the player has seen."""


_LISTING: Final = frozenset({"2048"})
"""Games in which the same position can have other legal moves, so that the text lists them."""


class Memory(Enum):
    """Where a player's text comes from, and so what it says of the past."""

    POSITION = "position"
    """The state itself: every player sees all of it."""

    INFORMATION_STATE = "information state"
    """OpenSpiel's information state, which tells all that the player has seen."""

    RECORD = "record"
    """OpenSpiel's observation, after those that the player has had before with its moves between them."""


class Glance(NamedTuple):
    """One text that a seat was shown, at the end of those before it.

    Attributes:
        before: The glance before it; None for the first.
        text: What it was shown.
        moves: What it has played since, one after the other.
    """

    before: Glance | None
    text: str
    moves: tuple[str, ...] = ()


class SpielState:
    """A state: a value, equal to another when the same actions have led to both in the same game.

    Attributes:
        rules: The game.
        spiel: OpenSpiel's state, which nothing changes.
        path: The actions that have led here, those of chance among them.
        record: By seat, the last of the texts that it was shown; empty where the text tells the past by itself.
        moves: The legal moves, once someone has asked for them.
    """

    __slots__ = ("_actions", "_hash", "moves", "path", "record", "rules", "spiel")

    def __init__(
        self, rules: SpielGame, spiel: Any, path: tuple[int, ...], record: tuple[Glance | None, ...] = ()
    ) -> None:
        """Wraps `spiel`, which no one else may change from now on."""
        self.rules = rules
        self.spiel = spiel
        self.path = path
        self.record = record
        self.moves: tuple[str, ...] | None = None
        self._hash = hash((rules.text, path))
        self._actions: dict[str, int] | None = None

    def __eq__(self, other: object) -> bool:
        """Returns whether the same actions have led to both in the same game."""
        return isinstance(other, SpielState) and self.path == other.path and self.rules.text == other.rules.text

    def __hash__(self) -> int:
        """Returns the hash of the game and the actions."""
        return self._hash

    def __repr__(self) -> str:
        """Returns the game and the actions."""
        return f"SpielState({self.rules.text}, {list(self.path)})"

    def __copy__(self) -> SpielState:
        """Returns itself: a state never changes."""
        return self

    def __deepcopy__(self, memo: object) -> SpielState:
        """Returns itself: a state never changes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Keeps the game's text and the actions, from which the state is played again."""
        return _replay, (self.rules.text, self.path)

    def actions(self) -> dict[str, int]:
        """Returns the action of every legal move."""
        if self._actions is None:
            moves = self.rules.legal_moves(self)
            self._actions = dict(zip(moves, self.spiel.legal_actions() if moves else (), strict=True))
        return self._actions


class SpielGame:
    """The rules of one game of OpenSpiel.

    Attributes:
        text: How OpenSpiel is asked for the game: its name and parameters.
        game: OpenSpiel's game, turn by turn.
        is_simultaneous: Whether its players move at the same time, so that here the later ones do not see the moves
            of the earlier ones.
        memory: Where the texts come from.
        names: How moves are written.
        lists_moves: Whether the text of the seat to move lists its moves.
    """

    def __init__(self, text: str) -> None:
        """Loads the game; it must be one that `openspiel.find_game` does not refuse."""
        pyspiel = load_pyspiel()
        self.text = text
        loaded: Any = pyspiel.load_game(text)
        self.is_simultaneous = bool(loaded.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS)
        self.matrix: Any = loaded if isinstance(loaded, pyspiel.MatrixGame) else None
        self.game: Any = pyspiel.convert_to_turn_based(loaded) if self.is_simultaneous else loaded
        kind = self.game.get_type()
        self.num_players = int(self.game.num_players())
        self.max_plies = max(1, int(self.game.max_game_length()))
        self.memory = _memory(pyspiel, text, loaded.get_type(), is_simultaneous=self.is_simultaneous)
        self.names: Names = names_of(text, self.game)
        self.lists_moves = bool(inner_names(text) & _LISTING)
        self._observes = bool(kind.provides_observation_string)
        total = self.game.utility_sum()
        self.is_constant_sum = total is not None
        self.centre = 0.0 if total is None else float(total) / self.num_players
        self._known_moves: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Keeps the game's text only."""
        return game_of, (self.text,)

    def __deepcopy__(self, memo: object) -> SpielGame:
        """Returns itself: a game never changes."""
        return self

    def initial_state(self) -> SpielState:
        """Returns OpenSpiel's initial state."""
        return self._look(self.game.new_initial_state(), (), (None,) * self.num_players)

    def to_move(self, state: SpielState) -> Player:
        """Returns the seat to move, `CHANCE` or `TERMINAL`."""
        player = int(state.spiel.current_player())
        if player >= 0:
            return player
        return TERMINAL if state.spiel.is_terminal() else CHANCE

    def legal_moves(self, state: SpielState) -> tuple[str, ...]:
        """Returns the texts of OpenSpiel's legal actions, in its order."""
        if state.moves is None:
            state.moves = self._name(state.spiel)
        return state.moves

    def chance_outcomes(self, state: SpielState) -> tuple[tuple[int, float], ...]:
        """Returns OpenSpiel's chance outcomes."""
        if not state.spiel.is_chance_node():
            return ()
        return tuple((int(action), float(probability)) for action, probability in state.spiel.chance_outcomes())

    def next_state(self, state: SpielState, move: SpielMove) -> SpielState:
        """Returns the state after a move of the seat to move, given by its text, or of chance, by its number."""
        spiel = state.spiel
        record = state.record
        if isinstance(move, str):
            action = state.actions().get(move)
            if action is None:
                raise self.illegal(state, move)
            if record:
                record = _with_move(record, spiel.current_player(), move)
        else:
            action = move
            if not spiel.is_chance_node() or all(action != outcome for outcome, _ in spiel.chance_outcomes()):
                raise self.illegal(state, repr(move))
        following = spiel.clone()
        following.apply_action(action)
        return self._look(following, (*state.path, action), record)

    def returns(self, state: SpielState) -> tuple[float, ...]:
        """Returns OpenSpiel's returns at the end; where they always sum to the same, an equal part is taken off each.

        What rounding leaves of such a sum is removed: the returns are rounded to multiples of 2^-20, and the last
        seat gets the negative sum of the others.
        """
        if not state.spiel.is_terminal():
            return (0.0,) * self.num_players
        returns = tuple(float(value) for value in state.spiel.returns())
        if not self.is_constant_sum:
            return returns
        returns = tuple(value - self.centre for value in returns)
        if sum(returns) == 0:
            # Without negative zeros.
            return tuple(value + 0.0 for value in returns)
        others = [round(value * _GRID) / _GRID for value in returns[:-1]]
        return (*others, 0.0 - sum(others))

    def features(self, state: SpielState, seat: Player) -> tuple[float, ...]:
        """Returns OpenSpiel's tensor for `seat`: of its information state where there is one, else its observation."""
        spiel = state.spiel
        reads_information = self.game.get_type().provides_information_state_tensor and self.memory != Memory.POSITION
        tensor: list[float] = (
            spiel.information_state_tensor(seat) if reads_information else spiel.observation_tensor(seat)
        )
        return tuple(tensor)

    def illegal(self, state: SpielState, text: str) -> IllegalMoveError:
        """Returns the error of a move that is not legal in `state`."""
        legal = self.legal_moves(state)
        if not legal:
            why = "the game is over" if state.spiel.is_terminal() else "no player is to move"
        else:
            more = f" or {len(legal) - 8} others" if len(legal) > 8 else ""
            why = f"expected {' or '.join(legal[:8])}{more}"
        return IllegalMoveError(f"illegal move {text[:60]} in openspiel:{self.text}: {why}")

    def seen(self, spiel: Any, seat: Player) -> str:
        """Returns OpenSpiel's own text for `seat`."""
        if self.memory is Memory.POSITION:
            return _tidy(str(spiel))
        if self.memory is Memory.RECORD and self._observes:
            return self._told(spiel, spiel.observation_string(seat), seat)
        return self._told(spiel, spiel.information_state_string(seat), seat)

    def _told(self, spiel: Any, text: str, seat: Player) -> str:
        if not self.is_simultaneous:
            return _tidy(text)
        # What turning the game into one of turns has put before the text.
        text = re.sub(r"\A(?:Current player: .*\n)?", "", text)
        chosen = re.match(r"Observer's action this turn: ([0-9]+)\n", text)
        if chosen is None:
            return _tidy(text)
        name = self.names.table[seat][int(chosen[1])] if self.names.table else f"[{chosen[1]}]"
        return _tidy(f"{text[chosen.end() :]}\nYou have chosen {name}.")

    def _name(self, spiel: Any) -> tuple[str, ...]:
        """Returns the texts of the legal moves, the same object for the same texts."""
        player = int(spiel.current_player())
        if player < 0:
            return ()
        actions: list[int] = spiel.legal_actions()
        if self.names.table is None:
            named = [self.names.written(spiel.action_to_string(player, action)) for action in actions]
            moves = unique(named, actions)
        else:
            table = self.names.table[player]
            moves = tuple(table[action] for action in actions)
        if len(self._known_moves) >= _MAX_CACHED_MOVES:
            self._known_moves.clear()
        return self._known_moves.setdefault(moves, moves)

    def _look(self, spiel: Any, path: tuple[int, ...], record: tuple[Glance | None, ...]) -> SpielState:
        """Returns the state; with a record, the players see what there is to see unless chance is to move."""
        if self.memory is not Memory.RECORD:
            return SpielState(self, spiel, path)
        if spiel.current_player() >= 0:
            record = tuple(_glance(last, self.seen(spiel, seat)) for seat, last in enumerate(record))
        return SpielState(self, spiel, path, record)


class SpielCodec:
    """The text of one game of OpenSpiel."""

    def __init__(self, game: SpielGame, *, rules: tuple[str, ...]) -> None:
        """Sets the rules, by seat."""
        self._game = game
        self._rules = rules

    def rules(self, seat: Player) -> str:
        """Returns what OpenSpiel says of the game, and how to reply."""
        return self._rules[seat]

    def observe(self, state: SpielState, seat: Player) -> str:
        """Returns OpenSpiel's text for `seat`, after what it has seen and done before where that is left out."""
        game, spiel = self._game, state.spiel
        last = state.record[seat] if state.record else None
        if spiel.is_terminal():
            returns = game.returns(state)
            ended = f"The game is over. Your return is {returns[seat]:+g}."
            text = game.seen(spiel, seat)
            return f"{_past(last)}{text}\n{ended}" if text else f"{_past(last)}{ended}"
        mover = spiel.current_player()
        turn = "It is your turn." if mover == seat else f"Player {mover} is to move."
        if mover == seat and game.lists_moves:
            turn = f"{turn} You may play {' '.join(game.legal_moves(state))}."
        text = game.seen(spiel, seat) if last is None else last.text
        past = "" if last is None else _past(last.before)
        return f"{past}{text}\n{turn}" if text else f"{past}{turn}"

    def format_move(self, move: SpielMove) -> str:
        """Returns the move itself, which is its text."""
        return str(move)

    def parse_move(self, state: SpielState, text: str) -> str:
        """Returns the legal move with this name, in any case of letters where the game's names allow it."""
        game = self._game
        names = game.names
        name = " ".join(unbracketed(text).split()) if len(text) <= MAX_MOVE_CHARS + 2 else ""
        legal = state.actions()
        for candidate in (f"[{name}]", names.written(name), names.folded.get(name.lower(), "")):
            if candidate in legal:
                return candidate
        if not name or not names.is_syntax(name, tuple(legal)):
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in openspiel:{game.text}: expected the name of a move in brackets"
            )
        raise game.illegal(state, f"[{name}]")


def load_pyspiel() -> Any:
    """Returns the module `pyspiel`, which has no type stubs.

    Raises:
        MissingExtraError: OpenSpiel is not installed.
    """
    try:
        return import_module("pyspiel")
    except ImportError as error:
        raise MissingExtraError("the OpenSpiel bridge", "openspiel") from error


@lru_cache(maxsize=256)
def game_of(text: str) -> SpielGame:
    """Returns the rules of the game that OpenSpiel knows by `text`, the same object for the same text."""
    return SpielGame(text)


def _replay(text: str, path: tuple[int, ...]) -> SpielState:
    game = game_of(text)
    state = game.initial_state()
    for action in path:
        if state.spiel.is_chance_node():
            state = game.next_state(state, action)
        else:
            actions = state.actions()
            state = game.next_state(state, next(move for move, number in actions.items() if number == action))
    return state


def _memory(pyspiel: Any, text: str, kind: Any, *, is_simultaneous: bool) -> Memory:
    if kind.information == pyspiel.GameType.Information.PERFECT_INFORMATION and not is_simultaneous:
        return Memory.POSITION
    if kind.provides_information_state_string and not inner_names(text) & _FORGETFUL:
        return Memory.INFORMATION_STATE
    return Memory.RECORD


def _glance(last: Glance | None, text: str) -> Glance:
    """Returns the record after a look; the same text again, with no move of one's own in between, is no news."""
    return last if last is not None and last.text == text and not last.moves else Glance(last, text)


def _with_move(record: tuple[Glance | None, ...], player: Player, move: str) -> tuple[Glance | None, ...]:
    last = record[player]
    assert last is not None, "a seat to move has been shown something"
    return (*record[:player], last._replace(moves=(*last.moves, move)), *record[player + 1 :])


def _past(last: Glance | None) -> str:
    """Returns the texts up to `last`, one a line, with the moves between them."""
    lines: list[str] = []
    while last is not None:
        if last.moves:
            lines.append(f"  you played {' '.join(last.moves)}")
        lines.append("- " + " / ".join(last.text.splitlines()))
        last = last.before
    if not lines:
        return ""
    return "\n".join(("What you saw and did before:", *reversed(lines), "Now:", ""))


def _tidy(text: str) -> str:
    """Returns `text` without empty lines around it and spaces at the ends of lines; a row of spaces stays a row.

    Colours for terminals go too.
    """
    return "\n".join(line.rstrip() for line in _COLOUR.sub("", text).strip("\n").split("\n"))


_COLOUR: Final = re.compile("\x1b\\[[0-9;]*m")
"""What turns a terminal's letters to a colour."""
