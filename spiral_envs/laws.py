"""The laws that every game obeys; `spiral_envs.check_game` tests them."""

from __future__ import annotations

from enum import Enum


class Law(Enum):
    """The laws; the value is how an error names them."""

    SOUND_RULES = "law 0 (sound rules)"
    """The rules agree with themselves: the probabilities of chance sum to 1, a player to move has a legal move and
    no move is listed twice, nobody moves at the end, returns are 0 before it, and no game takes more than
    `max_plies` plies."""

    ZERO_SUM = "law 1 (zero sum)"
    """Returns of a zero-sum game sum to exactly 0, forfeits included."""

    NO_FREE_FAULT = "law 2 (no free fault)"
    """Returns are within `return_range`, and a forfeit pays the offender no more than the worst legal outcome."""

    DETERMINISM = "law 3 (determinism)"
    """The same seed and the same replies give the same match, whatever else runs: another match between its turns,
    or other users of the global random numbers of `random` and numpy, which the game neither reads nor changes."""

    INFORMATION = "law 4 (information)"
    """Equal texts mean equal legal moves and, with hidden information, an equal past: all that the player did and
    all that it was ever shown, in its own turns or while it waited. So a card that shows only between a player's
    turns breaks this law. And where chance deals hidden information, some different positions must look alike to
    the player to move: texts from which everything hidden can be read break this law. Whether one fact that is
    shown was meant to be public, only the game's own test can say."""

    ROUND_TRIP = "law 5 (round trip)"
    """A legal move's text is read as that move: as it is, without its brackets, and in `\\boxed{}` either way."""

    ONLY_MOVES = "law 6 (only moves)"
    """A reply can do nothing but move: nobody is shown what surrounds the move, and what is said aloud adds no
    line, bracket, quotation mark or control token of a chat template to what the players are shown."""

    PURE_READING = "law 7 (pure reading)"
    """Reading changes nothing, `next_state` leaves its argument alone, and a pickled or deep copy of a match goes
    on like the match itself without touching it."""

    FAULTS = "law 8 (faults)"
    """Any text is a move or a fault, never an error. The rules refuse an illegal move with `IllegalMoveError`, a
    move from elsewhere in the game is illegal rather than malformed, and a truncated reply is truncated."""

    DISCRETE = "law 9 (discrete form)"
    """The discrete form of a game lists every legal move, each once, and its features are as many finite numbers as its
    shape has places. They tell a player no more than the text: equal texts mean equal features."""
