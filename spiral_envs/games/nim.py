"""Nim: taking objects from piles, where the last object decides.

Rules: players take turns; in a turn one takes one or more objects from one pile. In normal play whoever takes the last
    object wins; in misère play, whoever takes it loses.
Players: Player 0 (moves first) and Player 1.
Moves: the pile, counted from 1, and how many objects to take: `[pile 2: take 3]`.
Options: `piles` (default `1-3-5-7`), the sizes of the piles with hyphens between them, because commas separate options:
    `nim_v0(piles=3-4-5)`; 1 to 10 piles of 1 to 20 objects. `misere` (default False): False for normal play, which is
    the game of the theory, True for misère play, which is the default of OpenSpiel's nim.
Returns: +1 for the winner, -1 for the loser.
Length: from the number of piles to the number of objects, in plies.
Known values: in normal play the player to move loses exactly when the binary digital sum (exclusive or) of the piles
    is 0. In misère play the same holds while some pile has two or more objects; when no pile has, the player to move
    loses exactly when the number of piles that are left is odd. So Player 1 wins `1-3-5-7` either way, and Player 0
    wins `3-4-5` either way.
Source of the rules: Bouton, Nim, a game with a complete mathematical theory, Annals of Mathematics 3, 1901.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MAX_PILES: Final = 10
MAX_OBJECTS: Final = 20
"""The most objects in a pile."""


class NimState(NamedTuple):
    """A position.

    Attributes:
        piles: The objects left in every pile.
        next_player: The seat whose turn comes next; at the end, the one that did not take the last object.
    """

    piles: tuple[int, ...]
    next_player: Player


class Take(NamedTuple):
    """A player's move.

    Attributes:
        pile: The pile, counted from 0; the text counts from 1.
        number: How many objects are taken.
    """

    pile: int
    number: int


class Nim:
    """The rules."""

    num_players = 2

    def __init__(self, *, piles: tuple[int, ...], misere: bool) -> None:
        """Sets the piles, and whether taking the last object loses."""
        self.piles = piles
        self.misere = misere
        self.max_plies = sum(piles)
        self._start = NimState(piles, 0)

    def initial_state(self) -> NimState:
        """Returns the full piles."""
        return self._start

    def to_move(self, state: NimState) -> Player:
        """Returns the seat to move, or `TERMINAL` when no object is left."""
        piles, player = state
        return player if any(piles) else TERMINAL

    def legal_moves(self, state: NimState) -> tuple[Take, ...]:
        """Returns the ways to take objects, pile by pile, fewer objects first."""
        return _legal_moves(state[0])

    def chance_outcomes(self, state: NimState) -> tuple[tuple[Take, float], ...]:
        """Returns nothing: there is no chance in the game."""
        return ()

    def next_state(self, state: NimState, move: Take) -> NimState:
        """Returns the position after objects are taken."""
        piles, player = state
        pile, number = move
        if not 0 <= pile < len(piles) or not 1 <= number <= piles[pile]:
            raise _illegal(piles, move)
        left = (*piles[:pile], piles[pile] - number, *piles[pile + 1 :])
        return new_tuple(NimState, (left, 1 - player))

    def returns(self, state: NimState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser; zeros before the end."""
        if any(state.piles):
            return (0.0, 0.0)
        return (-1.0, 1.0) if self.winner(state) else (1.0, -1.0)

    def winner(self, state: NimState) -> Player:
        """Returns the seat that has won, of a game that is over."""
        return state.next_player if self.misere else 1 - state.next_player

    def features(self, state: NimState, seat: Player) -> tuple[float, ...]:
        """Returns one row a pile, with a 1 in the place of its number of objects, and a row of ones in its own turn.

        The places count from 0 to the size of the largest pile at the start; the last row is all 0 in the other's turn.
        """
        turn = 1.0 if self.to_move(state) == seat else 0.0
        return _features(state.piles, max(self.piles) + 1, turn)


