"""The Gymnasium view of a match: the learner sits in one seat, agents play the others.

`gymnasium.make_vec` makes vectors of either form. The asynchronous one stacks observations in shared memory, for which
texts have no fixed size: with text actions give it `vector_kwargs={"shared_memory": False}`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

import gymnasium
import numpy as np
from numpy.typing import NDArray

from spiral_envs.aec import ACTION_FORMS, RENDER_MODES, render_in
from spiral_envs.agents import Agent, make_agent
from spiral_envs.discrete import ArrayObservation, DiscreteGame, MaskArray, discrete_game_of
from spiral_envs.errors import UnknownNameError
from spiral_envs.game import Player
from spiral_envs.match import GameMatch, Match, MatchSource, View
from spiral_envs.sources import find_source
from spiral_envs.spaces import OBSERVATIONS, MoveText


class SeatEnv(gymnasium.Env[Any, Any]):
    """One seat of a game as a single-agent environment.

    The observation is what the seat is shown when it is to move, or after the end. The reward is the seat's return, at
    the end. `info` has the keys `legal_moves`, `role`, `seat`, `turn` and, after the end, `outcome`; with discrete
    actions also `action_mask`.
    A reset with a seed decides the learner's seat, the chance moves and the moves of the opponents given by strings.
    If the match is over before the learner's first turn, the first step reports the end, whatever its action.

    With discrete actions an action is the number of a move and the observation is a dictionary of `observation` and
    `action_mask`; an action that is not legal is a fault, as an invalid reply is.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 1}  # noqa: RUF012 - as gymnasium.Env declares it

    def __init__(
        self,
        game_id: str,
        *,
        opponent: str | Agent | Sequence[str | Agent] = "random",
        seat: SupportsIndex | str = "random",
        actions: str = "text",
        invalid_move: str = "forfeit",
        render_mode: str | None = None,
        **game_options: Any,
    ) -> None:
        """Builds the environment; `reset` starts a match.

        Args:
            game_id: A registered id, with options in parentheses if you like: `kuhn_poker_v0(hands=1)`.
            opponent: Who plays the other seats: an agent, or an agent string, of which a reset with a seed makes a new
                agent; or a list of them, one for each other seat, in the order of the seats.
            seat: The learner's seat, or "random" for one drawn at every reset.
            actions: "text", or "discrete" for games with a fixed list of moves.
            invalid_move: What a fault costs, on either side: "forfeit" or "random", see `InvalidMove`.
            render_mode: "ansi", where `render` returns every seat's view as text; "human", where every step prints it.
            game_options: The game's own options.

        Raises:
            UnknownNameError: No such game, option, agent, form of actions, policy or render mode.
            ValueError: No such seat, another number of opponents than of other seats, the value of an option is out of
                its range, or the game has no fixed list of moves.
        """
        self._source = find_source(game_id, **game_options)
        self._seats = _seats_of(seat, len(self._source.roles))
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UnknownNameError("render mode", render_mode, RENDER_MODES)
        self.render_mode = render_mode
        self._form = _form_of(actions, self._source)
        self.observation_space = self._form.observation_space
        self.action_space = self._form.action_space
        self._invalid_move = invalid_move
        self._opponents = _opponents_of(opponent, len(self._source.roles) - 1)
        self._agents = self._make_agents()
        self._match: Match = self._source.start(seed=0, invalid_move=invalid_move)
        self._seat: Player = self._seats[0]
        self._is_over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts a match and plays it up to the learner's first turn.

        Args:
            seed: Decides this match and all that follow without a seed.
            options: Not used.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._agents = self._make_agents()
        self._seat = self._seats[self._draw(len(self._seats))]
        self._match = self._source.start(seed=self._draw(2**32), invalid_move=self._invalid_move)
        self._is_over = False
        return self._await_learner()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Plays the learner's action, then the opponents up to the learner's next turn.

        Raises:
            RuntimeError: The match is over, or none has been started.
            TypeError: `action` is of another type than the environment's actions.
        """
        if self._is_over:
            raise RuntimeError(f"no match of {self._source.label} is in progress: call reset()")
        reply = self._form.reply(action)
        if self._match.outcome is None:
            self._match.submit(reply)
        observation, info = self._await_learner()
        outcome = self._match.outcome
        self._is_over = outcome is not None
        reward = 0.0 if outcome is None else outcome.returns[self._seat]
        return observation, reward, self._is_over, False, info

    def render(self) -> str | None:
        """Returns every seat's view (`ansi`) or prints it (`human`): rendering is for the operator, who may see all."""
        return render_in(self.render_mode, self._match)

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns whether each action is legal now, as Stable-Baselines3's `MaskablePPO` asks for it.

        Raises:
            ValueError: The actions are texts.
        """
        return self._form.action_mask().astype(np.bool_)

    def _await_learner(self) -> tuple[Any, dict[str, Any]]:
        """Lets the opponents play until the learner is to move, and returns the observation and the info."""
        match, seat = self._match, self._seat
        while (mover := match.seat_to_move) is not None and mover != seat:
            # The agents sit in the other seats in order, or one of them in all.
            agent = self._agents[mover - (mover > seat) if len(self._agents) > 1 else 0]
            [reply] = agent.act([match.view(mover)])
            match.submit(reply)
        view = match.view(seat)
        info: dict[str, Any] = {
            "legal_moves": view.legal_moves,
            "role": view.role,
            "seat": view.seat,
            "turn": view.turn,
        }
        if match.outcome is not None:
            info["outcome"] = match.outcome
        observation = self._form.show(match, view, info)
        if self.render_mode == "human":
            self.render()
        return observation, info

    def _make_agents(self) -> tuple[Agent, ...]:
        """Returns the opponents, those given by strings made anew from the environment's random numbers."""
        return tuple(
            make_agent(opponent, seed=self._draw(2**32)) if isinstance(opponent, str) else opponent
            for opponent in self._opponents
        )

    def _draw(self, below: int) -> int:
        return int(self.np_random.integers(below))


