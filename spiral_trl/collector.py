"""Playing the games of a batch: which games, with which seeds, by whom."""

from __future__ import annotations

from collections.abc import Sequence

from spiral_envs.agents import Agent
from spiral_envs.chance import match_seed
from spiral_envs.episode import Episode
from spiral_envs.match import InvalidMove
from spiral_envs.play import play
from spiral_envs.sources import find_source


def collect(
    games: Sequence[str],
    agents_by_seat: Sequence[Agent],
    *,
    num_games: int,
    seed: int,
    first_game: int = 0,
    concurrency: int = 512,
) -> list[Episode]:
    """Returns `num_games` finished games, in the order of their numbers.

    Every game is played to its end: stopping at the first finished ones would favour short games.

    Args:
        games: Taken in turn: game number n of the run is a game of `games[n % len(games)]`.
        agents_by_seat: Who plays.
        num_games: How many games to play.
        seed: The seed of the run; every game number gives another seed.
        first_game: The number of the first game.
        concurrency: The most games in progress.
    """
    numbers = range(first_game, first_game + num_games)
    matches = (
        find_source(games[number % len(games)]).start(seed=match_seed(seed, number), invalid_move=InvalidMove.FORFEIT)
        for number in numbers
    )
    return sorted(play(matches, agents_by_seat, concurrency=concurrency), key=lambda episode: episode.index)
