"""A made-up run folder with every file that a run can leave, for tests of what is made from it."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from spiral_trl.checkpoints import finish
from spiral_trl.evaluation import SeatResult
from spiral_trl.records import JsonLines
from spiral_trl.report import Strength

TIC = "tic_tac_toe_v0"
KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"
ROLES = {TIC: ("X", "O"), KUHN: ("Player 0", "Player 1")}
HOSTILE = (
    "</pre><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}&amp; \u202e\x1b[2J\x00\ud800 🎲"
)
REASONS = ("malformed", "illegal", "truncated", "prompt_too_long")


def metrics_record(step: int, num_steps: int, rng: random.Random) -> dict[str, Any]:
    """Returns one line of `metrics.jsonl`: a model that learns, with noise."""
    done = step / num_steps
    record: dict[str, Any] = {
        "step": step,
        "loss": 0.1 * (1 - done) + rng.gauss(0, 0.01),
        "grad_norm": 0.3 - 0.2 * done,
    }
    for game, roles in ROLES.items():
        first = 0.4 * done + rng.gauss(0, 0.08)
        faults = [max(0.0, share * (1 - done) + rng.gauss(0, 0.01)) for share in (0.3, 0.4, 0.1, 0.0)]
        record |= {
            f"{game}/turns": 7.0 if game == TIC else 2.3,
            f"{game}/faults": sum(faults),
            **{f"{game}/faults/{reason}": value for reason, value in zip(REASONS, faults, strict=True)},
            f"{game}/reply_tokens": 60 + 200 * done + rng.gauss(0, 12),
            f"{game}/empty_reasoning": max(0.0, 0.2 - 0.2 * done),
            f"{game}/share_of_games": 0.25 if game == TIC else 0.75,
            f"{game}/share_of_turns": 0.5 + rng.gauss(0, 0.02),
        }
        for role, sign in zip(roles, (1, -1), strict=True):
            record |= {
                f"{game}/{role}/return": sign * first,
                f"{game}/{role}/draw": 0.1 + 0.3 * done,
                f"{game}/{role}/baseline": sign * 0.4 * done,
                f"{game}/{role}/baseline_count": step * 64,
                f"{game}/{role}/vs league/return": 0.3 * done + rng.gauss(0, 0.1),
                f"{game}/{role}/vs league/baseline": 0.3 * done,
                f"{game}/{role}/vs openai:m@http://h/v1/return": -0.5 + 0.4 * done + rng.gauss(0, 0.1),
            }
    for snapshot in range(0, step, 20):
        record |= {
            f"league/{snapshot}/games": 12,
            f"league/{snapshot}/score": 0.5 + 0.4 * (step - snapshot) / num_steps,
            f"league/{snapshot}/weight": 1 / (step // 20 + 1),
        }
    if step % 20 == 0:
        for agent in ("random", "mcts:100", HOSTILE):
            share = (0.6 if agent == "random" else 0.2) + 0.3 * done
            names = {"win_rate": share, "low": share - 0.08, "high": share + 0.07, "mean_return": 2 * share - 1}
            record |= {f"eval/{TIC} vs {agent}/{name}": value for name, value in names.items()}
    if step % 10 == 0:
        record[f"nash_conv/{KUHN}"] = 0.9 * math.exp(-2 * done)
        record[f"nash_conv/{KUHN}/other"] = 0.02
    record |= {
        "entropy": 1.2 - 0.7 * done,
        "kl": 0.02 * done,
        "sampling/logprob_gap_mean": 0.002,
        "sampling/logprob_gap_max": 0.2 + 0.1 * rng.random(),
        "sampling/ratio_mean": 1.0,
        "sampling/ratio_truncated": 0.001,
        "learning_rate": 1e-6 * (1 - done),
        "games": 64,
        "turns": 290,
        "play_time_s": 12.0,
        "play_tokens_per_s": 2_500.0,
        "step_time": 31.0,
    }
    return record


def game_record(
    number: int,
    *,
    step: int = 1,
    game: str = TIC,
    response: str = "[4]",
    opponent: str = "self",
    agent: str = "",
    **extra: Any,
) -> dict[str, Any]:
    """Returns one line of `games.jsonl`: a game of one turn, or what `extra` says."""
    roles = ROLES.get(game, ("X", "O"))
    turn = {
        "seat": 0,
        "observation": f"Board {number}",
        "response": response,
        "move": "[4]",
        "rule": "boxed",
        "fault": None,
        "reason": "",
    }
    return {
        "step": step,
        "number": number,
        "index": number,
        "game": game,
        "seed": number,
        "roles": list(roles),
        "agents": ["self", agent or opponent],
        "opponent": opponent,
        "learner_seats": [0, 1] if opponent == "self" else [0],
        "advantages": [0.75, -0.25],
        "returns": [1.0, -1.0],
        "termination": "finished",
        "offender": None,
        "fault": None,
        "reason": "",
        "turns": [turn],
        **extra,
    }


def faulty_game(number: int, fault: str, *, reason: str = "", **extra: Any) -> dict[str, Any]:
    """Returns a game that a fault of the first seat ended."""
    record = game_record(number, **extra)
    record["turns"][-1] |= {"fault": fault, "reason": reason, "move": None}
    return {**record, "returns": [-1.0, 1.0], "termination": "forfeit", "fault": fault, "reason": reason}


def seat_result(wins: int, *, games: int = 100, seat: int = 0, game: str = TIC, opponent: str = "random") -> SeatResult:
    """Returns a result without draws and faults."""
    return SeatResult(game, opponent, seat, ROLES.get(game, ("X", "O"))[seat], games, wins, 0, games - wins, 0, 0.0)


def _long_game(number: int, step: int) -> dict[str, Any]:
    board = [str(cell) for cell in range(9)]
    turns: list[dict[str, Any]] = []
    for seat, cell in ((0, 4), (1, 0), (0, 2), (1, 6), (0, 3), (1, 5), (0, 1), (1, 7), (0, 8)):
        text = "\n".join(" ".join(board[row : row + 3]) for row in (0, 3, 6))
        reasoning = f"The free cells are {', '.join(each for each in board if each.isdigit())}. "
        turns.append(
            {
                "seat": seat,
                "observation": f"Board:\n{text}\nYou play {'XO'[seat]}. It is your turn.",
                "response": f"<think>{reasoning * (1 + 4 * seat)}I take {cell}.</think>\\boxed{{[{cell}]}}",
                "move": f"[{cell}]",
                "rule": "boxed",
                "fault": None,
                "reason": "",
            }
        )
        board[cell] = "XO"[seat]
    return game_record(number, step=step, turns=turns, returns=[0.0, 0.0], advantages=[-0.21, 0.19])


def write_run(folder: Path, *, num_steps: int = 60, seed: int = 7) -> None:
    """Writes a run that was stopped by an alarm after `num_steps` of 200 steps, with hostile texts and torn lines."""
    rng = random.Random(seed)
    JsonLines(folder / "metrics.jsonl").append(metrics_record(step, num_steps, rng) for step in range(1, num_steps + 1))
    games: list[dict[str, Any]] = []
    for step in range(1, num_steps + 1, 5):
        number = 10 * step
        games += [
            _long_game(number, step),
            game_record(number + 1, step=step, game=KUHN, response="I bet. \\boxed{[bet]}"),
            faulty_game(number + 2, REASONS[step % 4], step=step, reason="the move is not allowed here"),
            game_record(number + 3, step=step, opponent="league", agent="league:20", game=KUHN),
            game_record(number + 4, step=step, opponent=f"openai:{HOSTILE}@http://h/v1"),
        ]
    games.append(faulty_game(9_999, HOSTILE, step=num_steps, reason=HOSTILE, response=f"\n{HOSTILE}", game=HOSTILE))
    JsonLines(folder / "games.jsonl").append(games)
    JsonLines(folder / "evaluations.jsonl").append(
        {"step": step, **seat_result(20 + step // 2 - 8 * seat, seat=seat, opponent=opponent).to_json()}
        for step in range(0, num_steps + 1, 20)
        for opponent in ("random", "mcts:100", HOSTILE)
        for seat in (0, 1)
    )
    JsonLines(folder / "alarms.jsonl").append(
        [
            {"step": num_steps - 1, "name": "empty_reasoning", "message": "12 % of the replies hold only the answer"},
            {"step": num_steps, "name": "empty_reasoning", "message": "14 % of the replies hold only the answer"},
            {"step": num_steps, "name": "draw_flood", "message": HOSTILE},
        ]
    )
    Strength((seat_result(20), seat_result(12, seat=1)), 0.9, 0.01, {TIC: 0.3}).save(folder / "before.json")
    Strength((seat_result(66), seat_result(45, seat=1)), 0.2, 0.01, {TIC: 0.02}).save(folder / "after.json")
    (folder / "about.json").write_text(json.dumps(["The model is a made-up one.", HOSTILE]))
    for step in (num_steps - 20, num_steps):
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir()
        state = {"global_step": step, "log_history": [{"step": step}] * 50, "max_steps": 200, "save_steps": 20}
        (checkpoint / "trainer_state.json").write_text(json.dumps(state, indent=2))
        finish(checkpoint, {"games_started": 1})
    (folder / "checkpoint-999").mkdir()
    (folder / "final").mkdir()
    for name in ("metrics", "games", "evaluations", "alarms"):
        with (folder / f"{name}.jsonl").open("a") as file:
            file.write('{"step": 61, "torn')