class _Text:
    """Replies as actions and views as observations."""

    def __init__(self) -> None:
        self.observation_space = OBSERVATIONS
        self.action_space = MoveText()

    def reply(self, action: Any) -> str:
        """Returns what the match is told."""
        if not isinstance(action, str):
            raise TypeError(f"action is {action!r}: expected a text such as '[move]'")
        return action

    def show(self, match: Match, view: View, info: dict[str, Any]) -> str:
        """Returns what the learner is shown."""
        self.action_space.legal_moves = view.legal_moves or ()
        return view.text

    def action_mask(self) -> MaskArray:
        """Raises: there is no list of actions."""
        raise ValueError("actions are texts, which no mask can list: make the environment with actions='discrete'")


class _Arrays:
    """Numbers of moves as actions and arrays as observations."""

    def __init__(self, game: DiscreteGame) -> None:
        self.observation_space = game.observation_space()
        self.action_space = game.action_space()
        self._game = game
        self._legal = game.no_actions

    def reply(self, action: Any) -> str:
        """Returns what the match is told."""
        return self._game.reply(action, self._legal)

    def show(self, match: Match, view: View, info: dict[str, Any]) -> ArrayObservation:
        """Returns what the learner is shown, and adds the mask to the info."""
        assert isinstance(match, GameMatch), "the game's rules are here"
        self._legal = self._game.legal(match) if view.seat == match.seat_to_move else self._game.no_actions
        info["action_mask"] = self._legal.mask.copy()
        return self._game.observe(match, view.seat, self._legal)

    def action_mask(self) -> MaskArray:
        """Returns the mask that was shown last."""
        return self._legal.mask


def gymnasium_id(game_id: str) -> str:
    """Returns the id under which Gymnasium knows a game: `spiral_envs/KuhnPoker-v0` for `kuhn_poker_v0`."""
    name, _, version = game_id.rpartition("_")
    return f"spiral_envs/{''.join(word.capitalize() for word in name.split('_'))}-{version}"


def register_gymnasium(game_id: str) -> None:
    """Makes `gymnasium.make` find a game under `gymnasium_id(game_id)`."""
    gymnasium.register(  # pyright: ignore[reportUnknownMemberType] - kwargs is a bare dict there
        gymnasium_id(game_id), entry_point="spiral_envs.gym:SeatEnv", kwargs={"game_id": game_id}
    )


def _form_of(actions: str, source: MatchSource) -> _Text | _Arrays:
    if actions not in ACTION_FORMS:
        raise UnknownNameError("form of actions", actions, ACTION_FORMS)
    return _Arrays(discrete_game_of(source)) if actions == "discrete" else _Text()


def _opponents_of(opponent: str | Agent | Sequence[str | Agent], num_others: int) -> tuple[str | Agent, ...]:
    """Returns who plays the other seats: one for all of them, or one for each.

    Raises:
        ValueError: A list has another length than there are other seats.
    """
    if isinstance(opponent, str) or not isinstance(opponent, Sequence):
        return (opponent,)
    if len(opponent) != num_others:
        raise ValueError(f"opponent lists {len(opponent)} agents: expected {num_others}, one for each other seat")
    return tuple(opponent)


def _seats_of(seat: SupportsIndex | str, num_seats: int) -> tuple[Player, ...]:
    """Returns the seats among which the learner's is drawn.

    Raises:
        ValueError: No such seat.
    """
    if seat == "random":
        return tuple(range(num_seats))
    # numpy's integers count, True does not.
    if isinstance(seat, SupportsIndex) and not isinstance(seat, bool):
        number = operator.index(seat)
        if 0 <= number < num_seats:
            return (number,)
    raise ValueError(f"seat is {seat!r}: expected 0 to {num_seats - 1} or 'random'")
