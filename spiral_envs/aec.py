"""The PettingZoo view of a match: one environment, one agent a seat, in text or in numbers.

With text actions an action is a reply as a language model writes it; `spiral_envs.extraction` reads it. `infos[agent]`
has the keys `legal_moves` (the texts of the legal moves; empty when it is not this agent's turn), `role`, `seat`,
`turn` (how many turns were taken) and, after the end, `outcome`. With discrete actions an action is the number of a
move, observations say which are legal, and `infos` have nothing but the `outcome`.
Rewards come at the end, as the returns of the match. A fault ends the match or costs a random move, as `invalid_move`
says; it never raises.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

import gymnasium.logger
import pettingzoo  # pyright: ignore[reportMissingTypeStubs] - typed, but without the marker file
from gymnasium import Space
from pettingzoo.utils.conversions import (  # pyright: ignore[reportMissingTypeStubs]
    turn_based_aec_to_parallel,
)
from pettingzoo.utils.env import AECEnv, AECIterable, ParallelEnv  # pyright: ignore[reportMissingTypeStubs]
from pettingzoo.utils.wrappers import OrderEnforcingWrapper  # pyright: ignore[reportMissingTypeStubs]

from spiral_envs.discrete import ArrayObservation, DiscreteGame, discrete_game_of
from spiral_envs.errors import UnknownNameError
from spiral_envs.game import GameSpec, Player
from spiral_envs.match import GameMatch, Match, MatchSource, View
from spiral_envs.sources import find_source
from spiral_envs.spaces import OBSERVATIONS, MoveText

RENDER_MODES: Final = ("ansi", "human")

ACTION_FORMS: Final = ("text", "discrete")

MatchEnv: TypeAlias = AECEnv[str, Any, Any]
"""An environment whose observations and actions are texts, or arrays and numbers."""

ParallelMatchEnv: TypeAlias = ParallelEnv[str, Any, Any]

MatchT = TypeVar("MatchT", bound=Match)

ObservationT = TypeVar("ObservationT")

ActionT = TypeVar("ActionT")


class Observation(str):
    """A text that says its type as an array would, which PettingZoo's own tests ask for."""

    __slots__ = ()

    dtype = str


