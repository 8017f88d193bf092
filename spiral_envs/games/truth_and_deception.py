"""Truth and deception: a Deceiver, who knows which of two statements is true, talks with a Guesser, who must choose.

Rules: chance draws two statements, Fact 1 and Fact 2, of which exactly one is true. Only the Deceiver is told which.
    The players talk in turn, the Deceiver first; in the last turn, which is the Guesser's, it chooses one statement
    instead. It wins by choosing the true one; otherwise the Deceiver wins.
    All pairs of statements are equally likely, and so is either order. 163 pairs are about the world, so that knowledge
    helps the Guesser. 40 are about things drawn for the match, such as a coin, of which only the Deceiver knows the
    result: each of those statements is as often true as false, and nothing in its words makes it likelier.
Players: Deceiver (moves first) and Guesser.
Moves: `[Say: Fact 2 is true.]` says anything, in words of the player's own; `[Fact 1]` and `[Fact 2]` choose. Words are
    cleaned, cut after 200 characters and shown as quotations; a move of more than 500 characters is malformed.
    `legal_moves` lists a few samples of what can be said.
Options: `turns` (default 6), an even number of turns in all, the choice included.
Returns: +1 to the winner and -1 to the loser.
Length: exactly `turns` plies.
Known values: to a Guesser who knows all about the world, 163/203; where the statements are about the match, 0, since
    whatever is said would be said of the other statement as well.
Source of the rules: TextArena's TruthAndDeception-v0, whose last turn is the choice, too. The statements are our own.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from importlib.resources import files
from itertools import count
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player, new_tuple
from spiral_envs.public_message import MAX_MESSAGE_CHARS, clean_message

DECEIVER: Final[Player] = 0
GUESSER: Final[Player] = 1

MAX_TURNS: Final = 100


class Choice(IntEnum):
    """A statement by its number; the Guesser's last move."""

    FACT_1 = 1
    FACT_2 = 2


class Facts(NamedTuple):
    """Two statements, of which one is true, as chance draws them.

    Attributes:
        first: Fact 1.
        second: Fact 2.
        true: Which of them is true.
    """

    first: str
    second: str
    true: Choice


class Say(NamedTuple):
    """A player's move while they talk.

    Attributes:
        words: What is said, as `clean_message` returns it; not empty.
    """

    words: str


TruthMove: TypeAlias = Facts | Say | Choice


class TruthState(NamedTuple):
    """A match in progress.

    Attributes:
        facts: The statements; None before they are drawn.
        log: The players' moves so far; the seats alternate, the Deceiver first.
    """

    facts: Facts | None = None
    log: tuple[Say | Choice, ...] = ()


@lru_cache(maxsize=1)
def all_facts() -> tuple[Facts, ...]:
    """Returns all that can be drawn: every pair in both orders, and those about the match with either one true."""
    pairs = _pairs_in("world_facts.tsv")
    for one, other in _pairs_in("drawn_facts.tsv"):
        pairs += [(one, other), (other, one)]
    in_both_orders = ((Facts(true, false, Choice.FACT_1), Facts(false, true, Choice.FACT_2)) for true, false in pairs)
    return tuple(facts for both in in_both_orders for facts in both)


