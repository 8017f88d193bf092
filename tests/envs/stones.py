"""A small game of three that tests of the shells can hold in their head.

Seven stones lie on the table. In turn each player takes one or two; who takes the last one is paid 1 by each other.
"""

from typing import NamedTuple

from spiral_envs import TERMINAL, DiscreteForm, GameSpec, IllegalMoveError, MalformedMoveError

STONES = 7


class Table(NamedTuple):
    """How many stones are left, and whose turn it is, or who took the last."""

    left: int
    seat: int


class Stones:
    """The rules."""

    num_players = 3
    max_plies = STONES

    def initial_state(self):
        """Returns the full table."""
        return Table(STONES, 0)

    def to_move(self, state):
        """Returns the seat to move."""
        return state.seat if state.left else TERMINAL

    def legal_moves(self, state):
        """Returns how many stones can be taken."""
        return (1, 2)[: state.left]

    def chance_outcomes(self, state):
        """Returns nothing."""
        return ()

    def next_state(self, state, move):
        """Returns the table after `move` stones were taken."""
        if move not in self.legal_moves(state):
            raise IllegalMoveError(f"illegal move [{move}] in stones: {state.left} are left")
        left = state.left - move
        return Table(left, (state.seat + 1) % 3 if left else state.seat)

    def returns(self, state):
        """Returns 2 to who took the last stone, and -1 to each other."""
        return (0.0,) * 3 if state.left else tuple(2.0 if seat == state.seat else -1.0 for seat in range(3))


class StonesCodec:
    """The text."""

    def rules(self, seat):
        """Returns the rules."""
        return f"You are Player {seat}. Take [1] or [2] stones. Who takes the last one wins."

    def observe(self, state, seat):
        """Returns how many stones are left, and whose turn it is."""
        return f"{state.left} stones. {'You' if state.seat == seat else f'Player {state.seat}'}."

    def format_move(self, move):
        """Returns `[2]` for two stones."""
        return f"[{move}]"

    def parse_move(self, state, text):
        """Returns the number of stones in `text`."""
        digits = text.strip("[]")
        if digits not in ("1", "2"):
            raise MalformedMoveError(f"malformed move {text!r} in stones")
        if int(digits) > state.left:
            raise IllegalMoveError(f"illegal move {text!r} in stones: {state.left} are left")
        return int(digits)


def stones_features(state, seat):
    """Returns the number of stones, and how many turns it is until `seat` moves."""
    return (float(state.left), float((seat - state.seat) % 3))


STONES_SPEC = GameSpec(
    name="stones",
    version=0,
    game=Stones(),
    codec=StonesCodec(),
    roles=("Player 0", "Player 1", "Player 2"),
    return_range=(-1.0, 2.0),
    perfect_information=True,
    discrete=DiscreteForm(moves=(1, 2), shape=(2,), features=stones_features),
)
