"""The Gymnasium view of a match: the learner sits in one seat, an agent plays the others."""

from __future__ import annotations

from typing import Any

import gymnasium

from spiral_envs.aec import RENDER_MODES, render_in
from spiral_envs.agents import Agent, make_agent
from spiral_envs.errors import UnknownNameError
from spiral_envs.game import Player
from spiral_envs.match import Match
from spiral_envs.sources import find_source
from spiral_envs.spaces import OBSERVATIONS, MoveText


class SeatEnv(gymnasium.Env[str, str]):
    """One seat of a game as a single-agent environment.

    The observation is what the seat is shown when it is to move, or after the end. The reward is the seat's return, at
    the end. `info` has the keys `legal_moves`, `role`, `seat`, `turn` and, after the end, `outcome`.
    A reset with a seed decides the learner's seat, the chance moves and the moves of an opponent given by its string.
    If the opponent forfeits before the learner's first turn, the first step reports the end, whatever its action.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 1}  # noqa: RUF012 - as gymnasium.Env declares it

    def __init__(
        self,
        game_id: str,
        *,
        opponent: str | Agent = "random",
        seat: int | str = "random",
        invalid_move: str = "forfeit",
        render_mode: str | None = None,
        **game_options: Any,
    ) -> None:
        """Builds the environment; `reset` starts a match.

        Args:
            game_id: A registered id.
            opponent: Who plays the other seats: an agent, or an agent string, of which a reset with a seed makes a new
                agent.
            seat: The learner's seat, or "random" for one drawn at every reset.
            invalid_move: What a fault costs, on either side: "forfeit" or "random", see `InvalidMove`.
            render_mode: "ansi", where `render` returns every seat's view as text; "human", where every step prints it.
            game_options: The game's own options.

        Raises:
            UnknownNameError: No such game, option, agent, policy or render mode.
            ValueError: No such seat, or the value of an option is out of its range.
        """
        self._source = find_source(game_id, **game_options)
        self._seats = _seats_of(seat, len(self._source.roles))
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UnknownNameError("render mode", render_mode, RENDER_MODES)
        self.render_mode = render_mode
        self.observation_space = OBSERVATIONS
        self.action_space = self._moves = MoveText()
        self._invalid_move = invalid_move
        self._opponent_string = opponent if isinstance(opponent, str) else None
        self._opponent: Agent = make_agent(opponent) if isinstance(opponent, str) else opponent
        self._match: Match = self._source.start(seed=0, invalid_move=invalid_move)
        self._seat: Player = self._seats[0]
        self._is_over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts a match and plays it up to the learner's first turn.

        Args:
            seed: Decides this match and all that follow without a seed.
            options: Not used.
        """
        super().reset(seed=seed)
        if seed is not None and self._opponent_string is not None:
            self._opponent = make_agent(self._opponent_string, seed=self._draw(2**32))
        self._seat = self._seats[self._draw(len(self._seats))]
        self._match = self._source.start(seed=self._draw(2**32), invalid_move=self._invalid_move)
        self._is_over = False
        return self._await_learner()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Plays the learner's reply, then the opponent up to the learner's next turn.

        Raises:
            RuntimeError: The match is over, or none has been started.
            TypeError: `action` is not a text.
        """
        if self._is_over:
            raise RuntimeError(f"no match of {self._source.label} is in progress: call reset()")
        if not isinstance(action, str):  # pyright: ignore[reportUnnecessaryIsInstance] - a user's loop is not typed
            raise TypeError(f"action is {action!r}: expected a text such as '[move]'")
        if self._match.outcome is None:
            self._match.submit(action)
        observation, info = self._await_learner()
        outcome = self._match.outcome
        self._is_over = outcome is not None
        reward = 0.0 if outcome is None else outcome.returns[self._seat]
        return observation, reward, self._is_over, False, info

    def render(self) -> str | None:
        """Returns every seat's view (`ansi`) or prints it (`human`): rendering is for the operator, who may see all."""
        return render_in(self.render_mode, self._match)

    def _await_learner(self) -> tuple[str, dict[str, Any]]:
        """Lets the opponent play until the learner is to move, and returns the observation and the info."""
        match = self._match
        while match.seat_to_move is not None and match.seat_to_move != self._seat:
            [reply] = self._opponent.act([match.view(match.seat_to_move)])
            match.submit(reply)
        view = match.view(self._seat)
        info: dict[str, Any] = {
            "legal_moves": view.legal_moves,
            "role": view.role,
            "seat": view.seat,
            "turn": view.turn,
        }
        if match.outcome is not None:
            info["outcome"] = match.outcome
        self._moves.legal_moves = view.legal_moves or ()
        if self.render_mode == "human":
            self.render()
        return view.text, info

    def _draw(self, below: int) -> int:
        return int(self.np_random.integers(below))


def gymnasium_id(game_id: str) -> str:
    """Returns the id under which Gymnasium knows a game: `spiral_envs/KuhnPoker-v0` for `kuhn_poker_v0`."""
    name, _, version = game_id.rpartition("_")
    return f"spiral_envs/{''.join(word.capitalize() for word in name.split('_'))}-{version}"


def register_gymnasium(game_id: str) -> None:
    """Makes `gymnasium.make` find a game under `gymnasium_id(game_id)`."""
    gymnasium.register(  # pyright: ignore[reportUnknownMemberType] - kwargs is a bare dict there
        gymnasium_id(game_id), entry_point="spiral_envs.gym:SeatEnv", kwargs={"game_id": game_id}
    )


def _seats_of(seat: int | str, num_seats: int) -> tuple[Player, ...]:
    """Returns the seats among which the learner's is drawn.

    Raises:
        ValueError: No such seat.
    """
    if seat == "random":
        return tuple(range(num_seats))
    if type(seat) is int and 0 <= seat < num_seats:
        return (seat,)
    raise ValueError(f"seat is {seat!r}: expected 0 to {num_seats - 1} or 'random'")
