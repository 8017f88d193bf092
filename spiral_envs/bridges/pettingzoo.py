"""The bridge to PettingZoo's classic environments: matches of them, in words.

Games: `pettingzoo:NAME` or `pettingzoo:NAME(OPTION=VALUE,...)`, where NAME is a module of `pettingzoo.classic` with its
    version, such as `connect_four_v3`. `game_statuses` lists them, with their options.
Rules: those of the environment, one of its own for every match, with random numbers of its own. It never sees an
    illegal action: a fault costs what it costs in every match, see `InvalidMove`.
Texts: what the environment lets the seat observe, in words, and the moves that everyone has seen. Where the players
    choose at the same time, a choice is shown once all have chosen.
Moves: a name in square brackets: `[3]`, `[e2e4]`, `[rock]`, `[raise]`.
Returns: the sum of the environment's rewards.
Source: Terry et al., PettingZoo: Gym for multi-agent reinforcement learning (arXiv 2009.14471); version 1.27.

Version history:
    v0: first release.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple, SupportsIndex

from spiral_envs.bridges.global_random import GlobalRandom
from spiral_envs.bridges.pettingzoo_games import ENVIRONMENTS, REFUSED, Environment
from spiral_envs.chance import uniform
from spiral_envs.errors import MissingExtraError, UnknownNameError
from spiral_envs.extraction import MAX_MOVE_CHARS, Rule, extract, unbracketed
from spiral_envs.game import Player
from spiral_envs.match import (
    FAULT_REASONS,
    Fault,
    InvalidMove,
    MatchSource,
    Outcome,
    Reply,
    Termination,
    Turn,
    View,
    check_start,
    forfeit,
)
from spiral_envs.registry import parse_game

UNTESTED_LAWS: Final[Mapping[str, str]] = {
    "law 4 (information)": "An environment has no list of its positions, so that not all pairs of positions that a"
    " player cannot tell apart are compared; the test of the bridge looks for hidden cards and choices in the texts of"
    " matches.",
    "law 0 (sound rules)": "The rules are PettingZoo's and cannot be walked; matches of random moves are played.",
}
"""The laws that `check_game` tests on rules and cannot test here, and what is tested instead."""

_PREFIX: Final = "pettingzoo:"

_SUM_TOLERANCE: Final = 1e-6


class GameStatus(NamedTuple):
    """What becomes of a classic environment.

    Attributes:
        name: The name of its module.
        works: Whether its matches can be played with the packages that are installed.
        players: The number of seats by default; 0 when it never works.
        zero_sum: Whether its returns sum to 0.
        hidden_information: Whether a seat knows less than all.
        simultaneous: Whether the players choose at the same time.
        options: The names of its options.
        reason: Why it does not work; empty when it does.
    """

    name: str
    works: bool
    players: int
    zero_sum: bool
    hidden_information: bool
    simultaneous: bool
    options: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class _Game:
    """An environment with its options.

    Attributes:
        name: The name of the environment.
        options: The options that differ from their default, by name.
    """

    name: str
    options: tuple[tuple[str, Any], ...]

    @property
    def environment(self) -> Environment:
        """The environment."""
        return ENVIRONMENTS[self.name]

    @property
    def settings(self) -> dict[str, Any]:
        """The values of all options."""
        defaults = {name: option.default for name, option in self.environment.options.items()}
        return {**defaults, **dict(self.options)}

    @property
    def label(self) -> str:
        """The id with its options."""
        options = ",".join(f"{name}={value}" for name, value in self.options)
        return f"{_PREFIX}{self.name}({options})" if options else f"{_PREFIX}{self.name}"

    @property
    def roles(self) -> tuple[str, ...]:
        """The role of every seat."""
        environment = self.environment
        return environment.roles or tuple(f"Player {seat}" for seat in range(environment.num_players(self.settings)))

    @property
    def return_range(self) -> tuple[float, float]:
        """The lowest and the highest return."""
        return self.environment.return_range(self.settings)


def find_source(game: str, **options: object) -> MatchSource:
    """Returns where the matches of a classic environment come from.

    Args:
        game: `pettingzoo:NAME`, with options in parentheses if you like.
        options: More options; they win over those in `game`.

    Raises:
        MissingExtraError: A package that the environment needs is not installed.
        UnknownNameError: There is no such environment or option.
        ValueError: The value of an option is out of its range, the values do not go together, or the environment cannot
            work here.
    """
    name, parsed = parse_game(game.strip().removeprefix(_PREFIX))
    if name in REFUSED:
        raise ValueError(f"{_PREFIX}{name} cannot work here: {REFUSED[name]}")
    if name not in ENVIRONMENTS:
        raise UnknownNameError("classic environment of PettingZoo", name, ENVIRONMENTS)
    configured = _configured(name, {**parsed, **options})
    missing = _missing(configured.environment)
    if missing:
        raise MissingExtraError(f"{_PREFIX}{name} ({', '.join(missing)})", "pettingzoo")
    return _source(configured)


def game_statuses() -> tuple[GameStatus, ...]:
    """Returns what becomes of every classic environment."""
    works = [
        GameStatus(
            environment.name,
            not _missing(environment),
            len(_Game(environment.name, ()).roles),
            environment.zero_sum,
            environment.hidden,
            environment.together,
            tuple(environment.options),
            f"packages are missing: {', '.join(_missing(environment))}" if _missing(environment) else "",
        )
        for environment in ENVIRONMENTS.values()
    ]
    refused = [GameStatus(name, False, 0, False, False, False, (), reason) for name, reason in REFUSED.items()]
    return (*works, *refused)


class PettingZooMatch:
    """A match of a classic environment: `spiral_envs.match.Match`.

    Copies and pickles hold the moves and play them again in an environment of their own.
    """

    def __init__(self, game: _Game, *, seed: SupportsIndex, invalid_move: str = InvalidMove.FORFEIT) -> None:
        """Starts a match.

        Args:
            game: The environment with its options.
            seed: Decides everything that the environment draws: an integer from 0, of any size.
            invalid_move: A value of `InvalidMove`.

        Raises:
            UnknownNameError: `invalid_move` is no such value.
            ValueError: `seed` is negative.
        """
        self.seed, self._policy = check_start(seed, invalid_move)
        self.seat_to_move: Player | None = None
        self.outcome: Outcome | None = None
        self._game = game
        self._draws = 0
        self._turns: list[Turn] = []
        self._table = _Table(game, self.seed)
        self._settle()

    def __getstate__(self) -> tuple[Any, ...]:
        """Returns what decides the match, without the environment."""
        return self._game, self.seed, self._policy, self._draws, self.seat_to_move, self.outcome, tuple(self._turns)

    def __setstate__(self, kept: tuple[Any, ...]) -> None:
        """Plays the moves of `__getstate__` again."""
        self._game, self.seed, self._policy, self._draws, self.seat_to_move, self.outcome, turns = kept
        self._turns = list(turns)
        self._table = _Table(self._game, self.seed)
        for turn in self._turns:
            if turn.move is not None:
                self._table.play(turn.move)

    @property
    def game(self) -> str:
        """The game's label, with its options."""
        return self._game.label

    @property
    def roles(self) -> tuple[str, ...]:
        """The role of every seat."""
        return self._game.roles

    @property
    def zero_sum(self) -> bool:
        """Whether the returns sum to 0."""
        return self._game.environment.zero_sum

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns taken so far."""
        return tuple(self._turns)

    def view(self, seat: Player) -> View:
        """Returns what `seat` is shown now.

        Raises:
            ValueError: There is no such seat.
        """
        if not 0 <= seat < len(self.roles):
            raise ValueError(f"{self.game} has seats 0 to {len(self.roles) - 1}, not {seat!r}")
        rules, observation = _rules(self._game, seat), self._observation(seat)
        return View(
            text=f"{rules}\n\n{observation}",
            role=self.roles[seat],
            seat=seat,
            legal_moves=tuple(self._table.legal) if seat == self.seat_to_move else (),
            turn=len(self._turns),
            rules=rules,
            observation=observation,
            game=self.game,
        )

    def submit(self, response: str) -> None:
        """Plays the reply of the seat to move, or applies the invalid-move policy to it.

        Raises:
            RuntimeError: The match is over.
        """
        if self.seat_to_move is None:
            raise RuntimeError(f"this match of {self.game} is over: start another")
        if isinstance(response, Reply) and response.fault is not None:
            self._charge(response, Rule.NONE, response.fault, FAULT_REASONS[response.fault])
            return
        stripped = response.strip() if len(response) <= MAX_MOVE_CHARS else ""
        if stripped in self._table.legal:
            self._play(response, stripped, Rule.OWN_TEXT)
            return
        rule, answer, reason = extract(response, self._is_move_syntax)
        if rule is Rule.NONE:
            self._charge(response, rule, Fault.MALFORMED, reason)
            return
        move = self._table.move(answer)
        if move is not None:
            self._play(response, move, rule)
        elif self._is_move_syntax(answer):
            expected = _listed(tuple(self._table.legal))
            self._charge(
                response, rule, Fault.ILLEGAL, f"illegal move {answer[:60]} in {self.game}: expected {expected}"
            )
        else:
            example = next(iter(self._table.legal))
            reason = f"malformed move {answer[:60]!r} in {self.game}: expected a move such as {example}"
            self._charge(response, rule, Fault.MALFORMED, reason)

    def _is_move_syntax(self, token: str) -> bool:
        name = " ".join(unbracketed(token).split())
        return self._table.move(token) is not None or self._game.environment.syntax.fullmatch(name) is not None

    def _play(self, response: str, move: str, rule: Rule, fault: Fault | None = None, reason: str = "") -> None:
        seat = self.seat_to_move
        assert seat is not None, "checked by submit"
        turn = Turn(seat, self._observation(seat), response, move, rule, fault, reason)
        self._table.play(move)
        self._turns.append(turn)
        self._settle()

    def _charge(self, response: str, rule: Rule, fault: Fault, reason: str) -> None:
        offender = self.seat_to_move
        assert offender is not None, "checked by submit"
        if self._policy is InvalidMove.RANDOM:
            legal = tuple(self._table.legal)
            move = legal[int(uniform(self.seed, self._draws) * len(legal))]
            self._draws += 1
            self._play(response, move, rule, fault, reason)
            return
        self._turns.append(Turn(offender, self._observation(offender), response, None, rule, fault, reason))
        game = self._game
        self.outcome = forfeit(
            offender, fault, reason, roles=game.roles, return_range=game.return_range, zero_sum=self.zero_sum
        )
        self.seat_to_move = None

    def _settle(self) -> None:
        """Takes over whose turn it is, or the result."""
        self.seat_to_move = self._table.seat_to_move
        if self.seat_to_move is None:
            self.outcome = Outcome(self._table.returns(), Termination.FINISHED)

    def _observation(self, seat: Player) -> str:
        parts = (self._table.observe(seat), self._moves_so_far(seat), self._status(seat))
        return "\n".join(filter(None, parts))

    def _moves_so_far(self, seat: Player) -> str:
        """Returns the moves that `seat` has seen.

        Where all choose together, those of a round that is not over are not among them, but for its own.
        """
        environment = self._game.environment
        if not environment.shows_moves:
            return ""
        played = [(turn.seat, turn.move) for turn in self._turns if turn.move is not None]
        num_public = len(played) - len(played) % len(self.roles) if environment.together else len(played)
        told = ", ".join(
            f"{'you' if mover == seat else self.roles[mover]} {move}" for mover, move in played[:num_public]
        )
        own = [move for mover, move in played[num_public:] if mover == seat]
        chosen = f"\nYou have chosen {own[0]} in this round." if own else ""
        return f"Moves so far: {told or 'none'}.{chosen}"

    def _status(self, seat: Player) -> str:
        if self.outcome is not None:
            return f"The game is over. Your return is {self.outcome.returns[seat]:+g}."
        if seat == self.seat_to_move:
            return "It is your turn."
        return f"{self.roles[self.seat_to_move or 0]} is to move."


class _Table:
    """One environment, with the random numbers of its match.

    Attributes:
        seat_to_move: Whose turn it is; None at the end.
        legal: The legal actions by the texts of their moves.
    """

    def __init__(self, game: _Game, seed: int) -> None:
        self._game = game
        self._random = GlobalRandom(seed)
        with self._inside(), warnings.catch_warnings():
            # Of spaces whose bounds change their type, which nobody here reads.
            warnings.simplefilter("ignore")
            self._env: Any = _module(game.name).raw_env(**dict(game.settings))
            # The seeds of the packages below are of 32 bits; seeds of batches differ above those, too.
            self._env.reset(seed=random.Random(seed).getrandbits(31))
            self._rewards = [0.0] * len(game.roles)
            self._shown: dict[Player, str] = {}
            self.seat_to_move: Player | None = None
            self.legal: dict[str, int] = {}
            self._look()

    def play(self, move: str) -> None:
        """Plays a legal move."""
        env, names = self._env, self._env.possible_agents
        with self._inside():
            env.step(self.legal[move])
            for agent, reward in env.rewards.items():
                self._rewards[names.index(agent)] += float(reward)
            self._look()

    def move(self, answer: str) -> str | None:
        """Returns the text of the legal move that `answer` names, in any case of letters, or None."""
        text = f"[{' '.join(unbracketed(answer).split())}]"
        if text in self.legal:
            return text
        return next((move for move in self.legal if move.lower() == text.lower()), None)

    def observe(self, seat: Player) -> str:
        """Returns what the environment shows to `seat`, in words."""
        if seat not in self._shown:
            with self._inside():
                self._shown[seat] = self._game.environment.text.observe(self._env, seat)
        return self._shown[seat]

    def returns(self) -> tuple[float, ...]:
        """Returns the sum of the rewards of every seat.

        Raises:
            RuntimeError: They do not sum to 0 in a zero-sum game.
        """
        gains = tuple(self._rewards)
        if self._game.environment.zero_sum and sum(gains) != 0:
            if abs(sum(gains)) > _SUM_TOLERANCE:
                raise RuntimeError(f"{self._game.label} paid {gains!r}, which does not sum to 0")
            # Rounding is taken off, by going to multiples of 2^-20, which add up exactly.
            others = [round(gain * 2**20) / 2**20 for gain in gains[:-1]]
            gains = (*others, 0.0 - sum(others))
        return gains

    def _look(self) -> None:
        """Takes over who is to move and what is legal; called where the environment may be called."""
        env = self._env
        self._shown = {}
        if not env.agents or any(env.terminations.values()) or any(env.truncations.values()):
            self.seat_to_move, self.legal = None, {}
            return
        agent = env.agent_selection
        seat = env.possible_agents.index(agent)
        observation: Any = env.observe(agent)
        # Rock, paper, scissors has no mask: every choice is always open.
        has_mask = self._game.environment.has_mask
        mask: list[int] = list(observation["action_mask"] if has_mask else [1] * int(env.action_space(agent).n))
        actions = [action for action, is_legal in enumerate(mask) if is_legal]
        names = self._game.environment.text.names(env, seat, actions)
        self.seat_to_move = seat
        self.legal = {f"[{name}]": action for name, action in zip(names, actions, strict=True)}
        assert self.legal, "a seat that is to move has a legal move"
        assert len(self.legal) == len(actions), "no two actions have the same name"

    @contextmanager
    def _inside(self) -> Generator[None]:
        """Returns a context in which the environment is alone with the global random numbers and its module's board."""
        with self._random.borrowed(), _go_board(self._game):
            yield


