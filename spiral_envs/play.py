"""Playing many matches at once, with each agent's pending turns as one batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from spiral_envs.agents import Agent
from spiral_envs.episode import Episode
from spiral_envs.match import Match, View


def play(matches: Iterable[Match], agents_by_seat: Sequence[Agent], *, concurrency: int = 512) -> Iterator[Episode]:
    """Yields the record of every match as it finishes.

    All agents' turns are served in rounds: an agent is handed every turn that waits for it, in the order in which the
    matches were started, so that it can batch them. An agent that sits in several seats gets their turns together.
    The schedule depends on nothing but the matches and the replies.

    Args:
        matches: Taken lazily; a match starts as soon as there is room for it.
        agents_by_seat: Who plays each seat.
        concurrency: The most matches in progress.

    Raises:
        ValueError: A match has another number of seats, or an agent returns more or fewer replies than it got turns.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency!r}: expected at least 1")
    agents = list({id(agent): agent for agent in agents_by_seat}.values())
    names = tuple(agent.name for agent in agents_by_seat)
    waiting = iter(enumerate(matches))
    running: list[tuple[int, Match]] = []
    is_exhausted = False
    while running or not is_exhausted:
        while not is_exhausted and len(running) < concurrency:
            following = next(waiting, None)
            if following is None:
                is_exhausted = True
                break
            index, match = following
            if len(match.roles) != len(agents_by_seat):
                raise ValueError(
                    f"{match.game} has {len(match.roles)} seats, but {len(agents_by_seat)} agents sit down"
                )
            running.append((index, match))
        for agent in agents:
            _serve(agent, agents_by_seat, running)
        over = [pair for pair in running if pair[1].seat_to_move is None]
        if over:
            running = [pair for pair in running if pair[1].seat_to_move is not None]
        for index, match in over:
            yield Episode.of(match, index=index, agents=names)


def _serve(agent: Agent, agents_by_seat: Sequence[Agent], running: Sequence[tuple[int, Match]]) -> None:
    """Lets `agent` take one turn in every match that waits for it."""
    pending: list[Match] = []
    views: list[View] = []
    for _, match in running:
        seat = match.seat_to_move
        if seat is not None and agents_by_seat[seat] is agent:
            pending.append(match)
            views.append(match.view(seat))
    if not pending:
        return
    replies = agent.act(views)
    if len(replies) != len(pending):
        raise ValueError(f"agent {agent.name!r} returned {len(replies)} replies to {len(pending)} views")
    for match, reply in zip(pending, replies, strict=True):
        match.submit(reply)
