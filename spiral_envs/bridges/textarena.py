"""Matches of TextArena's games: `textarena:ConnectFour-v0`, with options `textarena:Snake-v0(players=3)`.

A bridged match keeps the rules of this package where TextArena has others:

- Every match has an environment of its own. TextArena draws from the global random numbers; around every call they
  are replaced by the match's own, which its seed decides, and put back.
- Our extraction finds the move in a reply. TextArena sees the move alone, in one way of writing it, and therefore so
  do the other players; what they say aloud is cleaned first. What a move looks like is in `textarena_games`.
- The first invalid move forfeits. TextArena's second chances, eliminations and defaults never come into play.
- The return of a seat is the number of players that it finished ahead of, less the number that finished ahead of it,
  by TextArena's rewards. In a game for two these are TextArena's rewards themselves, and a match whose rewards do not
  sum to 0 raises. In the others TextArena gives places between -1 and 1 that need not sum to 0, as when two win.
- A match that goes on for `MAX_TURNS` turns is a draw, and so is one whose observations come to `MAX_CHARS` characters.

A view shows the prompt that TextArena gave the seat, then the messages that the seat got, as the observation wrapper
of the id does: the ids on `-train` show less of the past than the others. TextArena keeps every player's messages
until that player moves; the bridge gathers them after each move, so that reading changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, Final, NamedTuple, SupportsIndex

from spiral_envs.bridges.textarena_environment import Environment, InvalidMoveError, Shown, import_textarena
from spiral_envs.bridges.textarena_games import Game, Refused, Words, find_game
from spiral_envs.errors import UnknownNameError
from spiral_envs.extraction import Rule, extract
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

MAX_TURNS: Final = 1000
"""A match without a result after so many turns is a draw: some games go on for as long as the players like."""

MAX_CHARS: Final = 20_000_000
"""A match without a result is also a draw when the observations of its turns are so many characters together.

Every turn keeps what its player saw, and most ids show all that was said before, so that a match would grow with the
square of its length: 1,000 turns of Golf keep 68 million characters. This bound is 20 MB a match, or 40 MB where
the characters of cards are among them. It leaves room for the longest match of Battleship-v0-standard, of 199 shots,
which keeps 19.6 million; Golf comes to it after 542 turns, when its prompt has 74,000 characters.
"""

UNTESTED_LAWS: Final[Mapping[str, str]] = {
    "law 0 (sound rules)": "TextArena lists neither legal moves nor chance outcomes",
    "law 4 (information)": "there are no states to compare; the bridge shows a seat what TextArena sent to it, no more",
    "law 5 (round trip)": "there are no legal moves to write; a move that was played is read as the same move again",
}
"""The laws of `check_game` that cannot be tested here, by name, each with the reason."""

_RULES_HERE: Final = (
    "Only your move reaches the other players, none of your reasoning. An invalid move loses the game at once."
)
_PREFIX: Final = "textarena:"
_OPTIONS: Final = ("players",)


class Status(NamedTuple):
    """What becomes of an id of TextArena's registry.

    Attributes:
        id: The id, with `textarena:`.
        works: Whether matches of it can be started here.
        players: How many can play, the default first; empty when it does not work.
        zero_sum: Whether the returns of every match sum to 0.
        reason: Why it does not work, as a sentence; empty when it works.
        note: What is odd about TextArena's version of the game; mostly empty.
    """

    id: str
    works: bool
    players: tuple[int, ...]
    zero_sum: bool
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class _Source:
    """What all matches of a game with its options share.

    Attributes:
        env_id: The id in TextArena's registry.
        label: The game's label.
        roles: The role of every seat.
        game: What is known of the game.
        shown: Which messages a seat is shown.
    """

    env_id: str
    label: str
    roles: tuple[str, ...]
    game: Game
    shown: Shown

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns how to find this again: what is known of a game is code."""
        return _find_source, (self.env_id, len(self.roles))

    @property
    def return_range(self) -> tuple[float, float]:
        """The lowest and the highest return."""
        best = float(len(self.roles) - 1)
        return -best, best

    def environment(self, seed: int) -> Environment:
        """Returns a new environment."""
        return Environment(self.env_id, self.game, num_players=len(self.roles), shown=self.shown, seed=seed)


def find_source(game: str, **options: object) -> MatchSource:
    """Returns where the matches of a game of TextArena come from.

    Args:
        game: `textarena:ID`, with options in parentheses if you like.
        options: `players`, where TextArena allows several numbers of them.

    Raises:
        MissingExtraError: TextArena is not installed.
        UnknownNameError: TextArena has no such game, or the bridge no such option.
        ValueError: The game cannot work here, for the reason that is given, or an option is out of its range.
    """
    game_id, parsed = parse_game(game)
    asked = {**parsed, **options}
    for name in asked:
        if name not in _OPTIONS:
            raise UnknownNameError(f"option of {game_id}", name, _OPTIONS)
    # The value as it is printed, so that True is not taken for the 1 that it equals.
    return _find(game_id, repr(asked["players"]) if "players" in asked else "")