class NimCodec:
    """The text."""

    def __init__(self, game: Nim) -> None:
        """Sets the rules that the text is about."""
        self._game = game
        self._rules = tuple(_rules(seat, num_piles=len(game.piles), misere=game.misere) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player 0 or Player 1."""
        return self._rules[seat]

    def observe(self, state: NimState, seat: Player) -> str:
        """Returns the objects that are left in every pile."""
        piles, player = state
        if any(piles):
            status = "It is your turn." if player == seat else "You wait."
        else:
            status = "You have won." if self._game.winner(state) == seat else "You have lost."
        return _piles_text(piles) + status

    def format_move(self, move: Take) -> str:
        """Returns `[pile 2: take 3]` for three objects of the second pile."""
        return _text(move)

    def parse_move(self, state: NimState, text: str) -> Take:
        """Returns the move that `[pile 2: take 3]` says, in any case of letters and with or without its spaces."""
        found = _TAKE.fullmatch(unbracketed(text))
        if found is None:
            raise MalformedMoveError(f"malformed move {text[:60]!r} in nim: expected a move such as [pile 2: take 3]")
        move = Take(int(found[1]) - 1, int(found[2]))
        if move not in _legal_moves(state.piles):
            raise _illegal(state.piles, move)
        return move


# Bounded pieces only, so that matching is linear.
_TAKE: Final = re.compile(r"pile\s{0,3}([0-9]{1,3})\s{0,3}:\s{0,3}take\s{0,3}([0-9]{1,3})", re.IGNORECASE | re.ASCII)

_PILES: Final = re.compile("[1-9][0-9]{0,2}(?:-[1-9][0-9]{0,2})*")


@lru_cache(maxsize=4096)
def _legal_moves(piles: tuple[int, ...]) -> tuple[Take, ...]:
    return tuple(Take(pile, number) for pile, left in enumerate(piles) for number in range(1, left + 1))


@lru_cache(maxsize=4096)
def _piles_text(piles: tuple[int, ...]) -> str:
    return "".join(f"Pile {pile}: {left}\n" for pile, left in enumerate(piles, 1))


@lru_cache(maxsize=4096)
def _features(piles: tuple[int, ...], width: int, turn: float) -> tuple[float, ...]:
    rows = (1.0 if left == place else 0.0 for left in piles for place in range(width))
    return (*rows, *(turn,) * width)


@lru_cache(maxsize=1024)
def _text(move: Take) -> str:
    return f"[pile {move.pile + 1}: take {move.number}]"


def _illegal(piles: tuple[int, ...], move: Take) -> IllegalMoveError:
    if not 0 <= move.pile < len(piles):
        why = f"piles are 1 to {len(piles)}"
    elif move.number < 1:
        why = "a move takes at least 1"
    else:
        why = f"pile {move.pile + 1} has only {piles[move.pile]}"
    return IllegalMoveError(f"illegal move {_text(move)} in nim: {why}")


def _rules(seat: Player, *, num_piles: int, misere: bool) -> str:
    if misere:
        aim = "Whoever takes the last object of all loses: you win if the other player has to take it."
    else:
        aim = "Whoever takes the last object of all wins."
    piles = "is one pile of objects" if num_piles == 1 else f"are {num_piles} piles of objects, numbered from 1"
    return (
        f"You are Player {seat} in a game of nim against Player {1 - seat}. You move {'second' if seat else 'first'}.\n"
        f"There {piles}. Players take turns. In your turn you take one or more objects from one pile. {aim}\n"
        f"Your move names a pile and how many objects you take from it, in square brackets: [pile 1: take 1]."
    )


def configure(*, piles: str | int = "1-3-5-7", misere: bool = False) -> GameSpec:
    """Returns nim with `piles`, sizes with hyphens between them; with `misere`, taking the last object loses.

    A single pile may be given as a number, as which a text such as `nim_v0(piles=7)` is read.

    Raises:
        ValueError: `piles` is not 1 to 10 numbers from 1 to 20, or `misere` is not a bool.
    """
    sizes = _sizes(piles)
    if type(misere) is not bool:
        raise ValueError(f"option misere of nim is {misere!r}: expected True or False")
    game = Nim(piles=sizes, misere=misere)
    moves = tuple(Take(pile, number) for pile, size in enumerate(sizes) for number in range(1, size + 1))
    return GameSpec(
        name="nim",
        version=0,
        game=game,
        codec=NimCodec(game),
        roles=("Player 0", "Player 1"),
        return_range=(-1.0, 1.0),
        perfect_information=True,
        discrete=DiscreteForm(moves=moves, shape=(len(sizes) + 1, max(sizes) + 1), features=game.features),
        configure=configure,
    )


def _sizes(piles: str | int) -> tuple[int, ...]:
    # The value may come from a configuration file, where its type is not checked; True is an int as well.
    text = str(piles) if type(piles) in (str, int) else ""
    sizes = tuple(map(int, text.split("-"))) if _PILES.fullmatch(text) else ()
    if not 1 <= len(sizes) <= MAX_PILES or not all(1 <= size <= MAX_OBJECTS for size in sizes):
        raise ValueError(
            f"option piles of nim is {piles!r}: expected 1 to {MAX_PILES} numbers from 1 to {MAX_OBJECTS}"
            " with hyphens between them, such as 3-4-5"
        )
    return sizes


SPEC: Final = configure()
