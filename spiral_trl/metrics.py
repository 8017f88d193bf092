"""What is logged about the games of a batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import TypeAlias

from spiral_envs.episode import Episode
from spiral_envs.match import Fault
from spiral_trl.advantages import RoleBaseline
from spiral_trl.sampling import SampledReply

GameSummary: TypeAlias = dict[str, float]


def batch_metrics(
    episodes: Sequence[Episode], advantages: Sequence[Sequence[float]], baseline: RoleBaseline, *, opponent: str
) -> GameSummary:
    """Returns the figures of a batch, by name.

    Names are `game/figure` and `game/role/figure`: `faults` is faults a game; `faults/REASON` the same by reason;
    `win`, `draw` and `loss` are shares of the games; `reply_tokens` is the mean length of a reply; `advantage_std` the
    spread of the advantages over games; `baseline` and `baseline_count` the state after the batch.

    Args:
        episodes: Finished games.
        advantages: For every game, one advantage a seat.
        baseline: After the batch.
        opponent: The kind of opponent in the baselines' keys.
    """
    figures: GameSummary = {}
    by_game: dict[str, list[int]] = defaultdict(list)
    for index, episode in enumerate(episodes):
        by_game[episode.game].append(index)
    for game, indices in by_game.items():
        games = [episodes[index] for index in indices]
        turns = [turn for episode in games for turn in episode.turns]
        figures[f"{game}/turns"] = len(turns) / len(games)
        figures[f"{game}/faults"] = sum(turn.fault is not None for turn in turns) / len(games)
        for fault in Fault:
            figures[f"{game}/faults/{fault.value}"] = sum(turn.fault is fault for turn in turns) / len(games)
        lengths = [len(turn.response.token_ids) for turn in turns if isinstance(turn.response, SampledReply)]
        if lengths:
            figures[f"{game}/reply_tokens"] = fmean(lengths)
        for seat, role in enumerate(games[0].roles):
            returns = [episode.outcome.returns[seat] for episode in games]
            prefix = f"{game}/{role}"
            figures[f"{prefix}/return"] = fmean(returns)
            figures[f"{prefix}/win"] = sum(each > 0 for each in returns) / len(games)
            figures[f"{prefix}/draw"] = sum(each == 0 for each in returns) / len(games)
            figures[f"{prefix}/loss"] = sum(each < 0 for each in returns) / len(games)
            figures[f"{prefix}/advantage_std"] = pstdev(advantages[index][seat] for index in indices)
            key = (game, role, opponent)
            figures[f"{prefix}/baseline"] = baseline.value(key)
            figures[f"{prefix}/baseline_count"] = baseline.count(key)
    return figures
