"""The classic environments of PettingZoo in words: what their actions are called, and what a seat sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Protocol, TypeAlias

from spiral_envs.game import Player

OptionValues: TypeAlias = Mapping[str, Any]
"""The options of an environment, each with its value."""


class Text(Protocol):
    """The text of one environment. Every method is given PettingZoo's raw environment, which it does not change."""

    def rules(self, options: OptionValues, seat: Player) -> str:
        """Returns what `seat` is told before the game, but for its role."""
        ...

    def names(self, env: Any, seat: Player, actions: Sequence[int]) -> list[str]:
        """Returns the names of legal actions of `seat`, without brackets."""
        ...

    def observe(self, env: Any, seat: Player) -> str:
        """Returns what `seat` sees, without the moves so far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """An option of an environment.

    Attributes:
        default: Its default.
        expected: What a value must be, in words.
        accepts: Whether a value is that.
    """

    default: Any
    expected: str
    accepts: Callable[[Any], bool]


def integers(default: int, low: int, high: int) -> Choice:
    """Returns an option whose values are the integers from `low` to `high`."""
    return Choice(
        default=default,
        expected=f"an integer from {low} to {high}",
        accepts=lambda value: type(value) is int and low <= value <= high,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Environment:
    """A classic environment.

    Attributes:
        name: Its module in `pettingzoo.classic`.
        title: The game's name.
        text: Its text.
        syntax: What a move's name looks like, in any position.
        roles: The roles of the seats; None for `Player 0`, `Player 1` and so on.
        options: Its options.
        conflict: Why values of the options, each in its range, do not go together; empty when they do.
        num_players: The number of seats.
        return_range: The lowest and the highest return of a seat.
        zero_sum: Whether the returns sum to 0.
        hidden: Whether a seat knows less than all.
        shows_moves: Whether the moves so far are part of what the seats see.
        together: Whether the players choose at the same time, so that a choice is shown once all have chosen.
        has_mask: Whether its observations say which actions are legal; without, all are.
        packages: What must be importable.
    """

    name: str
    title: str
    text: Text
    syntax: re.Pattern[str]
    roles: tuple[str, ...] | None = None
    options: Mapping[str, Choice] = field(default_factory=dict[str, Choice])
    conflict: Callable[[OptionValues], str] = lambda _: ""
    num_players: Callable[[OptionValues], int] = lambda _: 2
    return_range: Callable[[OptionValues], tuple[float, float]] = lambda _: (-1.0, 1.0)
    zero_sum: bool = True
    hidden: bool = False
    shows_moves: bool = True
    together: bool = False
    has_mask: bool = True
    packages: tuple[str, ...] = ("pygame",)


class _TicTacToe:
    def rules(self, options: OptionValues, seat: Player) -> str:
        return (
            "Player 0 plays X and moves first, Player 1 plays O. The cells of the board of three by three are numbered"
            " 0 to 8, column by column from the top left. Players take turns to put their mark on an empty cell. Three"
            " of one's own marks in a row, column or diagonal win; a full board without such a line is a draw.\n"
            "Your move is the number of an empty cell in square brackets, such as [4]."
        )

    def names(self, env: Any, seat: Player, actions: Sequence[int]) -> list[str]:
        return [str(action) for action in actions]

    def observe(self, env: Any, seat: Player) -> str:
        planes = env.observe(env.possible_agents[seat])["observation"]
        mine, theirs = ("X", "O") if seat == 0 else ("O", "X")
        # PettingZoo numbers the cells column by column: its first axis is the column.
        cells = [
            mine if planes[cell // 3, cell % 3, 0] else theirs if planes[cell // 3, cell % 3, 1] else str(cell)
            for cell in range(9)
        ]
        rows = "\n".join(f" {cells[row]} {cells[row + 3]} {cells[row + 6]}" for row in range(3))
        return f"Board:\n{rows}\nYou play {mine}."


class _ConnectFour:
    def rules(self, options: OptionValues, seat: Player) -> str:
        return (
            "Player 0 plays X and moves first, Player 1 plays O. The board has six rows and seven columns, numbered 0"
            " to 6 from the left. Players take turns to drop a piece into a column that is not full; it falls on the"
            " lowest free cell. Four of one's own pieces in a row, column or diagonal win; a full board without such a"
            " line is a draw.\nYour move is the number of a column in square brackets, such as [3]."
        )

    def names(self, env: Any, seat: Player, actions: Sequence[int]) -> list[str]:
        return [str(action) for action in actions]

    def observe(self, env: Any, seat: Player) -> str:
        planes = env.observe(env.possible_agents[seat])["observation"]
        mine, theirs = ("X", "O") if seat == 0 else ("O", "X")
        rows = [
            " ".join(
                mine if planes[row, column, 0] else theirs if planes[row, column, 1] else "." for column in range(7)
            )
            for row in range(6)
        ]
        return "\n".join(("Board:", *(f" {row}" for row in rows), " 0 1 2 3 4 5 6", f"You play {mine}."))


class _RockPaperScissors:
    def rules(self, options: OptionValues, seat: Player) -> str:
        names = _rps_names(options["num_actions"])
        beaten = "; ".join(f"{name} beats {' and '.join(_beaten(names, at))}" for at, name in enumerate(names))
        return (
            f"There are {options['max_cycles']} rounds. In each both players choose at the same time: nobody sees the"
            f" other's choice before having chosen. The same choice is a draw; {beaten}. Whoever wins a round gets +1,"
            f" the other -1.\nYour move is your choice in square brackets, such as [rock]."
        )

    def names(self, env: Any, seat: Player, actions: Sequence[int]) -> list[str]:
        names = _rps_names(int(env.action_space(env.possible_agents[seat]).n))
        return [names[action] for action in actions]

    def observe(self, env: Any, seat: Player) -> str:
        return f"Rounds played: {env.num_moves} of {env.max_cycles}."


class _Chess:
    def rules(self, options: OptionValues, seat: Player) -> str:
        return (
            "Player 0 plays White and moves first, Player 1 plays Black. The rules are those of chess. The game is a"
            " draw as soon as a draw could be claimed: by stalemate, by too few pieces, by fifty moves without a"
            " capture or a pawn's move, or by the third time of the same position.\n"
            "Your move is where a piece goes from and to in square brackets, such as [e2e4]; a pawn that promotes names"
            " the new piece, such as [e7e8q]; castling is the king's move, such as [e1g1]."
        )

    def names(self, env: Any, seat: Player, actions: Sequence[int]) -> list[str]:
        moves = import_module("pettingzoo.classic.chess.chess_utils")
        return [str(moves.action_to_move(env.board, action, seat).uci()) for action in actions]

    def observe(self, env: Any, seat: Player) -> str:
        board = env.board
        ranks = [f"{8 - index} {row}" for index, row in enumerate(str(board).splitlines())]
        check = " Your king is in check." if board.is_check() and bool(board.turn) == (seat == 0) else ""
        return "\n".join((
            "Board (White's pieces are capitals):",
            *ranks,
            "  a b c d e f g h",
            f"FEN: {board.fen()}",
            f"You play {'White' if seat == 0 else 'Black'}.{check}",
        ))  # fmt: skip


class _Go:
    def rules(self, options: OptionValues, seat: Player) -> str:
        size = options["board_size"]
        return (
            f"Black moves first. The rules are those of Go on a board of {size} by {size} points, counted by area with"
            f" {options['komi']:g} points for White as the second player; two passes in a row end the game.\n"
            f"Your move is a point in square brackets, its column and its row as they stand at the edge of the board,"
            f" such as [{_COLUMNS[size // 2]}{size // 2 + 1}], or [pass]."
        )

    def names(self, env: Any, seat: Player, actions: Sequence[int]) -> list[str]:
        size = int(env.board_history.shape[0])
        return [
            "pass" if action == size * size else f"{_COLUMNS[action % size]}{size - action // size}"
            for action in actions
        ]

    def observe(self, env: Any, seat: Player) -> str:
        # The planes of the observation are from the side of whoever moved last, so that the board is read itself.
        board = env._go.board  # noqa: SLF001
        size = int(board.shape[0])
        signs = {0: ".", 1: "X", -1: "O"}
        rows = [
            f"{size - row:2d} {' '.join(signs[int(board[row, column])] for column in range(size))}"
            for row in range(size)
        ]
        colour = "Black, X" if seat == 0 else "White, O"
        return "\n".join(("Board:", *rows, f"   {' '.join(_COLUMNS[:size])}", f"You play {colour}."))


class _Hanabi:
    def rules(self, options: OptionValues, seat: Player) -> str:
        colours = " ".join("RYGWB"[: options["colors"]])
        return (
            f"All players win together. Cards have a colour ({colours}) and a rank from 1 to {options['ranks']}. You"
            f" see the others' cards and not your own. The players build one firework of each colour, rank by rank from"
            f" 1. In your turn you play a card (a wrong one costs a life token; without any left all points are lost),"
            f" discard one (which gives back an information token) or tell another player, for an information token,"
            f" which of its cards have a colour or a rank. The cards of a hand are numbered from 0. Every card on a"
            f" firework is a point for everybody.\nWhat is shown of a hand is what each card is, XX where it is hidden,"
            f" then what its player has been told of it, and what it can still be. Hands are listed from your own on,"
            f" in the order of play.\n"
            f"Your move is in square brackets, such as [Play 0], [Discard 0], [Reveal player +1 color R] or [Reveal"
            f" player +1 rank 1], where +1 is the player after you."
        )

    def names(self, env: Any, seat: Player, actions: Sequence[int]) -> list[str]:
        state = env.hanabi_env.game_state
        return [str(state.action_to_string(seat, action)).strip("()") for action in actions]

    def observe(self, env: Any, seat: Player) -> str:
        # PettingZoo's observation is this text as numbers.
        return str(env.hanabi_env.game_state.observation_string(seat)).strip()


class _Poker:
    """A poker of RLCard, whose observation has the cards of a seat and the chips in the pot."""

    def __init__(self, what: str, moves: str, names: tuple[str, ...], unit: str) -> None:
        self._what = what
        self._moves = moves
        self._names = names
        self._unit = unit

    def rules(self, options: OptionValues, seat: Player) -> str:
        return (
            f"{self._what} Your return is what you win or lose, in {self._unit}.\n"
            f"Your move is one of {self._moves} in square brackets, such as [{self._names[0]}]."
        )

    def names(self, env: Any, seat: Player, actions: Sequence[int]) -> list[str]:
        return [self._names[action] for action in actions]

    def observe(self, env: Any, seat: Player) -> str:
        # The same dictionary from which PettingZoo makes the numbers of its observation.
        known: dict[str, Any] = env.env.get_state(seat)["raw_obs"]
        public = known["public_cards"] if "public_cards" in known else known["public_card"]
        hand = known["hand"]
        chips = [int(number) for number in known["all_chips"]]
        pot = ", ".join(f"Player {other} {number}" for other, number in enumerate(chips))
        lines = [f"Your cards: {_cards(hand)}.", f"Cards on the table: {_cards(public)}.", f"Chips put in: {pot}."]
        if "stakes" in known:
            left = ", ".join(f"Player {other} {int(number)}" for other, number in enumerate(known["stakes"]))
            lines.append(f"Chips left: {left}.")
        return "\n".join(lines)


def _cards(cards: Sequence[str] | str | None) -> str:
    """Returns cards by rank and suit, such as `Q♥`, from RLCard's `HQ`."""
    if not cards:
        return "none"
    listed = [cards] if isinstance(cards, str) else list(cards)
    return " ".join(f"{'10' if card[1] == 'T' else card[1]}{_SUITS[card[0]]}" for card in listed)


