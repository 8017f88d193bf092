"""A made-up tournament: five agents of known strength, two games, faults, aborted games and hostile replies."""

import json
from itertools import combinations
from typing import Final

import numpy as np

import spiral_envs
from spiral_envs.arena.records import ABORTED_FILE, GAMES_FILE, TOURNAMENT_FILE
from spiral_envs.episode import Episode
from spiral_envs.json_lines import JsonLines

TIC: Final = "tic_tac_toe_v0"

KUHN: Final = "kuhn_poker_v0"

GAMES: Final = (TIC, KUHN)

LONG: Final = "hf:org/A-Model-With-A-Long-Name-7B-Instruct?temperature=0.6&top_p=0.95&max_tokens=512&step=400"

FAULT_RATES: Final = {
    "steady": 0.0,
    LONG: 0.02,
    "openai:gpt@https://example.org/v1": 0.05,
    "greedy": 0.1,
    "clumsy": 0.3,
}
"""How often each agent makes a fault on its turn; all move at random otherwise, so fewer faults are stronger."""

AGENTS: Final = tuple(FAULT_RATES)

HOSTILE: Final = (
    "\n<script>window.hacked = 1; alert(1)</script></script><!-- <script> -->"
    '<img src=x onerror="window.hacked = 2"><svg onload="window.hacked = 3">'
    "<a href='javascript:window.hacked=4'>link</a>{{ 7 * 7 }}{% raw %}\u2028\u2029"
    "</pre></textarea></title><style>body { display: none }</style>"
    "\u202eright to left\u202c \x1b[2J\x00\x07 \ud800 half, **bold** [x](http://example.org/x) `code` ${7*7} \\u003c "
    "\u05e9\u05dc\u05d5\u05dd e" + "\u0301" * 300 + " end"
)
"""What a model could write to break out of a page."""

HUGE: Final = "thinking … " * 100_000 + "[4]"
"""A reply of 1.1 million characters, with its move at the end."""


def write_tournament(folder, *, pairs=6, seed=0):
    """Writes the files of a tournament of every two agents in both games."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"seed": seed, "invalid_move": "forfeit", "games": list(GAMES), "agents": list(AGENTS), "pairs": pairs}
    (folder / TOURNAMENT_FILE).write_text(json.dumps(settings), encoding="utf-8")
    records = [
        {**_played(game, seats, pair, rng).to_json(), "id": f"{game}-{pair}-{number}", "pair": pair, "time_s": 0.1}
        for pair in range(pairs)
        for game in GAMES
        for number, seats in enumerate(ordered for two in combinations(AGENTS, 2) for ordered in (two, two[::-1]))
    ]
    JsonLines(folder / GAMES_FILE).append(records)
    aborted = [
        {"id": f"lost-{number}", "game": KUHN, "pair": 90 + number, "agents": [AGENTS[0], AGENTS[2]], "reason": reason}
        for number, reason in enumerate(("timeout <b>after</b> 60 s", "HTTP 500"))
    ]
    JsonLines(folder / ABORTED_FILE).append(aborted)
    return folder


def write_hostile(folder):
    """Writes a tournament in which every text that others write is hostile."""
    write_tournament(folder, pairs=2)
    record = record_of(
        "hostile",
        game=f"{TIC}(x={HOSTILE})",
        agents=(f"evil{HOSTILE}", "steady"),
        turns=[
            turn(0, response=HOSTILE, observation=HOSTILE, move=HOSTILE, reason=HOSTILE, fault="illegal"),
            turn(1, response=HUGE, move="[4]"),
            turn(0, response="\ud83d\ude00 and \ud83d", fault="malformed", move="", reason=f"no move in {HOSTILE}"),
        ],
    )
    record |= {"roles": [f"X{HOSTILE}", "O"], "offender": 0, "fault": "malformed", "reason": HOSTILE}
    other = record_of("hostile-2", game=record["game"], agents=("steady", f"evil{HOSTILE}"), turns=[turn(0), turn(1)])
    JsonLines(folder / GAMES_FILE).append([record, other])
    reason = f"error {HOSTILE}"
    attempt = {"id": f"x{HOSTILE}", "game": KUHN, "pair": 1, "agents": [f"evil{HOSTILE}", "steady"], "reason": reason}
    JsonLines(folder / ABORTED_FILE).append([attempt])
    settings = {"seed": 0, "agents": [HOSTILE], HOSTILE: HOSTILE}
    (folder / TOURNAMENT_FILE).write_text(json.dumps(settings), encoding="utf-8")
    return folder


def record_of(game_id, *, game=TIC, pair=0, agents=("steady", "clumsy"), turns=(), returns=(1.0, -1.0), fault=None):
    """Returns a line of games.jsonl; with a fault, seat 1 forfeits by it."""
    return {
        "id": game_id,
        "index": 0,
        "game": game,
        "seed": 7,
        "roles": ["X", "O"],
        "agents": list(agents),
        "returns": list(returns),
        "termination": "forfeit" if fault else "finished",
        "offender": 1 if fault else None,
        "fault": fault,
        "reason": f"{fault} reply" if fault else "",
        "turns": list(turns),
        "pair": pair,
        "time_s": 1.0,
        "usage": {},
    }


def turn(seat, *, observation="Board", response="[1]", move="[1]", fault=None, reason=""):
    """Returns a turn of a line of games.jsonl."""
    return {
        "seat": seat,
        "observation": observation,
        "response": response,
        "move": move,
        "rule": "boxed",
        "fault": fault,
        "reason": reason,
    }


def _played(game, seats, pair, rng):
    match = spiral_envs.make_match(game, seed=pair)
    while match.seat_to_move is not None:
        seat = match.seat_to_move
        moves = match.view(seat).legal_moves or ()
        move = moves[rng.integers(len(moves))]
        if rng.random() < FAULT_RATES[seats[seat]]:
            match.submit("I would rather not move this time.")
        else:
            match.submit(f"The board says <b>{len(moves)}</b> moves & I weigh them one by one.\n\\boxed{{{move}}}")
    return Episode.of(match, index=0, agents=seats)
