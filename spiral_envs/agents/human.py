"""The agent `human`: a person at this terminal, who sees the game and types moves.

A typing error costs nothing: what is typed is read as the game would read it before it is sent. Where nobody can say
beforehand whether it is a move, it is sent after a question.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Final, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spiral_envs.errors import IllegalMoveError, MoveError, UnknownNameError
from spiral_envs.game import GameSpec
from spiral_envs.match import View
from spiral_envs.registry import find_game

MAX_LISTED_LINES: Final = 3
"""A longer list of legal moves is cut; the command `moves` shows all of it."""

PANEL_WIDTH: Final = 90

ReadLine: TypeAlias = Callable[[str], str]
"""Shows a prompt and returns the line that is typed; raises EOFError at the end of the input, as `input` does."""

ReadMove: TypeAlias = Callable[[View, str], str]
"""Returns the reply that plays what was typed; raises MoveError with what is wrong with it."""


class PlayerQuit(SystemExit):
    """The person has left: the program ends with exit code 0, unless somebody knows better."""


class Command(Enum):
    """What can be typed instead of a move."""

    QUIT = "q"
    """Leave the game."""

    UNDO = "undo"
    """Take the last move back."""

    MOVES = "moves"
    """List all legal moves, or all examples of them."""

    RULES = "rules"
    """Show the rules again."""

    HELP = "?"
    """List the commands."""


class HumanAgent:
    """Asks the person at this terminal for every move."""

    name = "human"

    def __init__(self, dialog: Dialog | None = None) -> None:
        """Sets the dialog with the person, by default on this process's own terminal."""
        self._dialog = Dialog() if dialog is None else dialog
        self._introduced: set[str] = set()

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns what the person types for each view, one after the other.

        Raises:
            PlayerQuit: The person has left.
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        return [self._ask(view) for view in views]

    def _ask(self, view: View) -> str:
        if view.rules not in self._introduced:
            self._introduced.add(view.rules)
            self._dialog.show_rules(view)
        self._dialog.show(view)
        typed = self._dialog.ask(view, read_move_for(view))
        if typed is Command.QUIT:
            self._dialog.say("You have left the game.")
            raise PlayerQuit(0)
        assert isinstance(typed, str), "only a move is left, since there is no undo here"
        return typed


