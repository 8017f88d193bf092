"""Golden transcripts: one match of every game, word for word, so that no text and no rule changes unnoticed.

`python tests/envs/transcript.py` writes them anew; read the difference before you commit it.
"""

import random
from pathlib import Path

from variants import VARIANTS

from spiral_envs import make_match
from spiral_envs.positions import choose

FOLDER = Path(__file__).parent / "transcripts"

SEED = 7

MAX_TURNS = 24
"""Of a longer match the first turns are written, and the end."""

MAX_MOVES = 24
"""Of a longer list of legal moves the first are written, and their number."""


def transcript_file(game):
    """Returns where the transcript of `game` is kept."""
    name = game.replace("(", "-").replace(")", "").replace(",", "-").replace("=", "_")
    return FOLDER / f"{name}.txt"


def transcript(game):
    """Returns what happens in one match of random legal moves."""
    rng = random.Random(SEED)
    match = make_match(game, seed=SEED)
    parts = [f"{game}, seed {SEED}, random legal moves"]
    seats = range(len(match.roles))
    parts += [f"=== Rules for {match.roles[seat]}\n{match.view(seat).rules}" for seat in seats]
    while match.seat_to_move is not None:
        view = match.view(match.seat_to_move)
        assert view.legal_moves
        move = view.legal_moves[choose(rng, view.legal_moves)]
        if view.turn < MAX_TURNS:
            legal = " ".join(view.legal_moves[:MAX_MOVES])
            if len(view.legal_moves) > MAX_MOVES:
                legal += f" and {len(view.legal_moves) - MAX_MOVES} more"
            parts.append(f"=== Turn {view.turn}, {view.role}\n{view.observation}\nLegal: {legal}\nPlays: {move}")
        match.submit(move)
    assert match.outcome
    parts.append(f"=== The end after {len(match.turns)} turns")
    parts += [f"--- {match.roles[seat]} sees\n{match.view(seat).observation}" for seat in seats]
    parts.append(f"Returns: {match.outcome.returns}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in set(FOLDER.iterdir()) - {transcript_file(game) for game in VARIANTS}:
        stale.unlink()
    for game in VARIANTS:
        transcript_file(game).write_text(transcript(game), encoding="utf-8")