@contextmanager
def _go_board(game: _Game) -> Generator[None]:
    """Returns a context in which `pettingzoo.classic.go` has this game's board: it keeps one size for all."""
    if game.name != "go_v5":
        yield
        return
    base: Any = import_module("pettingzoo.classic.go.go_base")
    before = base.N, base.ALL_COORDS, base.EMPTY_BOARD, base.NEIGHBORS, base.DIAGONALS
    board = _GO_BOARDS.get(int(game.settings["board_size"]))
    if board is not None:
        base.N, base.ALL_COORDS, base.EMPTY_BOARD, base.NEIGHBORS, base.DIAGONALS = board
    try:
        yield
    finally:
        # The environment's constructor sets these for its size.
        _GO_BOARDS[int(base.N)] = base.N, base.ALL_COORDS, base.EMPTY_BOARD, base.NEIGHBORS, base.DIAGONALS
        base.N, base.ALL_COORDS, base.EMPTY_BOARD, base.NEIGHBORS, base.DIAGONALS = before


_GO_BOARDS: Final[dict[int, tuple[Any, ...]]] = {}
"""What `pettingzoo.classic.go` keeps for a size of the board."""


def _configured(name: str, asked: Mapping[str, object]) -> _Game:
    """Returns an environment with the options that are asked for, each checked, and then all together.

    Raises:
        UnknownNameError: There is no such option.
        ValueError: The value of an option is out of its range, or the values do not go together.
    """
    options = ENVIRONMENTS[name].options
    for option, value in asked.items():
        if option not in options:
            raise UnknownNameError(f"option of {_PREFIX}{name}", option, options)
        if not options[option].accepts(value):
            raise ValueError(f"option {option} of {_PREFIX}{name} is {value!r}: expected {options[option].expected}")
    changed = {option: value for option, value in asked.items() if value != options[option].default}
    game = _Game(name, tuple(sorted(changed.items())))
    conflict = game.environment.conflict(game.settings)
    if conflict:
        raise ValueError(f"options of {_PREFIX}{name}: {conflict}")
    return game