class MatchAECEnv(AECEnv[str, ObservationT, ActionT | None], Generic[MatchT, ObservationT, ActionT]):
    """Matches of one game, one after the other, whatever the form of observations and actions.

    `reset(seed=s)` starts the match that `make_match(..., seed=s)` starts. A reset without a seed draws one from the
    environment's own random numbers, which the last given seed started; before any, the operating system starts them.
    """

    def __init__(
        self, start_match: Callable[[int], MatchT], *, name: str, num_seats: int, render_mode: str | None = None
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
        self._start_match = start_match
        self._seats = {agent: seat for seat, agent in enumerate(self.possible_agents)}
        # Every match starts with copies of these, which takes less time than building them.
        self._zeros = dict.fromkeys(self.possible_agents, 0.0)
        self._falses = dict.fromkeys(self.possible_agents, False)
        self._trues = dict.fromkeys(self.possible_agents, True)
        self._stream_seed: int | None = None
        self._stream: random.Random | None = None

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Starts a new match.

        Args:
            seed: Decides every chance move of this match, and the matches that later resets start without a seed.
            options: Not used.

        Raises:
            TypeError: `seed` is no integer.
            ValueError: `seed` is negative.
        """
        if seed is None:
            if self._stream is None:
                self._stream = random.Random(self._stream_seed)
            seed = self._stream.getrandbits(32)
        else:
            # numpy's integers count, 1.5 does not.
            seed = operator.index(seed)
            self._stream_seed, self._stream = seed, None
        self._match = self._start_match(seed)
        self.agents = self.possible_agents.copy()
        self.rewards = self._zeros.copy()
        self._cumulative_rewards = self._zeros.copy()
        self.terminations = self._falses.copy()
        self.truncations = self._falses.copy()
        self._infos: dict[str, dict[str, Any]] = {}
        self._show_position()

    def step(self, action: ActionT | None) -> None:
        """Plays the action of the selected agent; None for an agent whose match is over.

        Raises:
            TypeError: `action` is of another type than the environment's actions.
        """
        raise NotImplementedError

    def observe(self, agent: str) -> ObservationT:
        """Returns what `agent` is shown now."""
        raise NotImplementedError

    @property
    def infos(self) -> dict[str, dict[str, Any]]:  # pyright: ignore[reportIncompatibleVariableOverride] - made when read
        """What each agent is told beside its observation; nobody asks for most of it, so it is made when read."""
        infos = self._infos
        if len(infos) < len(self.agents):
            infos = {agent: infos[agent] if agent in infos else self._new_info(agent) for agent in self.agents}
            self._infos = infos
        return infos

    def last(self, observe: bool = True) -> tuple[ObservationT | None, float, bool, bool, dict[str, Any]]:
        """Returns the observation, the cumulative reward, the two ways to be over and the info of the selected agent.

        Args:
            observe: Whether to look; without it the observation is None.
        """
        agent = self.agent_selection
        observation = self.observe(agent) if observe else None
        info = self._infos.get(agent)
        if info is None:
            info = self._infos[agent] = self._new_info(agent)
        return observation, self._cumulative_rewards[agent], self.terminations[agent], self.truncations[agent], info

    def agent_iter(self, max_iter: int = 2**63) -> AECIterable[str, ObservationT, ActionT | None]:
        """Returns the selected agents, one a step, until all have left or `max_iter` have been named."""
        return _AgentIterable(self, max_iter)

    def render(self) -> str | None:
        """Returns every seat's view (`ansi`) or prints it (`human`): rendering is for the operator, who may see all."""
        return render_in(self.render_mode, self._match)

    def close(self) -> None:
        """Does nothing: there is nothing to release."""

    def _tell(self, agent: str, seat: Player) -> None:
        """Takes over from the match what `agent`, who sits in `seat` and is to move, is told."""
        raise NotImplementedError

    def _new_info(self, agent: str) -> dict[str, Any]:
        """Returns what `agent` is told now beside its observation, as a dictionary of its own."""
        raise NotImplementedError

    def _show_position(self) -> None:
        """Takes over from the match who is to move and what each agent is told, or how it ended."""
        seat = self._match.seat_to_move
        if seat is None:
            self._end()
        else:
            self.agent_selection = agent = self.possible_agents[seat]
            self._tell(agent, seat)
        if self.render_mode == "human":
            self.render()

    def _end(self) -> None:
        outcome = self._match.outcome
        assert outcome is not None, "no seat is to move"
        returns = outcome.returns
        self.rewards = {agent: returns[seat] for agent, seat in self._seats.items()}
        self._cumulative_rewards = self.rewards.copy()
        self.terminations = self._trues.copy()
        self._infos = {}
        self.agent_selection = self.possible_agents[0]

    def _leave(self, action: object) -> None:
        """Takes the selected agent out after the end, like PettingZoo's `_was_dead_step`, which takes longer."""
        if action is not None:
            raise ValueError("when an agent is dead, the only valid action is None")
        agent = self.agent_selection
        self.agents.remove(agent)
        del self.terminations[agent], self.truncations[agent], self._cumulative_rewards[agent]
        self._infos.pop(agent, None)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        if self.agents:
            self.agent_selection = self.agents[0]


class TextAECEnv(MatchAECEnv[Match, str, str]):
    """Matches of one game in text: an action is a reply, an observation what the agent is shown."""

    def __init__(
        self, start_match: Callable[[int], Match], *, name: str, num_seats: int, render_mode: str | None = None
    ) -> None:
        """Builds the environment, with the arguments of `MatchAECEnv`."""
        super().__init__(start_match, name=name, num_seats=num_seats, render_mode=render_mode)
        self._moves = {agent: MoveText() for agent in self.possible_agents}
        self.observation_spaces = dict.fromkeys(self.possible_agents, OBSERVATIONS)
        self.action_spaces = dict(self._moves)
        # That of the agent to move.
        self._view: View | None = None
        self._mover_moves = self._moves[self.possible_agents[0]]

    def observation_space(self, agent: str) -> Space[str]:
        """Returns the space of all texts, one object for all."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> MoveText:
        """Returns the space of all replies; a sample is a legal move of `agent`."""
        return self._moves[agent]

    def step(self, action: str | None) -> None:
        """Plays the reply of the selected agent; None for an agent whose match is over.

        Raises:
            TypeError: `action` is no text.
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
        view = self._view
        if view is None or agent != self.agent_selection:
            view = self._match.view(self._seats[agent])
        return Observation(view.text)

    def _tell(self, agent: str, seat: Player) -> None:
        self._view = view = self._match.view(seat)
        legal_moves = view.legal_moves
        self._infos = {agent: {"legal_moves": legal_moves, "role": view.role, "seat": seat, "turn": view.turn}}
        self._mover_moves.legal_moves = ()
        self._mover_moves = moves = self._moves[agent]
        moves.legal_moves = legal_moves or ()

    def _end(self) -> None:
        super()._end()
        self._view = None
        self._mover_moves.legal_moves = ()

    def _new_info(self, agent: str) -> dict[str, Any]:
        seat, view, match = self._seats[agent], self._view, self._match
        if view is None:
            turn, outcome = len(match.turns), match.outcome
            return {"legal_moves": (), "role": match.roles[seat], "seat": seat, "turn": turn, "outcome": outcome}
        return {"legal_moves": (), "role": match.roles[seat], "seat": seat, "turn": view.turn}


class DiscreteAECEnv(MatchAECEnv[GameMatch, Any, Any]):
    """Matches of one game in arrays: an action is the number of a move, and observations say which are legal.

    An action that is not legal is a fault of the agent, as an invalid reply is in text. `infos` are empty up to the
    end, where `outcome` says how it came: libraries that stack infos want numbers only.
    """

    def __init__(
        self, game: DiscreteGame, start_match: Callable[[int], GameMatch], *, render_mode: str | None = None
    ) -> None:
        """Builds the environment; `reset` starts a match.

        Args:
            game: The game.
            start_match: Returns a new match of it with the seed that it is given.
            render_mode: As for `MatchAECEnv`.
        """
        super().__init__(start_match, name=game.spec.id, num_seats=len(game.spec.roles), render_mode=render_mode)
        self._game = game
        self._legal = game.no_actions
        self.observation_spaces = {agent: game.observation_space() for agent in self.possible_agents}
        self.action_spaces = {agent: game.action_space() for agent in self.possible_agents}

    def observation_space(self, agent: str) -> Space[Any]:
        """Returns the space of the observations of `agent`."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        """Returns the space of all actions; `sample(action_mask)` draws a legal one."""
        return self.action_spaces[agent]

    def step(self, action: Any) -> None:
        """Plays the action of the selected agent; None for an agent whose match is over.

        Raises:
            TypeError: `action` is no integer.
        """
        match = self._match
        if match.seat_to_move is None:
            self._leave(action)
            return
        match.submit(self._game.reply(action, self._legal))
        self._show_position()

    def observe(self, agent: str) -> ArrayObservation:
        """Returns what `agent` knows and which actions it has, as new arrays."""
        legal = self._legal if agent == self.agent_selection else self._game.no_actions
        return self._game.observe(self._match, self._seats[agent], legal)

    def _tell(self, agent: str, seat: Player) -> None:
        self._legal = self._game.legal(self._match)

    def _end(self) -> None:
        super()._end()
        self._legal = self._game.no_actions

    def _new_info(self, agent: str) -> dict[str, Any]:
        outcome = self._match.outcome
        return {} if outcome is None else {"outcome": outcome}


class _AgentIterable(AECIterable[str, Any, Any]):
    """What `agent_iter` returns: PettingZoo's own, with an iterator that takes less time."""

    env: MatchEnv
    max_iter: int

    def __iter__(self) -> Any:
        env, left = self.env, self.max_iter
        while env.agents and left > 0:
            left -= 1
            yield env.agent_selection


RawMatchEnv: TypeAlias = MatchAECEnv[Any, Any, Any]


@dataclass(frozen=True)
class EnvModule:
    """The environments of one game, in the shape of PettingZoo's environment modules.

    Attributes:
        game_id: The game's id.
    """

    game_id: str

    def env(self, **options: Any) -> MatchEnv:
        """Returns the environment with PettingZoo's check of the order of calls; the options are those of `make`."""
        return make(self.game_id, **options)

    def raw_env(self, **options: Any) -> RawMatchEnv:
        """Returns the bare environment, which is the fastest; the options are those of `make`."""
        return raw_env(self.game_id, **options)

    def parallel_env(self, **options: Any) -> ParallelMatchEnv:
        """Returns PettingZoo's parallel form, in which only the action of the agent to move counts."""
        return parallel_env(self.game_id, **options)


def make(
    game_id: str,
    *,
    invalid_move: str = "forfeit",
    actions: str = "text",
    render_mode: str | None = None,
    **game_options: Any,
) -> MatchEnv:
    """Returns the PettingZoo environment of a game, which checks that its methods are called in order.

    Args:
        game_id: A registered id, with options in parentheses if you like: `kuhn_poker_v0(hands=1)`.
        invalid_move: What a fault costs: "forfeit" or "random", see `InvalidMove`.
        actions: "text": actions are replies and observations texts; "discrete": actions are the numbers of moves and
            observations arrays, for games with a fixed list of moves.
        render_mode: "ansi", where `render` returns every seat's view as text; "human", where every step prints it.
        game_options: The game's own options; its module docstring lists them.

    Raises:
        UnknownNameError: No such game, option, policy, form of actions or render mode.
        ValueError: The value of an option is out of its range, the game has no fixed list of moves, or it cannot follow
            the policy.
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
) -> RawMatchEnv:
    """Returns the same environment without any check of the order of calls; the arguments are those of `make`."""
    if actions not in ACTION_FORMS:
        raise UnknownNameError("form of actions", actions, ACTION_FORMS)
    source = find_source(game_id, **game_options)
    # A policy that does not exist, or that this game cannot follow, is told now rather than at the first reset.
    source.start(seed=0, invalid_move=invalid_move)
    if actions == "discrete":
        game = discrete_game_of(source)
        return DiscreteAECEnv(game, partial(_start_game, game.spec, invalid_move), render_mode=render_mode)
    return TextAECEnv(
        partial(_start_match, source, invalid_move),
        name=source.id,
        num_seats=len(source.roles),
        render_mode=render_mode,
    )


def parallel_env(game_id: str, **options: Any) -> ParallelMatchEnv:
    """Returns PettingZoo's parallel form of `make`, with the same options; only the agent to move acts in a step.

    The others' actions do not count, and with discrete actions their masks are all 0.
    """
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


def _start_game(spec: GameSpec, invalid_move: str, seed: int) -> GameMatch:
    return GameMatch(spec, seed=seed, invalid_move=invalid_move)
