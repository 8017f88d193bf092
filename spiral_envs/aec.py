"""The PettingZoo view of a match: one environment, one agent a seat, text in and text out.

An action is a reply as a language model writes it; `spiral_envs.extraction` reads it. `infos[agent]` has the keys
`legal_moves` (the texts of the legal moves; empty when it is not this agent's turn), `role`, `seat`, `turn` (how many
turns were taken) and, after the end, `outcome`. Rewards come at the end, as the returns of the match. A fault ends the
match or costs a random move, as `invalid_move` says; it never raises.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import gymnasium.logger
import pettingzoo  # pyright: ignore[reportMissingTypeStubs] - typed, but without the marker file
from pettingzoo.utils.conversions import (  # pyright: ignore[reportMissingTypeStubs]
    turn_based_aec_to_parallel,
)
from pettingzoo.utils.env import AECEnv, ParallelEnv  # pyright: ignore[reportMissingTypeStubs]
from pettingzoo.utils.wrappers import OrderEnforcingWrapper  # pyright: ignore[reportMissingTypeStubs]

from spiral_envs.errors import UnknownNameError
from spiral_envs.game import Player
from spiral_envs.match import InvalidMove, Match, MatchSource
from spiral_envs.sources import find_source
from spiral_envs.spaces import OBSERVATIONS, MoveText, PlainText

RENDER_MODES: Final = ("ansi", "human")

TextEnv: TypeAlias = AECEnv[str, str, str | None]

ParallelTextEnv: TypeAlias = ParallelEnv[str, str, str | None]


class Observation(str):
    """A text that says its type as an array would, which PettingZoo's own tests ask for."""

    __slots__ = ()

    dtype = str