def _rps_names(num_actions: int) -> tuple[str, ...]:
    names = ("rock", "paper", "scissors", "spock", "lizard", *(f"action_{at + 1}" for at in range(5, num_actions)))
    return names[:num_actions]


def _beaten(names: Sequence[str], winner: int) -> list[str]:
    """Returns what `names[winner]` beats: lower numbers of the other parity, and higher ones of the same."""
    return [name for at, name in enumerate(names) if at != winner and ((at + winner) % 2 == 0) == (winner < at)]


_COLUMNS: Final = "ABCDEFGHJKLMNOPQRST"
"""The letters of the columns of a Go board, which leave out I."""

_SUITS: Final = {"S": "♠", "H": "♥", "D": "♦", "C": "♣"}

_HOLDEM: Final = (
    "Everyone gets two cards; three, one and one cards are then laid on the table, with betting before and after. The"
    " best five of a player's own cards and those on the table take the pot."
)

_LIMIT_NAMES: Final = ("call", "raise", "fold", "check")


def _hanabi_conflict(options: OptionValues) -> str:
    """Returns why Hanabi cannot be dealt: OpenSpiel ends the whole process when there are too few cards."""
    colors, ranks, players, hand_size = (options[name] for name in ("colors", "ranks", "players", "hand_size"))
    if players > colors:
        return f"players is {players} and colors is {colors}: expected at most as many players as colors"
    # Of each colour three cards of the first rank, one of the last and two of each other.
    num_cards = 2 * colors * ranks
    if players * hand_size > num_cards:
        return (
            f"players is {players} and hand_size is {hand_size}: expected at most {num_cards} cards in all hands, as"
            f" many as there are of {colors} colors and {ranks} ranks"
        )
    return ""


