"""Random players for every environment that `throughput_envs` measures.

Each function returns one that plays whole games, every turn with its text built, and returns the number of turns. A
player moves uniformly at random among the legal moves and is as cheap as the environment lets it be. What it replies is
a legal move's own text, or reasoning that ends in it. A game that ends in anything but its rules raises: the benchmark
is at fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final, TypeAlias

import numpy as np
import pyspiel
from pettingzoo.utils.env import AECEnv

import spiral_envs
from spiral_envs import Termination, View

PlayGames: TypeAlias = Callable[[], int]
"""Plays some games to their end and returns the number of turns."""

GAMES_PER_CALL: Final = 64
"""Games between two looks at the clock."""

REASONING: Final = "I look at what I know, list what I can do, and weigh what the other player may answer. " * 5
"""435 characters: a short reply by the standard of a model that thinks aloud."""


class ReplyStyle(StrEnum):
    """How a player says its move."""

    BARE = "bare"
    """The legal move's own text."""

    BOXED = "boxed"
    """Reasoning, then the move in `\\boxed{}`."""


def reply_with(move: str, style: ReplyStyle) -> str:
    """Returns what a player replies in order to play `move`."""
    return move if style is ReplyStyle.BARE else f"{REASONING}\\boxed{{{move}}}"


class RandomReplies:
    """An agent that replies with a random legal move in either style."""

    name = "random"

    def __init__(self, style: ReplyStyle) -> None:
        """Starts its random numbers."""
        self._style = style
        self._random = random.Random(0).random

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns one reply a view."""
        replies: list[str] = []
        for view in views:
            assert view.legal_moves, "the games that are measured list their moves"
            replies.append(reply_with(view.legal_moves[int(self._random() * len(view.legal_moves))], self._style))
        return replies


def match_loop(game: str, style: ReplyStyle) -> PlayGames:
    """Plays through `play()`, many matches at once."""
    agent = RandomReplies(style)
    seeds = iter(range(10**9))

    def play_games() -> int:
        matches = (spiral_envs.make_match(game, seed=next(seeds)) for _ in range(GAMES_PER_CALL))
        turns = 0
        for episode in spiral_envs.play(matches, [agent, agent]):
            if episode.outcome.termination is not Termination.FINISHED:
                raise RuntimeError(f"a random player of {game} lost by a fault: {episode.outcome.reason}")
            turns += len(episode.turns)
        return turns

    return play_games


def aec_env(env: AECEnv[Any, Any, Any], style: ReplyStyle) -> PlayGames:
    """Plays a PettingZoo environment with the loop of its documentation."""
    draw = random.Random(0).random
    seeds = iter(range(10**9))

    def play_games() -> int:
        turns = 0
        for _ in range(GAMES_PER_CALL):
            env.reset(seed=next(seeds))
            for _agent in env.agent_iter():
                _observation, _reward, terminated, truncated, info = env.last()
                if terminated or truncated:
                    if info["outcome"].termination is not Termination.FINISHED:
                        raise RuntimeError(f"a random player lost by a fault: {info['outcome'].reason}")
                    env.step(None)
                    continue
                legal = info["legal_moves"]
                env.step(reply_with(legal[int(draw() * len(legal))], style))
                turns += 1
        return turns

    return play_games


def open_spiel(name: str) -> PlayGames:
    """Plays as our own matches do: a text and the texts of the legal moves go out, the text of one of them comes in.

    The text is the information state where OpenSpiel has one, else the observation.
    """
    draw = random.Random(0).random
    game = pyspiel.load_game_as_turn_based(name)
    has_information_state = game.get_type().provides_information_state_string

    def play_games() -> int:
        turns = 0
        for _ in range(GAMES_PER_CALL):
            state = game.new_initial_state()
            while not state.is_terminal():
                if state.is_chance_node():
                    outcomes = state.chance_outcomes()
                    state.apply_action(outcomes[int(draw() * len(outcomes))][0])
                    continue
                player = state.current_player()
                if has_information_state:
                    state.information_state_string(player)
                else:
                    state.observation_string(player)
                legal = [state.action_to_string(player, action) for action in state.legal_actions()]
                state.apply_action(state.string_to_action(player, legal[int(draw() * len(legal))]))
                turns += 1
            state.returns()
        return turns

    return play_games


def masked_env(env: AECEnv[Any, Any, Any]) -> PlayGames:
    """Plays a PettingZoo environment of numbers, ours or theirs: an array and a mask go out, a number comes in."""
    draw = random.Random(0).random
    seeds = iter(range(10**9))

    def play_games() -> int:
        turns = 0
        for _ in range(GAMES_PER_CALL):
            env.reset(seed=next(seeds))
            for _agent in env.agent_iter():
                observation, _reward, terminated, truncated, _info = env.last()
                if terminated or truncated:
                    env.step(None)
                    continue
                # Their rock, paper, scissors has no mask.
                legal = np.flatnonzero(observation["action_mask"]) if isinstance(observation, dict) else range(3)
                env.step(int(legal[int(draw() * len(legal))]))
                turns += 1
        return turns

    return play_games