def game_statuses() -> Sequence[Status]:
    """Returns what becomes of every id of TextArena's registry, in its order.

    Raises:
        MissingExtraError: TextArena is not installed.
    """
    registry = _registry()
    return tuple(_status(env_id, find_game(env_id, _package(spec))) for env_id, spec in registry.items())


class TextArenaMatch:
    """A match of a game of TextArena: `spiral_envs.match.Match`.

    Copies and pickles hold the moves and play them again in an environment of their own.
    """

    def __init__(self, source: _Source, *, seed: SupportsIndex, invalid_move: str = InvalidMove.FORFEIT) -> None:
        """Starts a match.

        Args:
            source: The game.
            seed: Decides everything that TextArena draws: an integer from 0, of any size.
            invalid_move: Only `forfeit`.

        Raises:
            UnknownNameError: `invalid_move` is no policy.
            ValueError: `seed` is negative, or `invalid_move` needs a list of legal moves.
        """
        self.seed, policy = check_start(seed, invalid_move)
        if policy is not InvalidMove.FORFEIT:
            raise ValueError(f"invalid_move {invalid_move!r} needs legal moves, which {source.label} does not list")
        self.seat_to_move: Player | None = None
        self.outcome: Outcome | None = None
        self._source = source
        self._turns: list[Turn] = []
        self._num_chars = 0
        self._environment = source.environment(self.seed)
        self._go_on(0)

    def __getstate__(self) -> tuple[Any, ...]:
        """Returns what decides the match, without the environment."""
        return self._source, self.seed, self.seat_to_move, self.outcome, tuple(self._turns)

    def __setstate__(self, kept: tuple[Any, ...]) -> None:
        """Plays the moves of `__getstate__` again."""
        self._source, self.seed, self.seat_to_move, self.outcome, turns = kept
        self._turns = list(turns)
        self._num_chars = sum(len(turn.observation) for turn in turns)
        self._environment = self._play_again()

    @property
    def game(self) -> str:
        """The game's label, with its options."""
        return self._source.label

    @property
    def roles(self) -> tuple[str, ...]:
        """The role of every seat."""
        return self._source.roles

    @property
    def zero_sum(self) -> bool:
        """Always true; see the module's text for games of more than two."""
        return True

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
        rules, observation = f"{self._environment.prompt(seat)}\n\n{_RULES_HERE}", self._observation(seat)
        return View(
            text=f"{rules}\n\n{observation}",
            role=self.roles[seat],
            seat=seat,
            legal_moves=None if seat == self.seat_to_move else (),
            turn=len(self._turns),
            rules=rules,
            observation=observation,
            game=self.game,
            talk=seat == self.seat_to_move and self._environment.syntax.words is not Words.NONE,
        )

    def submit(self, response: str) -> None:
        """Plays the reply of the seat to move, or charges its fault.

        Raises:
            RuntimeError: The match is over, or TextArena raised an error, which is nobody's fault and leaves the match
                as it was.
        """
        if self.seat_to_move is None:
            raise RuntimeError(f"this match of {self.game} is over: start another")
        if isinstance(response, Reply) and response.fault is not None:
            self._charge(response, Rule.NONE, response.fault, FAULT_REASONS[response.fault])
            return
        syntax = self._environment.syntax
        rule, answer, reason = extract(syntax.tidy(response), syntax.is_token)
        if rule is Rule.NONE:
            self._charge(response, rule, Fault.MALFORMED, reason)
            return
        move = syntax.move(answer)
        if move is None:
            reason = f"no move in {self.game}: {answer!r}. {syntax.ask}"
            self._charge(response, rule, Fault.MALFORMED, reason)
            return
        self._play(response, rule, move)

    def _play(self, response: str, rule: Rule, move: str) -> None:
        seat = self.seat_to_move
        assert seat is not None, "checked by submit"
        observation = self._observation(seat)
        num_chars = self._num_chars + len(observation)
        try:
            self._environment.play(move)
            self._go_on(num_chars)
        except InvalidMoveError as error:
            self._charge(response, rule, Fault.ILLEGAL, f"illegal move {move} in {self.game}: {error}")
        # Whatever else TextArena's code raises is an internal fault, of any type.
        except Exception as error:
            self._environment = self._play_again()
            turn = len(self._turns) + 1
            what = f"{self.game} failed in turn {turn} of the match with seed {self.seed}: {error!r}"
            raise RuntimeError(f"{what}, after the reply {response[:500]!r}") from error
        else:
            self._turns.append(Turn(seat, observation, response, move, rule, None, ""))
            self._num_chars = num_chars

    def _charge(self, response: str, rule: Rule, fault: Fault, reason: str) -> None:
        offender = self.seat_to_move
        assert offender is not None, "checked by submit"
        reason = " ".join(reason.split())
        self._turns.append(Turn(offender, self._observation(offender), response, None, rule, fault, reason))
        return_range = self._source.return_range
        self._end(forfeit(offender, fault, reason, roles=self.roles, return_range=return_range, zero_sum=True))

    def _go_on(self, num_chars: int) -> None:
        """Takes over from the environment whose turn it is, or the result; the observations have so many characters."""
        environment = self._environment
        if environment.is_over:
            self._end(Outcome(environment.returns(), Termination.FINISHED, reason=environment.reason))
        elif environment.is_drawn or environment.num_moves >= MAX_TURNS or num_chars >= MAX_CHARS:
            turns = environment.num_moves
            why = "Nobody can move." if environment.is_drawn else f"There is no result after {turns} turns."
            self._end(Outcome((0.0,) * len(self.roles), Termination.FINISHED, reason=why))
        else:
            self.seat_to_move = environment.seat_to_move

    def _end(self, outcome: Outcome) -> None:
        self.outcome, self.seat_to_move = outcome, None

    def _play_again(self) -> Environment:
        environment = self._source.environment(self.seed)
        for turn in self._turns:
            if turn.move is not None:
                environment.play(turn.move)
        return environment

    def _observation(self, seat: Player) -> str:
        return "\n\n".join((*self._environment.messages(seat), self._status(seat)))

    def _status(self, seat: Player) -> str:
        """Returns the last line: whose turn it is, or how the match ended."""
        if self.outcome is not None:
            share = self.outcome.returns[seat]
            result = "You win." if share > 0 else "You lose." if share < 0 else "It is a draw."
            # What is wrong with a reply quotes it, and nobody is shown more of a reply than a move.
            offender = self.outcome.offender
            why = self.outcome.reason if offender is None else f"{self.roles[offender]} made an invalid move."
            return f"The game is over. {result} {why}".strip()
        if seat == self.seat_to_move:
            return f"It is your turn. {self._environment.syntax.ask}"
        return f"It is the turn of {self.roles[self.seat_to_move or 0]}."


