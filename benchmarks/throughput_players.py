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

import pyspiel
import textarena
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
            assert view.legal_moves, "the three games list their moves"
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


def textarena_env(env_id: str, choose_move: Callable[[Any, Callable[[], float]], str], style: ReplyStyle) -> PlayGames:
    """Plays TextArena's environment as `make` returns it, with the observation as one string.

    Args:
        env_id: Such as `TicTacToe-v0`.
        choose_move: Returns a random legal move from TextArena's own state and a source of random numbers;
            TextArena lists the legal moves only in words.
        style: How the move is said.
    """
    draw = random.Random(0).random

    def play_games() -> int:
        turns = 0
        for _ in range(GAMES_PER_CALL):
            env = textarena.make(env_id)
            env.reset(num_players=2)
            # Past the wrappers, so that looking for a move costs nothing that a model would not pay.
            state = env.state
            is_done = False
            while not is_done:
                env.get_observation()
                is_done, _info = env.step(reply_with(choose_move(state, draw), style))
                turns += 1
            _rewards, players = env.close()
            if any(player["invalid_move"] for player in players.values()):
                raise RuntimeError(f"a random player of {env_id} made an invalid move")
        return turns

    return play_games


def tic_tac_toe_move(state: Any, draw: Callable[[], float]) -> str:
    """Returns a random empty cell of TextArena's board."""
    cells = [cell for row in state.game_state["board"] for cell in row]
    empty = [index for index, mark in enumerate(cells) if not mark]
    return f"[{empty[int(draw() * len(empty))]}]"


def kuhn_poker_move(state: Any, draw: Callable[[], float]) -> str:
    """Returns a random move of TextArena's betting tree."""
    moves = tuple(state.game_state["current_legal_action_tree"])
    return f"[{moves[int(draw() * len(moves))]}]"


def negotiation_move(state: Any, draw: Callable[[], float]) -> str:
    """Returns a random offer of Wood for Ore that the player can afford; rarely a denial or an acceptance.

    Our own game has hundreds of offers to choose from and two answers, so uniform play is nearly all offers as well.
    """
    player = state.current_player_id
    offer = state.game_state["current_offer"]
    if offer is not None and draw() < 1 / 100:
        owned = state.game_state["player_resources"][player]
        can_accept = all(owned[resource] >= units for resource, units in offer["requested_resources"].items())
        return "[Accept]" if can_accept and draw() < 1 / 2 else "[Deny]"
    wood = state.game_state["player_resources"][player]["Wood"]
    if not wood:
        return "[Deny]"
    return f"[Offer: {1 + int(draw() * wood)} Wood -> {1 + int(draw() * 10)} Ore]"


def open_spiel_tic_tac_toe() -> PlayGames:
    """Plays OpenSpiel's tic-tac-toe: the player is shown the observation string."""
    return _open_spiel("tic_tac_toe", lambda state, player: state.observation_string(player))


def open_spiel_kuhn_poker() -> PlayGames:
    """Plays OpenSpiel's Kuhn poker, of one hand: the player is shown the information-state string."""
    return _open_spiel("kuhn_poker", lambda state, player: state.information_state_string(player))


def _open_spiel(name: str, text_of: Callable[[Any, int], str]) -> PlayGames:
    """Plays as our own matches do: a text and the texts of the legal moves go out, the text of one of them comes in."""
    draw = random.Random(0).random
    game = pyspiel.load_game(name)

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
                text_of(state, player)
                legal = [state.action_to_string(player, action) for action in state.legal_actions()]
                state.apply_action(state.string_to_action(player, legal[int(draw() * len(legal))]))
                turns += 1
            state.returns()
        return turns

    return play_games
