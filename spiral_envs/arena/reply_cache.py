"""The replies of endpoints, kept by game and ply, so that nothing is paid for twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spiral_envs.arena.folder import read_lines
from spiral_envs.json_lines import JsonLines
from spiral_envs.match import Fault, Reply, Usage


class PaidReply(NamedTuple):
    """What a reply took.

    Attributes:
        agent: Who was asked.
        usage: What it took; None where the endpoint does not say.
    """

    agent: str
    usage: Usage | None


class ReplyCache:
    """The file of replies; any thread may add one and look one up.

    A reply is found again only for the same question, the agent and the text of what it was shown: after a change of
    the wording the agent is asked anew.
    """

    def __init__(self, path: Path, *, finished: Container[str]) -> None:
        """Reads the file; replies in the games of `finished` were paid for but are not asked for again."""
        self._file = JsonLines(path)
        self._lock = threading.Lock()
        self._replies: dict[str, dict[tuple[int, str], Reply]] = {}
        self._paid: list[PaidReply] = []
        for record in read_lines(path):
            self._take_in(record, finished)

    def paid(self) -> Iterator[PaidReply]:
        """Yields what the replies took that the file held when it was opened."""
        yield from self._paid

    def find(self, *, game: str, ply: int, agent: str, text: str) -> Reply | None:
        """Returns the reply of `agent` to `text` in a game; None if it has not been asked."""
        return self._replies.get(game, {}).get((ply, question(agent, text)))

    def keep(self, reply: str, *, game: str, ply: int, agent: str, text: str) -> None:
        """Writes a reply to the disk, before anybody plays it."""
        fault, usage = (reply.fault, reply.usage) if isinstance(reply, Reply) else (None, None)
        asked = question(agent, text)
        record: dict[str, Any] = {
            "game": game,
            "ply": ply,
            "agent": agent,
            "asked": asked,
            "response": str(reply),
            "fault": fault and fault.value,
            "prompt_tokens": usage and usage.prompt_tokens,
            "completion_tokens": usage and usage.completion_tokens,
        }
        with self._lock:
            self._file.append([record])
            self._replies.setdefault(game, {})[ply, asked] = Reply(str(reply), fault, usage=usage)

    def pay(self, usage: Usage, *, game: str, ply: int, agent: str) -> None:
        """Writes down what answers took that were no replies."""
        record: dict[str, Any] = {
            "game": game,
            "ply": ply,
            "agent": agent,
            "asked": None,
            "response": None,
            "fault": None,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
        }
        with self._lock:
            self._file.append([record])

    def forget(self, game: str) -> None:
        """Drops the replies of a game that is over from memory."""
        with self._lock:
            self._replies.pop(game, None)

    def _take_in(self, record: Mapping[str, Any], finished: Container[str]) -> None:
        try:
            game, ply, agent, asked = record["game"], record["ply"], record["agent"], record["asked"]
            response, fault = record["response"], record["fault"]
            counts = record["prompt_tokens"], record["completion_tokens"]
            usage = None if None in counts else Usage(*counts)
            reply = None if response is None else Reply(response, fault and Fault(fault), usage=usage)
        except (KeyError, TypeError, ValueError):
            return
        self._paid.append(PaidReply(agent, usage))
        if reply is not None and game not in finished:
            self._replies.setdefault(game, {})[ply, asked] = reply


def question(agent: str, text: str) -> str:
    """Returns a digest of what `agent` is asked."""
    return hashlib.sha256(json.dumps([agent, text]).encode()).hexdigest()[:16]