class Dialog:
    """What a person sees and types."""

    def __init__(
        self, console: Console | None = None, *, read_line: ReadLine | None = None, list_moves: bool = True
    ) -> None:
        """Sets where the game is shown and read, by default the process's own terminal.

        Args:
            console: Where it is shown.
            read_line: How a line is read; by default from the standard input.
            list_moves: Whether every turn lists the legal moves, or examples of them; otherwise only the command
                `moves` does.
        """
        self._console = Console(highlight=False) if console is None else console
        self._read_line = self._read_standard_input if read_line is None else read_line
        self._list_moves = list_moves
        self._last_lines: dict[int, frozenset[str]] = {}

    def say(self, text: str, *, style: str = "") -> None:
        """Shows a line."""
        self._console.print(Text(_printable(text), style=style))

    def show_rules(self, view: View) -> None:
        """Shows what the game is and what the seat is in it."""
        title = f"{view.game}: you are {view.role}"
        self._show_panel(Text(_printable(view.rules)), title=title, border="cyan")

    def show(self, view: View, *, roles: Sequence[str] = (), title: str | None = None) -> None:
        """Shows what the seat sees now; lines that it did not see before are bold, and the roles have colours."""
        text = Text()
        lines = _printable(view.observation).split("\n")
        last = self._last_lines.get(view.seat, frozenset(lines))
        for number, line in enumerate(lines):
            text.append("\n" if number else "").append(line, style="" if line in last else "bold")
        self._last_lines[view.seat] = frozenset(lines)
        for role in roles:
            text.highlight_regex(rf"(?<!\w){re.escape(role)}(?!\w)", "magenta")
        text.highlight_regex(rf"(?<!\w){re.escape(view.role)}(?!\w)", "bold green")
        self._show_panel(text, title=title or f"{view.role}, turn {view.turn + 1}", border="green")

    def forget(self) -> None:
        """Forgets what was shown: another game begins."""
        self._last_lines.clear()

    def show_result(self, text: str, *, style: str) -> None:
        """Shows how the game ended."""
        self._show_panel(Text(_printable(text)), title="The game is over", border=style)

    def show_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Shows rows of text under the names of their columns."""
        table = Table(box=SIMPLE_HEAD)
        for number, column in enumerate(columns):
            # What is looked up is never cut.
            table.add_column(column, no_wrap=number == 0)
        for row in rows:
            table.add_row(*(Text(_printable(cell)) for cell in row))
        self._console.print(table)

    def waiting(self, text: str) -> AbstractContextManager[object]:
        """Shows on a terminal what the person waits for, as long as the context lasts."""
        if not self._console.is_terminal:
            return nullcontext()
        return self._console.status(Text(_printable(text)))

    def ask(self, view: View, read_move: ReadMove | None, *, can_undo: bool = False) -> str | Command:
        """Returns the reply that the person types, or `Command.QUIT`, or, if they can, `Command.UNDO`.

        Args:
            view: What the person was shown.
            read_move: Reads what is typed and not listed among the legal moves; None if nobody can, then it is sent as
                it is, after a question.
            can_undo: Whether there is a move to take back.
        """
        if self._list_moves:
            self._list(view)
        while True:
            typed = self.read("Your move (? for help): ")
            if typed is None:
                return Command.QUIT
            reply = _listed(view, typed)
            if reply is not None:
                return reply
            command = _COMMANDS.get(typed.lower())
            if command is Command.QUIT or (command is Command.UNDO and can_undo):
                return command
            reply = self._read(view, typed, read_move) if command is None else self._obey(command, view)
            if reply is not None:
                return reply

    def read(self, prompt: str) -> str | None:
        """Returns the line that is typed at `prompt`, without space around it; None at the end of the input."""
        try:
            line = self._read_line(prompt)
        except EOFError:
            self._console.print()
            return None
        # Half of a surrogate pair, from input that is no UTF-8, cannot be shown or sent.
        return line.encode("utf-8", "replace").decode("utf-8").strip()

    def _read(self, view: View, typed: str, read_move: ReadMove | None) -> str | None:
        """Returns the reply that plays what was typed; None when it was no move, and the person knows why."""
        if not typed:
            return None
        if read_move is not None:
            try:
                return read_move(view, typed)
            except MoveError as error:
                self.say(f"{error}. Nothing was played: try again.", style="yellow")
                return None
        self.say(f"{view.game} cannot say beforehand whether that is a move, and a wrong one may cost the game.")
        answer = self.read("Send it as it is? [y/N] ")
        return typed if answer is not None and answer.lower() in ("y", "yes") else None

    def _obey(self, command: Command, view: View) -> None:
        if command is Command.MOVES:
            self._list_all(view)
        elif command is Command.RULES:
            self.show_rules(view)
        elif command is Command.UNDO:
            self.say("There is no move to take back.", style="yellow")
        else:
            self.say(_HELP)

    def _list(self, view: View) -> None:
        """Lists the legal moves, or examples of them, that fit into a few lines."""
        legal = view.legal_moves
        if not legal:
            self.say("The game does not list the legal moves; its rules say what they are.", style="dim")
            return
        lines, left = [_title(view)], len(legal)
        for move in map(_printable, legal):
            # A move is never broken over two lines.
            if len(lines[-1]) + 1 + len(move) < min(PANEL_WIDTH, self._console.width):
                lines[-1] += f" {move}"
            elif len(lines) < MAX_LISTED_LINES:
                lines.append(move)
            else:
                lines.append(f"and {left} more: type moves to see them all")
                break
            left -= 1
        self.say("\n".join(lines), style="dim")

    def _list_all(self, view: View) -> None:
        """Lists all legal moves, or all examples of them."""
        moves = [Text(_printable(move)) for move in view.legal_moves or ()]
        if moves:
            self.say(_title(view), style="dim")
            self._console.print(Columns(moves, padding=(0, 2)))
        else:
            self._list(view)

    def _show_panel(self, text: Text, *, title: str, border: str) -> None:
        width = min(PANEL_WIDTH, self._console.width)
        panel = Panel(text, title=Text(_printable(title)), title_align="left", border_style=border, width=width)
        self._console.print(panel)

    def _read_standard_input(self, prompt: str) -> str:
        # The prompt goes through input(), which keeps it in place when the line is edited.
        line = input(prompt)
        if not sys.stdin.isatty():
            # Nobody's typing shows it.
            self.say(line)
        return line


def read_move_for(view: View) -> ReadMove | None:
    """Returns how to read a move in `view` from nothing but the view; None where that is impossible.

    Where the player's own words are legal, a list of moves does not tell what is not.
    """
    spec = _spec_of(view)
    if spec is None:
        return None
    if spec.perfect_information and view.state is not None:
        codec = spec.codec
        return lambda view, typed: codec.format_move(codec.parse_move(view.state, typed))
    return None if view.talk or not view.legal_moves else _refuse


def _refuse(view: View, typed: str) -> str:
    raise IllegalMoveError(f"{typed[:60]!r} is none of the legal moves of {view.game}")


def _spec_of(view: View) -> GameSpec | None:
    try:
        return find_game(view.game)
    except UnknownNameError:
        # A game of a bridge, or one that is not registered.
        return None


def _title(view: View) -> str:
    """Returns what stands before a list of moves."""
    return "Examples of moves:" if view.talk else "Legal moves:"


def _listed(view: View, typed: str) -> str | None:
    """Returns the legal move whose text was typed, whatever the case of its letters and without its brackets or not."""
    legal = view.legal_moves or ()
    for text in (typed, f"[{typed}]"):
        if text in legal:
            return text
        alike = [move for move in legal if move.casefold() == text.casefold()]
        if len(alike) == 1:
            return alike[0]
    return None


def _printable(text: str) -> str:
    """Returns `text` without control characters, which could write anywhere on the terminal."""
    return _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))


_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""Every control character but the line feed."""

_COMMANDS: Final = {command.value: command for command in Command} | {
    "quit": Command.QUIT,
    "exit": Command.QUIT,
    "help": Command.HELP,
}

_HELP: Final = (
    "Type a move as the rules say it; its brackets may be missing. Or type\n"
    "  moves  to list all legal moves, or all examples of them\n"
    "  rules  to read the rules again\n"
    "  undo   to take your last move back, where that is possible\n"
    "  q      to leave the game (or Ctrl-D)"
)
