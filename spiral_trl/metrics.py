"""What is logged about the games of a batch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.episode import Episode
from spiral_envs.extraction import Rule, extract
from spiral_envs.match import Fault, Turn
from spiral_trl.advantages import GLOBAL_KEY, Estimator, Key, RoleBaseline
from spiral_trl.sampling import SampledReply
from spiral_trl.schedule import SELF, GamePlan

Figures: TypeAlias = dict[str, float]

_THINK_TAG: Final = re.compile("</?think>")
_MARKS: Final = re.compile(r"[\W_]+")


class _SeatRecord(NamedTuple):
    """What a learner's seat was in one game: its game's record, the number of the seat, and its advantage."""

    episode: Episode
    seat: int
    advantage: float


def batch_metrics(
    episodes: Sequence[Episode],
    plans: Sequence[GamePlan],
    advantages: Sequence[Sequence[float]],
    baseline: RoleBaseline,
    *,
    estimator: Estimator,
) -> Figures:
    """Returns the figures of a batch, by name.

    - `GAME/…`: `turns` a game of all players; of the learner alone `faults` a game and `faults/REASON` by reason,
      `reply_tokens` as the mean length of a reply, `empty_reasoning` as the share of the generated replies that hold
      nothing beyond the answer, `share_of_games` and `share_of_turns` of the batch.
    - `GAME/ROLE/…` over the games against itself: the mean `return`, the shares of games `win`, `draw` and `loss`, the
      spread `advantage_std` of the advantages over games, and the `baseline` after the batch, of `baseline_count`
      returns.
    - `GAME/ROLE/vs KIND/…` over the games against another kind of opponent, where ROLE is the learner's: `games`, their
      number, `faults`, the learner's a game, and `return`, `win`, `draw`, `loss` and the baseline as above.
    - `global/baseline` and `global/baseline_count`, where there is one baseline for everything.

    Returns are those of the games, before any shaping. The numbers are the same in whatever order the games come.

    Args:
        episodes: Finished games.
        plans: The plan of every game.
        advantages: For every game, one advantage a seat.
        baseline: After the batch.
        estimator: Says whose baselines there are.
    """
    by_game: defaultdict[str, list[tuple[Episode, GamePlan]]] = defaultdict(list)
    against: defaultdict[Key, list[_SeatRecord]] = defaultdict(list)
    for episode, plan, scores in zip(episodes, plans, advantages, strict=True):
        # The plan may spell the game in another way than its label.
        by_game[episode.game].append((episode, plan))
        for seat in plan.learner_seats:
            key = (episode.game, episode.roles[seat], plan.opponent)
            against[key].append(_SeatRecord(episode, seat, scores[seat]))
    figures: Figures = {}
    for game, played in by_game.items():
        figures |= _game_figures(game, played)
        figures[f"{game}/share_of_games"] = len(played) / len(episodes)
    num_turns = {game: sum(len(_learner_turns(*each)) for each in played) for game, played in by_game.items()}
    for game, number in num_turns.items():
        figures[f"{game}/share_of_turns"] = number / max(1, sum(num_turns.values()))
    for key, records in against.items():
        figures |= _role_figures(key, records)
        if estimator is Estimator.RAE:
            figures |= _baseline_figures(_prefix(key), key, baseline)
    if episodes and estimator is Estimator.GLOBAL:
        figures |= _baseline_figures("global", GLOBAL_KEY, baseline)
    return figures


def _learner_turns(episode: Episode, plan: GamePlan) -> list[Turn]:
    return [turn for turn in episode.turns if turn.seat in plan.learner_seats]


def _game_figures(game: str, played: Sequence[tuple[Episode, GamePlan]]) -> Figures:
    """Returns the figures of a game over all its players' roles and opponents."""
    num_games = len(played)
    turns = [turn for episode, plan in played for turn in _learner_turns(episode, plan)]
    figures: Figures = {
        f"{game}/turns": sum(len(episode.turns) for episode, _ in played) / num_games,
        f"{game}/faults": sum(turn.fault is not None for turn in turns) / num_games,
    }
    for fault in Fault:
        figures[f"{game}/faults/{fault.value}"] = sum(turn.fault is fault for turn in turns) / num_games
    lengths = [len(turn.response.token_ids) for turn in turns if isinstance(turn.response, SampledReply)]
    if lengths:
        figures[f"{game}/reply_tokens"] = fmean(lengths)
    # Where the prompt was too long, the model was not asked.
    replies = [
        turn
        for turn in turns
        if isinstance(turn.response, SampledReply) and turn.response.fault is not Fault.PROMPT_TOO_LONG
    ]
    if replies:
        figures[f"{game}/empty_reasoning"] = fmean(map(_is_bare_answer, replies))
    return figures


def _role_figures(key: Key, records: Sequence[_SeatRecord]) -> Figures:
    """Returns the figures of the learner in one role of a game against one kind of opponent."""
    prefix, num_games = _prefix(key), len(records)
    returns = [record.episode.outcome.returns[record.seat] for record in records]
    figures: Figures = {
        f"{prefix}/return": fmean(returns),
        f"{prefix}/win": sum(each > 0 for each in returns) / num_games,
        f"{prefix}/draw": sum(each == 0 for each in returns) / num_games,
        f"{prefix}/loss": sum(each < 0 for each in returns) / num_games,
    }
    _, _, opponent = key
    if opponent == SELF:
        figures[f"{prefix}/advantage_std"] = pstdev(record.advantage for record in records)
        return figures
    faults = [turn for record in records for turn in record.episode.turns if turn.seat == record.seat and turn.fault]
    figures[f"{prefix}/games"] = num_games
    figures[f"{prefix}/faults"] = len(faults) / num_games
    return figures


def _baseline_figures(prefix: str, key: Key, baseline: RoleBaseline) -> Figures:
    return {f"{prefix}/baseline": baseline.value(key), f"{prefix}/baseline_count": baseline.count(key)}


def _prefix(key: Key) -> str:
    game, role, opponent = key
    return f"{game}/{role}" if opponent == SELF else f"{game}/{role}/vs {opponent}"


def _is_bare_answer(turn: Turn) -> bool:
    r"""Returns whether the reply holds no letter and no digit outside of its answer.

    The answer is the box or bracket that extraction reads, or the move as the game writes it. Reasoning between
    `<think>` tags counts; the tags themselves, white space and marks such as the dollars of `$\boxed{4}$` do not.
    """
    reply = str(turn.response)
    words = _words(_THINK_TAG.sub(" ", reply))
    # Which brackets are moves, only the match knew: a reply that is one bracket and nothing else counts as its answer.
    answer = extract(reply, lambda token: True)
    read = f"boxed{answer.text}" if answer.rule is Rule.BOXED else answer.text
    # After a fault, the move is none or not the player's own.
    played = turn.move if turn.fault is None else None
    return words == _words(read) or (played is not None and words == _words(played))


def _words(text: str) -> str:
    """Returns the letters and digits of `text`, in one case."""
    return _MARKS.sub("", text).casefold()