def _seats(options: OptionValues) -> int:
    return int(options["num_players"])


ENVIRONMENTS: Final = {
    environment.name: environment
    for environment in (
        Environment(
            name="tictactoe_v3",
            title="tic-tac-toe",
            text=_TicTacToe(),
            syntax=re.compile("[0-8]"),
            shows_moves=False,
        ),
        Environment(
            name="connect_four_v3",
            title="Connect Four",
            text=_ConnectFour(),
            syntax=re.compile("[0-6]"),
            shows_moves=False,
        ),
        Environment(
            name="rps_v2",
            title="rock, paper, scissors",
            text=_RockPaperScissors(),
            syntax=re.compile("rock|paper|scissors|spock|lizard|action_[0-9]{1,2}", re.IGNORECASE),
            options={
                "num_actions": Choice(
                    default=3,
                    expected="an odd integer from 3 to 99",
                    accepts=lambda value: type(value) is int and 3 <= value <= 99 and value % 2 == 1,
                ),
                "max_cycles": integers(15, 1, 1000),
            },
            return_range=lambda options: (-float(options["max_cycles"]), float(options["max_cycles"])),
            hidden=True,
            together=True,
            has_mask=False,
        ),
        Environment(
            name="chess_v6",
            title="chess",
            text=_Chess(),
            syntax=re.compile("[a-h][1-8][a-h][1-8][qrbn]?", re.IGNORECASE),
            packages=("pygame", "chess"),
        ),
        Environment(
            name="go_v5",
            title="Go",
            text=_Go(),
            syntax=re.compile("[A-HJ-T](?:1[0-9]|[1-9])|pass", re.IGNORECASE),
            roles=("Black", "White"),
            options={
                "board_size": integers(19, 2, 19),
                "komi": Choice(
                    default=7.5,
                    expected="a number from -400 to 400",
                    accepts=lambda value: type(value) in {int, float} and -400 <= value <= 400,
                ),
            },
        ),
        Environment(
            name="hanabi_v5",
            title="Hanabi",
            text=_Hanabi(),
            syntax=re.compile(
                r"(?:play|discard) [0-4]|reveal player \+[1-4] (?:color [RYGWB]|rank [1-5])", re.IGNORECASE
            ),
            options={
                "colors": integers(5, 2, 5),
                "ranks": integers(5, 2, 5),
                "players": integers(2, 2, 5),
                "hand_size": integers(5, 2, 5),
                "max_information_tokens": integers(8, 0, 20),
                "max_life_tokens": integers(3, 1, 20),
                "observation_type": Choice(
                    default="card_knowledge",
                    expected="minimal, card_knowledge or seer",
                    accepts=lambda value: value in ("minimal", "card_knowledge", "seer"),
                ),
                # Not random_start_player: PettingZoo names player_0 first whoever starts.
            },
            conflict=_hanabi_conflict,
            num_players=lambda options: int(options["players"]),
            return_range=lambda options: (0.0, float(options["colors"] * options["ranks"])),
            zero_sum=False,
            hidden=True,
            packages=("pygame", "shimmy", "pyspiel"),
        ),
        Environment(
            name="leduc_holdem_v4",
            title="Leduc hold'em",
            text=_Poker(
                "The deck has six cards: J, Q and K in two suits. Everyone gets one; after a round of betting one is"
                " laid on the table, and a second round follows. A pair with the card on the table wins, then the"
                " higher card. Blinds of 1 and 2 chips are put in first; a raise is 2 chips in the first round and 4 in"
                " the second, at most two raises a round.",
                "[call], [raise], [fold] and [check]",
                _LIMIT_NAMES,
                "big blinds of 2 chips",
            ),
            syntax=re.compile("call|raise|fold|check", re.IGNORECASE),
            return_range=lambda _: (-7.0, 7.0),
            hidden=True,
            packages=("pygame", "rlcard"),
        ),
        Environment(
            name="texas_holdem_v4",
            title="limit Texas hold'em",
            text=_Poker(
                f"{_HOLDEM} Blinds of 1 and 2 chips are put in first; a raise is 2 chips in the first two rounds of"
                f" betting and 4 in the others, at most four raises a round.",
                "[call], [raise], [fold] and [check]",
                _LIMIT_NAMES,
                "big blinds of 2 chips",
            ),
            syntax=re.compile("call|raise|fold|check", re.IGNORECASE),
            options={"num_players": integers(2, 2, 10)},
            num_players=_seats,
            return_range=lambda options: (-25.0, 25.0 * (_seats(options) - 1)),
            hidden=True,
            packages=("pygame", "rlcard"),
        ),
        Environment(
            name="texas_holdem_no_limit_v6",
            title="no-limit Texas hold'em",
            text=_Poker(
                f"{_HOLDEM} Everyone has 100 chips; blinds of 1 and 2 chips are put in first.",
                "[fold], [check or call], [raise half pot], [raise pot] and [all in]",
                ("fold", "check or call", "raise half pot", "raise pot", "all in"),
                "chips",
            ),
            syntax=re.compile("fold|check or call|raise half pot|raise pot|all in", re.IGNORECASE),
            options={"num_players": integers(2, 2, 10)},
            num_players=_seats,
            return_range=lambda options: (-100.0, 100.0 * (_seats(options) - 1)),
            hidden=True,
            packages=("pygame", "rlcard"),
        ),
    )
}
"""The classic environments that work here, by name."""

REFUSED: Final = {"gin_rummy_v4": "PettingZoo 1.27 does not have it any more: play openspiel:gin_rummy"}
"""The classic environments that do not, with the reason."""