class TruthAndDeception:
    """The rules."""

    num_players = 2

    def __init__(self, *, turns: int) -> None:
        """Sets the number of turns."""
        self.max_plies = turns

    def initial_state(self) -> TruthState:
        """Returns the state before the statements are drawn."""
        return _START

    def to_move(self, state: TruthState) -> Player:
        """Returns the seat to move, `CHANCE` while the statements are drawn, or `TERMINAL`."""
        facts, log = state
        if facts is None:
            return CHANCE
        plies = len(log)
        return TERMINAL if plies == self.max_plies else plies % 2

    def legal_moves(self, state: TruthState) -> tuple[TruthMove, ...]:
        """Returns the two choices in the last turn, and samples of what can be said in the others."""
        if state.facts is None:
            return ()
        left = self.max_plies - len(state.log)
        return SAMPLES if left > 1 else _CHOICES[: left * 2]

    def chance_outcomes(self, state: TruthState) -> tuple[tuple[TruthMove, float], ...]:
        """Returns the statements that can be drawn, equally likely."""
        return _draws() if state.facts is None else ()

    def next_state(self, state: TruthState, move: TruthMove) -> TruthState:
        """Returns the state after the draw, after something was said, or after the choice."""
        facts, log = state
        if isinstance(move, Facts):
            if facts is not None or move not in _known_facts():
                raise IllegalMoveError("illegal draw in truth_and_deception: expected listed statements, at the start")
            return TruthState(move)
        if facts is None or len(log) == self.max_plies:
            raise IllegalMoveError(f"illegal move {_format(move)} in truth_and_deception: no player is to move")
        self.check(state, move)
        return new_tuple(TruthState, (facts, (*log, move)))

    def check(self, state: TruthState, move: Say | Choice) -> None:
        """Raises IllegalMoveError unless the seat to move may say or choose that."""
        is_last = len(state.log) == self.max_plies - 1
        if type(move) is Say:
            if is_last:
                why = "the talk is over, expected [Fact 1] or [Fact 2]"
            elif not move.words or clean_message(move.words) != move.words:
                why = "expected words as clean_message returns them"
            else:
                return
        elif is_last:
            return
        else:
            why = f"the Guesser chooses in turn {self.max_plies}, expected [Say: your words]"
        raise IllegalMoveError(f"illegal move {_format(move)} in truth_and_deception: {why}")

    def returns(self, state: TruthState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser; zeros before the end."""
        facts, log = state
        if facts is None or len(log) < self.max_plies:
            return (0.0, 0.0)
        return (-1.0, 1.0) if log[-1] is facts.true else (1.0, -1.0)


class TruthCodec:
    """The text."""

    def __init__(self, game: TruthAndDeception) -> None:
        """Sets the rules that the text is about."""
        self._game = game
        self._rules = tuple(_rules(seat, turns=game.max_plies) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for the Deceiver or the Guesser."""
        return self._rules[seat]

    def observe(self, state: TruthState, seat: Player) -> str:
        """Returns the statements, what was said, and the turn; which statement is true only to the Deceiver."""
        facts, log = state
        if facts is None:
            return "The statements are not drawn yet."
        lines = map(_log_line, count(), log, _OWN_TURNS[seat])
        return "\n".join((_facts_lines(facts, seat), *lines, self._status(facts, log, seat)))

    def format_move(self, move: TruthMove) -> str:
        """Returns `[Fact 1]`, `[Fact 2]` or `[Say: ...]` with the words that are shown."""
        assert isinstance(move, Say | Choice), "chance's moves are never written"
        return _format(move)

    def parse_move(self, state: TruthState, text: str) -> TruthMove:
        """Returns the move that `[Say: any words]` or `[Fact 1]` says, with the words cleaned."""
        move = _read(unbracketed(text))
        if move is None:
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in truth_and_deception:"
                " expected [Say: your words], with letters, digits or punctuation, [Fact 1] or [Fact 2]"
            )
        self._game.check(state, move)
        return move

    def _status(self, facts: Facts, log: tuple[Say | Choice, ...], seat: Player) -> str:
        turns, plies = self._game.max_plies, len(log)
        if plies == turns:
            winner = GUESSER if log[-1] is facts.true else DECEIVER
            return f"The game is over: Fact {facts.true:d} is true. {'You win.' if winner == seat else 'You lose.'}"
        if plies % 2 != seat:
            return f"Turn {plies + 1} of {turns}. You wait."
        what = "to choose [Fact 1] or [Fact 2]" if plies == turns - 1 else "to speak"
        return f"Turn {plies + 1} of {turns}. It is your turn {what}."


SAMPLES: Final[tuple[TruthMove, ...]] = (
    Say("Fact 1 is true."),
    Say("Fact 2 is true."),
    Say("I am sure of it."),
    Say("Are you sure?"),
    Say("Why do you believe that?"),
    Say("Tell me more."),
    Say("That is not what I have read."),
    Say("Let us think it over."),
)
"""What is listed as legal while they talk."""

_CHOICES: Final[tuple[TruthMove, ...]] = tuple(Choice)

_START: Final = TruthState()