@lru_cache(maxsize=256)
def _source(game: _Game) -> MatchSource:
    return MatchSource(
        id=f"{_PREFIX}{game.name}",
        label=game.label,
        roles=game.roles,
        zero_sum=game.environment.zero_sum,
        return_range=game.return_range,
        start=partial(PettingZooMatch, game),
    )


@lru_cache(maxsize=256)
def _rules(game: _Game, seat: Player) -> str:
    others = [role for other, role in enumerate(game.roles) if other != seat]
    with_whom = "against" if game.environment.zero_sum else "together with"
    opening = f"You are {game.roles[seat]} in a game of {game.environment.title} {with_whom} {' and '.join(others)}."
    return f"{opening}\n{game.environment.text.rules(game.settings, seat)}"


def _missing(environment: Environment) -> tuple[str, ...]:
    """Returns the packages that are not installed."""
    return tuple(package for package in environment.packages if find_spec(package) is None)


@lru_cache(maxsize=32)
def _module(name: str) -> Any:
    """Returns the module of an environment, imported without the greeting that pygame prints."""
    with _quiet_pygame():
        return import_module(f"pettingzoo.classic.{name}")


@contextmanager
def _quiet_pygame() -> Generator[None]:
    before = os.environ.get(_QUIET)
    os.environ[_QUIET] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_QUIET]
        else:
            os.environ[_QUIET] = before


_QUIET: Final = "PYGAME_HIDE_SUPPORT_PROMPT"


def _listed(moves: tuple[str, ...]) -> str:
    more = f" or {len(moves) - 8} others" if len(moves) > 8 else ""
    return f"{' or '.join(moves[:8])}{more}"
