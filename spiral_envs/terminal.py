"""The command `spiral-play`: a person plays a game against any agent, in the terminal."""

from __future__ import annotations

import argparse
import inspect
import io
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

from spiral_envs.agents import Agent, EndpointError, agent_names, make_agent
from spiral_envs.chance import uniform
from spiral_envs.errors import IllegalMoveError, MalformedMoveError, MissingExtraError
from spiral_envs.game import GameSpec
from spiral_envs.match import Fault, InvalidMove, Match, MatchSource, View
from spiral_envs.registry import find_game, game_ids
from spiral_envs.sources import find_source

if TYPE_CHECKING:
    from spiral_envs.agents.human import Dialog

_MAX_SEED: Final = 2**31

_MAX_DIGITS: Final = 18

_MAX_MOVES_TOLD: Final = 60

_COMPUTING: Final = frozenset({"random", "first", "minimax", "mcts", "cfr"})
"""The kinds of agents whose moves are computed here, from nothing but the view."""

_EXAMPLES: Final = """\
examples:
  spiral-play tic_tac_toe_v0 --opponent minimax
  spiral-play "kuhn_poker_v0(hands=3)" --opponent cfr --seat random
  spiral-play simple_negotiation_v0 --opponent openai:MODEL@http://127.0.0.1:8000/v1
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Plays and exits: 0 when the person has had enough, 2 on bad input, 1 when the opponent fails, 130 on Ctrl-C."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.game is None and not arguments.list:
        parser.error("expected a game: see spiral-play --list")
    try:
        if arguments.list:
            _list_games()
        else:
            _play(arguments)
    except _BadInputError as error:
        _exit(2, str(error))
    except EndpointError as error:
        _exit(1, str(error))
    except KeyboardInterrupt:
        sys.stdout.write("\nYou have left the game.\n")
        sys.exit(130)
    sys.exit(0)


class _BadInputError(Exception):
    """What was asked for cannot be played; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Who plays what.

    Attributes:
        dialog: Where the person sees and types.
        source: The game.
        seat: The person's seat; None to draw it for every game.
        opponent: Who plays all other seats; None when people at this terminal play these too.
        invalid_move: What a fault of the opponent costs.
    """

    dialog: Dialog
    source: MatchSource
    seat: int | None
    opponent: Agent | None
    invalid_move: str


def _play(arguments: argparse.Namespace) -> None:
    """Plays games until the person has had enough."""
    seed: int = secrets.randbelow(_MAX_SEED) if arguments.seed is None else arguments.seed
    table = _sit_down(arguments, seed)
    dialog, source = table.dialog, table.source
    against = "every seat" if table.opponent is None else f"against {table.opponent.name}"
    dialog.say(f"You play {source.label} {against}; --seed {seed} repeats this.", style="dim")
    while True:
        match = source.start(seed=seed, invalid_move=table.invalid_move)
        seat = int(uniform(seed, 0) * len(match.roles)) if table.seat is None else table.seat
        if not _play_match(table, match, seat):
            dialog.say("You have left the game.")
            return
        answer = dialog.read("Play again? [y/N] ")
        if answer is None or answer.lower() not in ("y", "yes"):
            return
        seed += 1


def _sit_down(arguments: argparse.Namespace, seed: int) -> _Table:
    """Returns the table that the command line asks for.

    Raises:
        _BadInputError: There is no such game, agent or seat, or a package is missing.
    """
    dialog = _open_dialog(list_moves=arguments.hints)
    seat: int | None = arguments.seat
    try:
        source = find_source(arguments.game)
        if seat is not None and seat >= len(source.roles):
            raise _BadInputError(f"{source.label} has seats 0 to {len(source.roles) - 1}, not {seat}")
        # What the game or the opponent refuses, it refuses before anything is shown.
        trial = source.start(seed=seed, invalid_move=arguments.invalid_move)
        opponent = None if arguments.opponent == "human" else make_agent(arguments.opponent, seed=seed)
        _try_opponent(dialog, arguments.opponent, trial, seat)
    except (ValueError, MissingExtraError) as error:
        raise _BadInputError(str(error)) from error
    return _Table(dialog=dialog, source=source, seat=seat, opponent=opponent, invalid_move=arguments.invalid_move)


def _try_opponent(dialog: Dialog, agent_string: str, trial: Match, person: int | None) -> None:
    """Lets an opponent that computes its moves find its first one in `trial`.

    Others cannot say whether they can play without a request or a model.

    Raises:
        MissingExtraError: It needs a package that is not installed.
        ValueError: It cannot play this game.
    """
    kind, colon, _ = agent_string.partition(":")
    if kind not in _COMPUTING:
        return
    while (seat := trial.seat_to_move) is not None and seat == person and (legal := trial.view(seat).legal_moves):
        trial.submit(legal[0])
    if seat is None:
        return
    # How far it searches does not decide what it can play. It is an agent of its own: trying draws random numbers.
    agent = make_agent(f"{kind}:1" if colon or kind == "mcts" else kind)
    with dialog.waiting(f"Finding out whether {agent_string} can play {trial.game}"):
        agent.act([trial.view(seat)])


def _open_dialog(*, list_moves: bool) -> Dialog:
    """Returns the dialog with the person.

    Raises:
        _BadInputError: A package is missing.
    """
    try:
        from spiral_envs.agents.human import Dialog
    except ModuleNotFoundError as error:
        raise _BadInputError(str(MissingExtraError(f"spiral-play (no module {error.name})", "agents"))) from error
    for stream in (sys.stdin, sys.stdout):
        # Bytes that are no text in the terminal's encoding spoil a move, not the game.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    with suppress(ImportError):
        # Its import lets input() edit lines and remember them; some systems lack it.
        import_module("readline")
    return Dialog(list_moves=list_moves)


def _play_match(table: _Table, match: Match, person: int) -> bool:
    """Plays `match` to its end; returns whether it was reached, rather than the person leaving."""
    from spiral_envs.agents.human import Command

    dialog = table.dialog
    dialog.forget()
    dialog.show_rules(match.view(person))
    before_moves: list[Match] = []
    while (seat := match.seat_to_move) is not None:
        if table.opponent is not None and seat != person:
            _let_move(table, match, table.opponent)
            continue
        view = match.view(seat)
        dialog.show(view, roles=match.roles)
        typed = dialog.ask(view, _TypedMove(match), can_undo=bool(before_moves))
        if typed is Command.QUIT:
            return False
        if isinstance(typed, str):
            before_moves.append(deepcopy(match))
            match.submit(typed)
        else:
            match = before_moves.pop()
            dialog.say("Your last move is taken back.", style="yellow")
    _show_end(table, match, person)
    return True


class _TypedMove:
    """Reads what a person types by trying it on a copy of the match, so that it is read no other way when it counts."""

    def __init__(self, match: Match) -> None:
        """Sets the match in which the person is to move."""
        self._match = match

    def __call__(self, view: View, typed: str) -> str:
        """Returns the reply that plays what was typed.

        Raises:
            MoveError: It is no move here.
        """
        turn = None
        # A move in a box may lack its brackets.
        for reply in (typed, f"\\boxed{{{typed}}}"):
            trial = deepcopy(self._match)
            trial.submit(reply)
            turn = trial.turns[-1]
            if turn.fault is None:
                return reply
        assert turn is not None, "there were two replies"
        raise (IllegalMoveError if turn.fault is Fault.ILLEGAL else MalformedMoveError)(turn.reason)


def _let_move(table: _Table, match: Match, opponent: Agent) -> None:
    """Lets the opponent take its turn, and says what it played if everybody may know.

    Raises:
        _BadInputError: The opponent cannot play this game.
    """
    seat = match.seat_to_move
    assert seat is not None, "the match goes on"
    role = match.roles[seat]
    try:
        with table.dialog.waiting(f"{role} is thinking"):
            (reply,) = opponent.act([match.view(seat)])
    except (ValueError, MissingExtraError) as error:
        raise _BadInputError(str(error)) from error
    match.submit(reply)
    turn = match.turns[-1]
    # With hidden information a move may be secret; what may be known of it is in the observation.
    is_public = table.source.spec is not None and table.source.spec.perfect_information
    if turn.fault is not None:
        table.dialog.say(f"The reply of {role} was at fault: {turn.reason}", style="yellow")
    if turn.move is not None:
        table.dialog.say(f"{role} plays {turn.move}" if is_public else f"{role} has moved.", style="magenta")


def _show_end(table: _Table, match: Match, person: int) -> None:
    """Shows the last position, the result and all moves."""
    outcome = match.outcome
    assert outcome is not None, "the match is over"
    table.dialog.show(match.view(person), roles=match.roles, title="The end")
    lines: list[str] = []
    style = "cyan"
    if table.opponent is not None and match.zero_sum:
        verdict, style = _verdict(outcome.returns, person)
        lines.append(verdict)
    if outcome.reason:
        lines.append(outcome.reason)
    for seat, (role, value) in enumerate(zip(match.roles, outcome.returns, strict=True)):
        who = "" if table.opponent is None else f" ({'you' if seat == person else table.opponent.name})"
        lines.append(f"{role}{who}: {value:+g}")
    moves = [f"{match.roles[turn.seat]} {turn.move}" for turn in match.turns if turn.move is not None]
    cut = "... " if len(moves) > _MAX_MOVES_TOLD else ""
    lines.append(f"Moves: {cut}{', '.join(moves[-_MAX_MOVES_TOLD:])}")
    table.dialog.show_result("\n".join(lines), style=style)


def _verdict(returns: tuple[float, ...], seat: int) -> tuple[str, str]:
    """Returns what the returns mean to `seat` in words, and its colour."""
    mine, num_ahead = returns[seat], sum(value > returns[seat] for value in returns)
    if min(returns) == max(returns):
        return "It is a draw.", "yellow"
    if num_ahead == 0:
        return ("You win." if returns.count(mine) == 1 else "You share the first place."), "green"
    if len(returns) == 2:
        return "You lose.", "red"
    # Among more than two a return of 0 is a place in the middle.
    return f"You finish behind {num_ahead} of {len(returns) - 1} others.", "red" if mine < 0 else "yellow"


def _list_games() -> None:
    """Shows every registered game and every kind of agent."""
    dialog = _open_dialog(list_moves=False)
    rows = [_row(find_game(game_id)) for game_id in game_ids()]
    dialog.show_table(("game", "players", "what it is, and its options"), rows)
    dialog.say("Games of other packages: openspiel:NAME, textarena:ID, pettingzoo:NAME.", style="dim")
    dialog.say(f"Agents: {', '.join(agent_names())}.", style="dim")


def _row(spec: GameSpec) -> tuple[str, str, str]:
    """Returns the id, the number of players, and the first line of the game's page with its options."""
    module = inspect.getmodule(type(spec.game))
    title = ((module and inspect.getdoc(module)) or "").partition("\n")[0]
    if spec.configure is not None:
        options = inspect.signature(spec.configure).parameters.items()
        title += f"\n({', '.join(f'{name}={option.default}' for name, option in options)})"
    return spec.id, str(spec.game.num_players), title


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="spiral-play",
        description="Play a game against any agent, in the terminal.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("game", nargs="?", metavar="GAME", help="such as tic_tac_toe_v0 or kuhn_poker_v0(hands=3)")
    parser.add_argument("--list", action="store_true", help="list the games and the kinds of agents")
    parser.add_argument(
        "--opponent",
        metavar="AGENT",
        default="random",
        help="who plays the other seats: random (default), minimax, minimax:DEPTH, mcts:N, cfr, openai:MODEL@URL,"
        " hf:PATH, ...; human for people at this terminal",
    )
    parser.add_argument("--seat", metavar="N|random", type=_seat, default=0, help="your seat, from 0 (default)")
    parser.add_argument("--seed", metavar="N", type=_whole_number, help="repeats a game; drawn if missing")
    parser.add_argument(
        "--invalid-move",
        choices=[policy.value for policy in InvalidMove],
        default=InvalidMove.FORFEIT.value,
        help="what a fault of the opponent costs it: the game (default), or its choice of the move;"
        " what you mistype is asked for again",
    )
    parser.add_argument(
        "--hints",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="list the legal moves, or examples of them, at every turn",
    )
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exits with the message."""
        _exit(2, message)


def _seat(text: str) -> int | None:
    return None if text == "random" else _whole_number(text)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise argparse.ArgumentTypeError(f"expected an integer from 0, got {text!r}")
    return int(text)


def _exit(code: int, message: str) -> NoReturn:
    sys.stderr.write(f"spiral-play: {message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