def _registry() -> dict[str, Any]:
    import_textarena()
    return import_module("textarena.envs.registration").ENV_REGISTRY


def _package(spec: Any) -> str:
    """Returns the package of an environment's class: `TicTacToe` for `textarena.envs.TicTacToe.env:TicTacToeEnv`."""
    entry = spec.entry_point
    module: str = entry.partition(":")[0] if isinstance(entry, str) else entry.__module__
    return module.split(".")[2] if module.startswith("textarena.envs.") else module


def _status(env_id: str, found: Game | Refused) -> Status:
    game_id = f"{_PREFIX}{env_id}"
    if isinstance(found, Refused):
        return Status(game_id, False, (), False, _refusal(game_id, found), "")
    return Status(game_id, True, found.players, True, "", found.note)


def _refusal(game_id: str, refused: Refused) -> str:
    return f"{game_id} cannot work here: {refused.reason}"


@lru_cache(maxsize=1024)
def _find(game_id: str, players: str) -> MatchSource:
    env_id, registry = game_id.removeprefix(_PREFIX), _registry()
    if env_id not in registry:
        raise UnknownNameError("game of TextArena", env_id, registry)
    match find_game(env_id, _package(registry[env_id])):
        case Refused() as refused:
            raise ValueError(_refusal(game_id, refused))
        case Game(players=allowed):
            numbers = {repr(number): number for number in allowed}
    if players and players not in numbers:
        expected = " or ".join(numbers) if len(numbers) < 3 else f"an integer from {allowed[0]} to {allowed[-1]}"
        raise ValueError(f"option players of {game_id} is {players}: expected {expected}")
    return _match_source(env_id, numbers.get(players, allowed[0]))


@lru_cache(maxsize=1024)
def _match_source(env_id: str, num_players: int) -> MatchSource:
    source = _find_source(env_id, num_players)
    return MatchSource(
        id=f"{_PREFIX}{env_id}",
        label=source.label,
        roles=source.roles,
        zero_sum=True,
        return_range=source.return_range,
        start=partial(TextArenaMatch, source),
    )


@lru_cache(maxsize=1024)
def _find_source(env_id: str, num_players: int) -> _Source:
    spec = _registry()[env_id]
    game = find_game(env_id, _package(spec))
    assert isinstance(game, Game), "a refused game has no source"
    game_id = f"{_PREFIX}{env_id}"
    return _Source(
        env_id=env_id,
        label=game_id if num_players == game.players[0] else f"{game_id}(players={num_players})",
        roles=tuple(f"Player {seat}" for seat in range(num_players)),
        game=game,
        shown=_shown(spec),
    )


def _shown(spec: Any) -> Shown:
    names = {wrapper.__name__ for wrapper in spec.default_wrappers or ()}
    return next((shown for shown in Shown if shown.value in names), Shown.ALL)