_OWN_TURNS: Final = ((True, False) * (MAX_TURNS // 2), (False, True) * (MAX_TURNS // 2))
"""By seat, which turns are its own."""

# Bounded pieces only, so that matching is linear.
_CHOICE_SYNTAX: Final = re.compile(r"fact\s{0,3}([12])", re.IGNORECASE | re.ASCII)
_SAY_SYNTAX: Final = re.compile(r"say\s{0,3}:", re.IGNORECASE | re.ASCII)


def _pairs_in(name: str) -> list[tuple[str, str]]:
    text = files("spiral_envs.data").joinpath(name).read_text(encoding="utf-8")
    return [(one, other) for one, _, other in (line.partition("\t") for line in text.splitlines())]


@lru_cache(maxsize=1)
def _draws() -> tuple[tuple[TruthMove, float], ...]:
    drawn = all_facts()
    return tuple((facts, 1 / len(drawn)) for facts in drawn)


@lru_cache(maxsize=1)
def _known_facts() -> frozenset[Facts]:
    return frozenset(all_facts())


def _format(move: Say | Choice) -> str:
    return f"[Say: {move.words}]" if isinstance(move, Say) else f"[Fact {int(move)}]"


def _read(text: str) -> Say | Choice | None:
    choice = _CHOICE_SYNTAX.fullmatch(text)
    if choice is not None:
        return Choice(int(choice[1]))
    said = _SAY_SYNTAX.match(text)
    words = clean_message(text[said.end() :]) if said is not None else ""
    return Say(words) if words else None


@lru_cache(maxsize=4096)
def _facts_lines(facts: Facts, seat: Player) -> str:
    first, second, true = facts
    if seat == GUESSER:
        return f"Fact 1: {first}\nFact 2: {second}"
    marks = ("true", "false") if true is Choice.FACT_1 else ("false", "true")
    return f"Fact 1 ({marks[0]}): {first}\nFact 2 ({marks[1]}): {second}"


@lru_cache(maxsize=65536)
def _log_line(ply: int, move: Say | Choice, is_own: bool) -> str:
    who = "you" if is_own else f"the {_ROLES[ply % 2]}"
    did = f'said "{move.words}"' if isinstance(move, Say) else f"chose {_format(move)}"
    return f"Turn {ply + 1}: {who} {did}"


_ROLES: Final = ("Deceiver", "Guesser")


def _rules(seat: Player, *, turns: int) -> str:
    opening = f"You are the {_ROLES[seat]} in a game of truth and deception against the {_ROLES[1 - seat]}."
    talk = "one turn, the Deceiver's" if turns == 2 else f"{turns - 1} turns, the Deceiver first"
    limits = f"one line, cut after {MAX_MESSAGE_CHARS} characters, from which brackets, quotation marks and symbols go"
    shared = (
        "There are two statements, Fact 1 and Fact 2, of which exactly one is true. Most are about the world; some are"
        " about things drawn by lot for this match, such as a coin, of which only the Deceiver knows the result."
    )
    if seat == DECEIVER:
        return (
            f"{opening} You move first.\n{shared} You know which one is true; the Guesser does not. You talk for"
            f" {talk}; then the Guesser chooses a statement. If it chooses the true one, it wins; otherwise you win."
            f" You may say what you like, true or not.\n"
            f"Your move is [Say: your words], {limits}."
        )
    return (
        f"{opening} You move second.\n{shared} The Deceiver knows which one is true; you do not. You talk for {talk};"
        f" then you choose a statement. If you choose the true one, you win; otherwise the Deceiver wins. It may say"
        f" what it likes, true or not.\n"
        f"Your move is [Say: your words] while you talk, {limits}, and in the last turn [Fact 1] or [Fact 2]."
    )


def configure(*, turns: int = 6) -> GameSpec:
    """Returns truth and deception over `turns` turns in all.

    Raises:
        ValueError: `turns` is not an even integer from 2 to 100.
    """
    if type(turns) is not int or not 2 <= turns <= MAX_TURNS or turns % 2:
        raise ValueError(
            f"option turns of truth_and_deception is {turns!r}: expected an even integer from 2 to {MAX_TURNS}"
        )
    game = TruthAndDeception(turns=turns)
    return GameSpec(
        name="truth_and_deception",
        version=0,
        game=game,
        codec=TruthCodec(game),
        roles=_ROLES,
        return_range=(-1.0, 1.0),
        talk=True,
        configure=configure,
    )


SPEC: Final = configure()
