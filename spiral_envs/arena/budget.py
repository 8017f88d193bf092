"""What a tournament may spend, and what it has spent: tokens and money of endpoints, and hours."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from spiral_envs.match import Usage

_PER: Final = 1_000_000
"""Prices are per a million tokens."""


class Price(NamedTuple):
    """What an endpoint asks for, in US dollars a million tokens.

    Attributes:
        prompt: For what it reads.
        completion: For what it writes.
    """

    prompt: float
    completion: float

    def cost(self, usage: Usage) -> float:
        """Returns what `usage` costs, in US dollars."""
        return (self.prompt * usage.prompt_tokens + self.completion * usage.completion_tokens) / _PER


def parse_price(text: str) -> Price:
    """Returns the price in `IN,OUT`, in US dollars a million tokens.

    Raises:
        ValueError: It is no pair of finite numbers from 0.
    """
    try:
        prompt, completion = map(float, text.split(","))
    except ValueError:
        prompt = completion = math.nan
    if not (0 <= prompt < math.inf and 0 <= completion < math.inf):
        raise ValueError(f"cannot read the price {text!r}: expected IN,OUT in US dollars a million tokens")
    return Price(prompt, completion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """At what the tournament stops; None for no end.

    Attributes:
        cost: In US dollars, of the whole tournament.
        tokens: Read and written by endpoints, in the whole tournament.
        hours: Of this run of the command.
    """

    cost: float | None = None
    tokens: int | None = None
    hours: float | None = None

    @property
    def count_tokens(self) -> bool:
        """Whether the caps can be kept only when endpoints say what a request took."""
        return self.cost is not None or self.tokens is not None


@dataclass(slots=True)
class Spending:
    """What was asked of one agent, and what that took.

    Attributes:
        requests: How many replies came.
        prompt_tokens: Read, as far as the agent says.
        completion_tokens: Written, as far as the agent says.
        cost: In US dollars; None without a price.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def add(self, usage: Usage | None, price: Price | None) -> None:
        """Adds a reply; `usage` is None where the agent does not say."""
        self.requests += 1
        if usage is None:
            return
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        if price is not None:
            self.cost = (self.cost or 0.0) + price.cost(usage)

    def to_json(self) -> dict[str, Any]:
        """Returns the record as a game's `usage` holds it; `cost` is None without a price."""
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": self.cost,
        }


@dataclass(slots=True)
class Budget:
    """What endpoints have taken so far, against the caps; any thread may charge and ask.

    Requests that are under way when a cap is reached are still paid for: the tournament may go over it by as many
    requests as the endpoints have at once.

    Attributes:
        caps: Where to stop.
        prices: By the name of the agent.
        clock: The time in seconds.
    """

    caps: Caps
    prices: Mapping[str, Price]
    clock: Callable[[], float] = time.monotonic
    _started_at: float = field(init=False)
    _spent: Spending = field(init=False, default_factory=Spending)
    _silent: str | None = field(init=False, default=None)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Starts the hours."""
        self._started_at = self.clock()

    def charge(self, agent: str, usage: Usage | None) -> None:
        """Adds a reply of `agent`."""
        with self._lock:
            self._spent.add(usage, self.prices.get(agent))
            if usage is None:
                self._silent = agent

    @property
    def tokens(self) -> int:
        """Read and written by endpoints so far."""
        return self._spent.prompt_tokens + self._spent.completion_tokens

    @property
    def cost(self) -> float | None:
        """In US dollars so far; None as long as nothing with a price was charged."""
        return self._spent.cost

    @property
    def seconds_left(self) -> float | None:
        """Of this run, not below 0; None for no end."""
        if self.caps.hours is None:
            return None
        return max(0.0, self._started_at + 3600 * self.caps.hours - self.clock())

    @property
    def why_stop(self) -> str | None:
        """Why nothing more may be asked, in words; None as long as something may."""
        caps, cost = self.caps, self.cost
        if caps.count_tokens and self._silent is not None:
            return f"{self._silent} does not say what a reply took: --max-cost and --max-tokens cannot be kept"
        if caps.cost is not None and cost is not None and cost >= caps.cost:
            return f"the budget of ${caps.cost:g} is spent (${cost:.4f}); a higher --max-cost goes on"
        if caps.tokens is not None and self.tokens >= caps.tokens:
            return f"the budget of {caps.tokens:,} tokens is spent ({self.tokens:,}); a higher --max-tokens goes on"
        if self.seconds_left == 0.0:
            return f"{caps.hours:g} hours are over; the same command goes on"
        return None
