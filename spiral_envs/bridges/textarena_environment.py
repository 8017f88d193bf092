"""One environment of TextArena, kept apart from the rest of the process: `Environment`."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from enum import Enum
from importlib import import_module
from threading import RLock
from typing import Any, Final, NamedTuple

from spiral_envs.bridges.global_random import GlobalRandom
from spiral_envs.bridges.textarena_games import Game, Syntax
from spiral_envs.errors import MissingExtraError
from spiral_envs.game import Player


class Shown(Enum):
    """Which messages an id shows, as its observation wrapper does; the value is the name of the wrapper's class."""

    ALL = "LLMObservationWrapper"
    NO_MOVES = "GameMessagesObservationWrapper"
    NO_MOVES_LAST_BOARD = "GameMessagesAndCurrentBoardObservationWrapper"
    LAST_BOARD = "GameBoardObservationWrapper"
    ALL_BUT_OLD_BOARDS = "SettlersOfCatanObservationWrapper"


class InvalidMoveError(Exception):
    """TextArena refuses a move; the text is its reason."""


class _Message(NamedTuple):
    """A message of TextArena to one seat.

    Attributes:
        text: What it says, in quotation marks behind the player's name where it quotes a player.
        kind: The name of TextArena's `ObservationType`.
    """

    text: str
    kind: str


class Environment:
    """One environment of TextArena, with the random numbers and the messages of its match.

    Attributes:
        num_moves: How many moves were played.
    """

    def __init__(self, env_id: str, game: Game, *, num_players: int, shown: Shown, seed: int) -> None:
        """Starts a game.

        Args:
            env_id: The id in TextArena's registry.
            game: What is known of the game.
            num_players: How many play.
            shown: Which messages a seat is shown.
            seed: Decides everything that TextArena draws.
        """
        self._env_id = env_id
        self._game = game
        self._shown = shown
        self._random = GlobalRandom(seed)
        self.num_moves = 0
        self._messages: tuple[list[_Message], ...] = tuple([] for _ in range(num_players))
        textarena = import_textarena()
        with self._apart():
            env = textarena.make(env_id)
            while isinstance(env, textarena.Wrapper):
                env = env.env
            if game.prepare is not None:
                game.prepare(env)
            env.reset(num_players=num_players, seed=seed)
        # Every way in which TextArena handles an invalid move starts here: a second chance, a loss, an elimination, a
        # move of its own. None of them is ours.
        env.state.set_invalid_move = _refuse
        self._env = env
        self._gather()

    @property
    def is_over(self) -> bool:
        """Whether TextArena has a result."""
        return bool(self._env.state.done)

    @property
    def is_drawn(self) -> bool:
        """Whether the game is a draw that TextArena's code does not know."""
        return self._game.is_drawn is not None and self._game.is_drawn(self._env)

    @property
    def seat_to_move(self) -> Player:
        """The seat whose reply TextArena waits for."""
        return int(self._env.state.current_player_id)

    @property
    def syntax(self) -> Syntax:
        """What a move looks like now."""
        return self._game.syntax(self._env)

    @property
    def reason(self) -> str:
        """Why the game ended, in TextArena's words, on one line."""
        told = self._env.state.game_info[0].get("reason", "")
        return " ".join(str(told).split())

    def play(self, move: str) -> None:
        """Plays a move.

        Raises:
            InvalidMoveError: TextArena refuses it.
        """
        action = self.syntax.action(move)
        with self._apart():
            self._env.step(action)
        self.num_moves += 1
        self._gather()

    def prompt(self, seat: Player) -> str:
        """Returns the rules, as TextArena tells them to `seat`."""
        return "\n\n".join(message.text for message in self._messages[seat] if message.kind == "PROMPT")

    def messages(self, seat: Player) -> list[str]:
        """Returns the messages that `seat` is shown after its prompt."""
        told, shown = self._messages[seat], self._shown
        boards = [index for index, message in enumerate(told) if message.kind == "GAME_BOARD"]
        old_boards = set(boards[:-1]) if shown in _NO_OLD_BOARDS else set[int]()
        skipped = _SKIPPED_KINDS[shown]
        kept = [
            message for index, message in enumerate(told) if message.kind not in skipped and index not in old_boards
        ]
        if shown is Shown.NO_MOVES_LAST_BOARD:
            kept.sort(key=lambda message: message.kind == "GAME_BOARD")
        return [message.text for message in kept]

    def returns(self) -> tuple[float, ...]:
        """Returns what every seat gets for TextArena's rewards.

        Raises:
            RuntimeError: A seat has no reward, or the rewards of a game for two do not sum to 0.
        """
        rewards: dict[int, float] = self._env.state.rewards or {}
        seats = range(len(self._messages))
        if set(rewards) != set(seats):
            raise RuntimeError(f"TextArena's {self._env_id} gave the rewards {rewards!r}, not one for every seat")
        gains = [float(rewards[seat]) for seat in seats]
        if self._game.players == (2,) and sum(gains) != 0:
            raise RuntimeError(f"TextArena's {self._env_id} gave the rewards {gains!r}, which do not sum to 0")
        return tuple(
            float(sum(mine > other for other in gains) - sum(mine < other for other in gains)) for mine in gains
        )

    @contextmanager
    def _apart(self) -> Generator[None]:
        """Returns a context in which the environment meets random numbers of its own and prints nothing."""
        with _LOCK, self._random.borrowed(), redirect_stdout(io.StringIO()):
            yield

    def _gather(self) -> None:
        """Takes the messages out of TextArena, which would keep each until its player moves."""
        waiting: dict[int, list[Any]] = self._env.state.observations
        for seat, told in waiting.items():
            for sender, text, kind in told:
                said = str(text).strip()
                if said:
                    self._messages[seat].append(
                        _Message(f'Player {sender}: "{said}"' if sender >= 0 else said, kind.name)
                    )
            told.clear()


def import_textarena() -> Any:
    """Returns the module `textarena`, which has no type stubs."""
    try:
        return import_module("textarena")
    except ModuleNotFoundError as error:
        if error.name != "textarena":
            raise
        raise MissingExtraError("the TextArena bridge", "textarena") from error


_LOCK: Final = RLock()
"""Held while the global random numbers are a match's own."""

_NO_OLD_BOARDS: Final = frozenset({Shown.NO_MOVES_LAST_BOARD, Shown.LAST_BOARD, Shown.ALL_BUT_OLD_BOARDS})

_SKIPPED_KINDS: Final = {
    Shown.ALL: frozenset({"PROMPT"}),
    Shown.NO_MOVES: frozenset({"PROMPT", "PLAYER_ACTION", "GAME_ADMIN"}),
    Shown.NO_MOVES_LAST_BOARD: frozenset({"PROMPT", "PLAYER_ACTION", "GAME_ADMIN"}),
    Shown.LAST_BOARD: frozenset({"PROMPT", "PLAYER_ACTION", "GAME_ADMIN", "GAME_MESSAGE", "GAME_ACTION_DESCRIPTION"}),
    Shown.ALL_BUT_OLD_BOARDS: frozenset({"PROMPT"}),
}


def _refuse(reason: str) -> bool:
    """Stands in for TextArena's `set_invalid_move`."""
    raise InvalidMoveError(" ".join(str(reason).split()))