class TextAECEnv(AECEnv[str, str, str | None]):
    """Matches of one game, one after the other.

    `reset(seed=s)` starts the match that `make_match(..., seed=s)` starts. A reset without a seed draws one from the
    environment's own random numbers, which the last given seed started; before any, the operating system starts them.
    """

    def __init__(
        self, start_match: Callable[[int], Match], *, name: str, num_seats: int, render_mode: str | None = None
    ) -> None:
        """Builds the environment; `reset` starts a match.

        Args:
            start_match: Returns a new match with the seed that it is given.
            name: The game's id, for PettingZoo's metadata.
            num_seats: The number of seats.
            render_mode: "ansi", where `render` returns every seat's view as text; "human", where every step prints it.

        Raises:
            UnknownNameError: No such render mode.
        """
        super().__init__()
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UnknownNameError("render mode", render_mode, RENDER_MODES)
        self.render_mode = render_mode
        self.metadata = {"name": name, "render_modes": list(RENDER_MODES), "is_parallelizable": False}
        self.possible_agents = [f"player_{seat}" for seat in range(num_seats)]
        self._moves = {agent: MoveText() for agent in self.possible_agents}
        self.observation_spaces = dict.fromkeys(self.possible_agents, OBSERVATIONS)
        self.action_spaces = dict(self._moves)
        self._start_match = start_match
        self._seats = {agent: seat for seat, agent in enumerate(self.possible_agents)}
        self._stream_seed: int | None = None
        self._stream: random.Random | None = None
        self._observation: Observation | None = None

    def observation_space(self, agent: str) -> PlainText:
        """Returns the space of all texts, one object for all."""
        return OBSERVATIONS

    def action_space(self, agent: str) -> MoveText:
        """Returns the space of all replies; a sample is a legal move of `agent`."""
        return self._moves[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Starts a new match.

        Args:
            seed: Decides every chance move of this match, and the matches that later resets start without a seed.
            options: Not used.
        """
        if seed is None:
            if self._stream is None:
                self._stream = random.Random(self._stream_seed)
            seed = self._stream.getrandbits(32)
        else:
            seed = int(seed)
            self._stream_seed, self._stream = seed, None
        self._match = self._start_match(seed)
        self._places = tuple(
            zip(self.possible_agents, self._seats.values(), self._match.roles, self._moves.values(), strict=True)
        )
        self.agents = self.possible_agents.copy()
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self._show_position()

    def step(self, action: str | None) -> None:
        """Plays the reply of the selected agent; None for an agent whose match is over.

        Raises:
            TypeError: `action` is not a text.
        """
        match = self._match
        if match.seat_to_move is None:
            self._leave(action)
            return
        if not isinstance(action, str):
            raise TypeError(f"action of {self.agent_selection} is {action!r}: expected a text such as '[move]'")
        match.submit(action)
        self._show_position()

    def observe(self, agent: str) -> Observation:
        """Returns what `agent` is shown now: the rules for its role, then the observation."""
        if agent == self.agent_selection and self._observation is not None:
            return self._observation
        return Observation(self._match.view(self._seats[agent]).text)

    def render(self) -> str | None:
        """Returns every seat's view (`ansi`) or prints it (`human`): rendering is for the operator, who may see all."""
        return render_in(self.render_mode, self._match)

    def close(self) -> None:
        """Does nothing: there is nothing to release."""

    def _show_position(self) -> None:
        """Takes over from the match who is to move and what each agent is told, or how it ended."""
        match = self._match
        mover = match.seat_to_move
        if mover is None:
            self._end()
        else:
            view = match.view(mover)
            self._tell(mover, view.legal_moves, view.turn)
            self.agent_selection = self.possible_agents[mover]
            self._observation = Observation(view.text)
        if self.render_mode == "human":
            self.render()

    def _tell(self, mover: Player | None, legal_moves: tuple[str, ...] | None, turn: int) -> None:
        """Gives every agent a new info, and the legal moves to the one whose seat is to move."""
        self.infos = infos = {}
        for agent, seat, role, space in self._places:
            legal = legal_moves if seat == mover else ()
            infos[agent] = {"legal_moves": legal, "role": role, "seat": seat, "turn": turn}
            space.legal_moves = legal or ()

    def _end(self) -> None:
        outcome = self._match.outcome
        assert outcome is not None, "no seat is to move"
        self._tell(None, (), len(self._match.turns))
        for info in self.infos.values():
            info["outcome"] = outcome
        self.rewards = dict(zip(self.possible_agents, outcome.returns, strict=True))
        self._cumulative_rewards = self.rewards.copy()
        self.terminations = dict.fromkeys(self.possible_agents, True)
        self.agent_selection = self.possible_agents[0]
        self._observation = None

    def _leave(self, action: str | None) -> None:
        """Takes the selected agent out after the end, like PettingZoo's `_was_dead_step`, which takes longer."""
        if action is not None:
            raise ValueError("when an agent is dead, the only valid action is None")
        agent = self.agent_selection
        self.agents.remove(agent)
        for by_agent in (self.terminations, self.truncations, self._cumulative_rewards, self.infos):
            del by_agent[agent]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        if self.agents:
            self.agent_selection = self.agents[0]


@dataclass(frozen=True)
class EnvModule:
    """The environments of one game, in the shape of PettingZoo's environment modules.

    Attributes:
        game_id: The game's id.
    """

    game_id: str

    def env(self, **options: Any) -> TextEnv:
        """Returns the environment with PettingZoo's check of the order of calls; the options are those of `make`."""
        return make(self.game_id, **options)

    def raw_env(self, **options: Any) -> TextAECEnv:
        """Returns the bare environment, which is the fastest; the options are those of `make`."""
        return raw_env(self.game_id, **options)

    def parallel_env(self, **options: Any) -> ParallelTextEnv:
        """Returns PettingZoo's parallel form, in which only the action of the agent to move counts."""
        return parallel_env(self.game_id, **options)


def make(
    game_id: str,
    *,
    invalid_move: str = "forfeit",
    actions: str = "text",
    render_mode: str | None = None,
    **game_options: Any,
) -> TextEnv:
    """Returns the PettingZoo environment of a game, which checks that its methods are called in order.

    Args:
        game_id: A registered id, with options in parentheses if you like: `kuhn_poker_v0(hands=1)`.
        invalid_move: What a fault costs: "forfeit" or "random", see `InvalidMove`.
        actions: The form of the actions: "text".
        render_mode: "ansi", where `render` returns every seat's view as text; "human", where every step prints it.
        game_options: The game's own options; its module docstring lists them.

    Raises:
        UnknownNameError: No such game, option, policy, form of actions or render mode.
        ValueError: The value of an option is out of its range.
    """
    return OrderEnforcingWrapper(
        raw_env(game_id, invalid_move=invalid_move, actions=actions, render_mode=render_mode, **game_options)
    )


def raw_env(
    game_id: str,
    *,
    invalid_move: str = "forfeit",
    actions: str = "text",
    render_mode: str | None = None,
    **game_options: Any,
) -> TextAECEnv:
    """Returns the same environment without any check of the order of calls; the arguments are those of `make`."""
    if actions not in _ACTION_FORMS:
        raise UnknownNameError("form of actions", actions, _ACTION_FORMS)
    if invalid_move not in _POLICIES:
        raise UnknownNameError("invalid_move policy", invalid_move, _POLICIES)
    source = find_source(game_id, **game_options)
    return TextAECEnv(
        partial(_start_match, source, invalid_move),
        name=source.id,
        num_seats=len(source.roles),
        render_mode=render_mode,
    )


def parallel_env(game_id: str, **options: Any) -> ParallelTextEnv:
    """Returns PettingZoo's parallel form of `make`, with the same options; only the agent to move acts in a step."""
    return turn_based_aec_to_parallel(make(game_id, **options))


def register_pettingzoo(game_id: str) -> None:
    """Makes `pettingzoo.make("aec", "spiral_envs/GAME_ID")` find a game, and "parallel" its parallel form."""
    module = EnvModule(game_id)
    pettingzoo.register("aec", f"spiral_envs/{game_id}", entry_point=module.env)
    pettingzoo.register("parallel", f"spiral_envs/{game_id}", entry_point=module.parallel_env)


def render_in(render_mode: str | None, match: Match) -> str | None:
    """Returns what every seat sees (`ansi`), prints it (`human`), or warns that no mode was chosen."""
    if render_mode is None:
        gymnasium.logger.warn("render() was called on an environment that was made without a render_mode")
        return None
    text = render_match(match)
    if render_mode == "ansi":
        return text
    print(text)  # noqa: T201 - what this mode is for
    return None


def render_match(match: Match) -> str:
    """Returns what every seat sees now, and how the match ended."""
    parts = [f"{role} sees:\n{match.view(seat).observation}" for seat, role in enumerate(match.roles)]
    if match.outcome is not None:
        returns = ", ".join(
            f"{role} {value:+g}" for role, value in zip(match.roles, match.outcome.returns, strict=True)
        )
        parts.append(f"{match.outcome.reason or 'The game is over'}. Returns: {returns}.")
    return "\n\n".join(parts)


def _start_match(source: MatchSource, invalid_move: str, seed: int) -> Match:
    return source.start(seed=seed, invalid_move=invalid_move)


_ACTION_FORMS: Final = ("text",)

_POLICIES: Final = tuple(policy.value for policy in InvalidMove)
