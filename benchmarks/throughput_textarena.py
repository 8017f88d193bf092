"""Random players for TextArena, which lists the legal moves only in words: they are read off its own states.

Each `..._move` returns a random legal move, given TextArena's state and a source of random numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import textarena

from benchmarks.throughput_players import GAMES_PER_CALL, PlayGames, ReplyStyle, reply_with

Draw: TypeAlias = Callable[[], float]
"""Returns a number from 0 up to but not including 1."""

ChooseMove: TypeAlias = Callable[[Any, Draw], str]


def textarena_env(env_id: str, choose_move: ChooseMove, style: ReplyStyle) -> PlayGames:
    """Plays TextArena's environment as `make` returns it, with the observation as one string.

    Args:
        env_id: Such as `TicTacToe-v0`.
        choose_move: Returns a random legal move; an empty text where the rules there leave none, which ends the game.
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
                move = choose_move(state, draw)
                if not move:
                    break
                is_done, _info = env.step(reply_with(move, style))
                turns += 1
            _rewards, players = env.close()
            if is_done and any(player["invalid_move"] for player in players.values()):
                raise RuntimeError(f"a random player of {env_id} made an invalid move")
        return turns

    return play_games


def tic_tac_toe_move(state: Any, draw: Draw) -> str:
    """Returns an empty cell."""
    cells = [cell for row in state.game_state["board"] for cell in row]
    empty = [index for index, mark in enumerate(cells) if not mark]
    return f"[{empty[int(draw() * len(empty))]}]"


def connect_four_move(state: Any, draw: Draw) -> str:
    """Returns a column that is not full."""
    free = [column for column, mark in enumerate(state.game_state["board"][0]) if mark == "."]
    return f"[{free[int(draw() * len(free))]}]"


def breakthrough_move(state: Any, draw: Draw) -> str:
    """Returns a step; TextArena allows diagonal steps only as captures, so that at times there is none."""
    board = state.game_state["board"]
    own, other, up = ("W", "B", 1) if state.current_player_id == 0 else ("B", "W", -1)
    steps = [
        (row, column, column + aside)
        for row, line in enumerate(board)
        for column, piece in enumerate(line)
        if piece == own and 0 <= row + up < len(board)
        for aside in (-1, 0, 1)
        if 0 <= column + aside < len(line) and board[row + up][column + aside] == (other if aside else "")
    ]
    if not steps:
        return ""
    row, column, to = steps[int(draw() * len(steps))]
    return f"[{_FILES[column]}{row + 1}{_FILES[to]}{row + up + 1}]"


def nim_move(state: Any, draw: Draw) -> str:
    """Returns a pile and how many to take from it."""
    takes = [(pile, take) for pile, size in enumerate(state.game_state["piles"]) for take in range(1, size + 1)]
    pile, take = takes[int(draw() * len(takes))]
    return f"[{pile} {take}]"


def kuhn_poker_move(state: Any, draw: Draw) -> str:
    """Returns a move of TextArena's betting tree."""
    moves = tuple(state.game_state["current_legal_action_tree"])
    return f"[{moves[int(draw() * len(moves))]}]"


def liars_dice_move(state: Any, draw: Draw) -> str:
    """Returns a higher bid, or a call of the one that stands."""
    bid = state.game_state["current_bid"]
    quantity, face = bid["quantity"], bid["face_value"]
    dice = sum(state.game_state["remaining_dice"].values())
    bids = [
        (more, value)
        for more in range(max(quantity, 1), dice + 1)
        for value in range(max(face, 1), 7)
        if (more, value) != (quantity, face)
    ]
    index = int(draw() * (len(bids) + (quantity > 0)))
    return "[Bid: {}, {}]".format(*bids[index]) if index < len(bids) else "[Call]"


def pig_dice_move(state: Any, draw: Draw) -> str:
    """Returns a roll or a hold."""
    return "[roll]" if draw() < 1 / 2 else "[hold]"


def snake_move(state: Any, draw: Draw) -> str:
    """Returns a direction."""
    return _DIRECTIONS[int(draw() * 4)]


def colonel_blotto_move(state: Any, draw: Draw) -> str:
    """Returns an allocation of 20 units to three fields."""
    first = int(draw() * 21)
    second = int(draw() * (21 - first))
    return f"[A:{first}, B:{second}, C:{20 - first - second}]"


def rock_paper_scissors_move(state: Any, draw: Draw) -> str:
    """Returns one of the three."""
    return _HANDS[int(draw() * 3)]


def truth_and_deception_move(state: Any, draw: Draw) -> str:
    """Returns a remark, or a guess in the last turn."""
    if state.turn == state.max_turns - 1:
        return "[Fact 1]" if draw() < 1 / 2 else "[Fact 2]"
    return "I am quite sure about the first one."


def negotiation_move(state: Any, draw: Draw) -> str:
    """Returns an offer of Wood for Ore that the player can afford; rarely a denial or an acceptance.

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


_FILES: Final = "abcdefghijklmnopqrstuvwxyz"

_DIRECTIONS: Final = ("[up]", "[down]", "[left]", "[right]")

_HANDS: Final = ("[rock]", "[paper]", "[scissors]")
