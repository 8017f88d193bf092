"""Games of experts as training data: who plays whom, the record of it, and what a model learns to imitate.

The record holds every game with its seed and its replies. What a player saw is not stored: a game is played again from
its seed and its moves, which gives the same views, so that the prompts are those of self-play.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple, TypedDict

from transformers import PreTrainedTokenizerBase

from spiral_envs.agents import Agent
from spiral_envs.chance import match_seed
from spiral_envs.extraction import Rule, extract
from spiral_envs.match import Fault, InvalidMove, Match, Reply, View
from spiral_envs.play import play
from spiral_envs.sources import find_source
from spiral_trl.records import JsonLines
from spiral_trl.sampling import PromptEncoder, Sampler, token_id

HELD_OUT: Final = 0.05
"""The share of the games that no example is taken from, so that the model can be measured on them."""


class Keep(StrEnum):
    """Whose turns become examples."""

    ALL = "all"
    """Every seat's."""

    WINS = "wins"
    """The winner's: the seats with the highest return of a game in which not all returns are equal."""

    WINS_AND_DRAWS = "wins_and_draws"
    """The winner's, and every seat's where all returns are equal."""


class ExpertGame(NamedTuple):
    """A game to record.

    Attributes:
        number: Its position in the recording, from 0.
        game: The game's label.
        seed: The seed of the match.
        experts: The agent string of every seat.
    """

    number: int
    game: str
    seed: int
    experts: tuple[str, ...]


class RecordedTurn(NamedTuple):
    """A turn of a recorded game; the attributes are those of `spiral_envs.match.Turn`."""

    seat: int
    observation: str
    response: str
    move: str | None
    rule: Rule
    fault: Fault | None


class RecordedGame(NamedTuple):
    """A recorded game.

    Attributes:
        plan: What was to be played.
        returns: The payoff of every seat.
        turns: Every turn, in order.
    """

    plan: ExpertGame
    returns: tuple[float, ...]
    turns: tuple[RecordedTurn, ...]


class Example(NamedTuple):
    """What an expert was shown and what it answered.

    Attributes:
        game: The game that the turn is of.
        turn: The position of the turn in its game, from 0.
        view: What the expert was shown.
        completion: The reply to imitate, without an end-of-sequence token.
    """

    game: RecordedGame
    turn: int
    view: View
    completion: str


class Row(TypedDict):
    """An example as token ids, in the form that TRL's `SFTTrainer` takes pretokenised data.

    Attributes:
        input_ids: The prompt, the completion and the end-of-sequence token.
        completion_mask: 0 for every token of the prompt and 1 for the others.
    """

    input_ids: list[int]
    completion_mask: list[int]


def plan_games(experts: Sequence[str], games: Sequence[str], *, num_games: int, seed: int) -> list[ExpertGame]:
    """Returns which games are played, by whom and from which seeds; a longer plan begins as a shorter one.

    The games are taken in turn, and for each of them the seatings. One expert plays itself. With several, every seating
    in which as many different experts sit as can comes equally often, so every pair meets with either one to begin.

    Args:
        experts: Agent strings; one that is named twice counts once.
        games: Games; one that is named twice is played twice as often.
        num_games: How many games; a multiple of `len(games)` times the number of seatings leaves none over.
        seed: The seed of the recording; every game number gives another seed.

    Raises:
        UnknownNameError: No such game.
    """
    sources = [find_source(game) for game in games]
    plans: list[ExpertGame] = []
    for number in range(num_games):
        round_number, at = divmod(number, len(games))
        possible = _seatings(tuple(dict.fromkeys(experts)), len(sources[at].roles))
        seating = possible[round_number % len(possible)]
        plans.append(ExpertGame(number, sources[at].label, match_seed(seed, number), seating))
    return plans


def record_games(
    file: JsonLines,
    plans: Sequence[ExpertGame],
    agents: Mapping[str, Agent],
    *,
    concurrency: int,
    on_game: Callable[[], None],
) -> None:
    """Plays the games and appends each to `file` as it ends.

    One game of every kind is played first, so that an expert that cannot play one says so at once.

    Args:
        file: Gets an `Episode` as JSON a line, with its `number` and the agent strings as `experts`.
        plans: The games to play.
        agents: The agents by their agent strings.
        concurrency: The most games in progress.
        on_game: Called after every game.

    Raises:
        ValueError: An expert cannot play a game.
    """
    for batch in _batches(plans):
        matches = (find_source(plan.game).start(seed=plan.seed, invalid_move=InvalidMove.FORFEIT) for plan in batch)
        seating = [agents[expert] for expert in batch[0].experts]
        for episode in play(matches, seating, concurrency=concurrency):
            plan = batch[episode.index]
            record = episode._replace(index=plan.number).to_json()
            file.append([{"number": plan.number, "experts": list(plan.experts), **record}])
            on_game()


def read_games(path: Path, plans: Sequence[ExpertGame]) -> dict[int, RecordedGame]:
    """Returns the planned games that the file at `path` holds, by number; those beyond the plan are left out.

    Raises:
        ValueError: The file holds other games than those.
    """
    by_number = {plan.number: plan for plan in plans}
    games: dict[int, RecordedGame] = {}
    for record in JsonLines(path).read():
        try:
            game = _parse(record)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no recording of games: a line of it cannot be read ({error!r})") from error
        plan = by_number.get(game.plan.number)
        if plan is None:
            continue
        if game.plan != plan:
            raise ValueError(
                f"{path} holds another recording: its game {plan.number} is {_describe(game.plan)}, and here it would"
                f" be {_describe(plan)}: choose another output_dir, or what was recorded there"
            )
        games[plan.number] = game
    return games


def examples_of(game: RecordedGame, *, keep: Keep) -> Iterator[Example]:
    """Yields the turns of the kept seats of a game; a turn with a fault is never one.

    Raises:
        ValueError: The game goes otherwise when it is played again: its rules are no longer those of the recording.
    """
    seats = kept_seats(game.returns, keep)
    match = _start(game)
    for at, turn in enumerate(game.turns):
        # It ended the game.
        if turn.fault is not None or turn.move is None:
            return
        view = _view_to_move(match, game, turn)
        completion = completion_of(turn.response, turn.move, turn.rule)
        match.submit(completion)
        played = match.turns[-1]
        if played.move != turn.move:
            raise _other_rules(game)
        if turn.seat in seats and played.trainable:
            yield Example(game, at, view, completion)


def kept_seats(returns: Sequence[float], keep: Keep) -> frozenset[int]:
    """Returns the seats whose turns become examples."""
    best = max(returns)
    if keep is Keep.ALL:
        return frozenset(range(len(returns)))
    if keep is Keep.WINS and min(returns) == best:
        return frozenset()
    return frozenset(seat for seat, each in enumerate(returns) if each == best)


def completion_of(response: str, move: str, rule: Rule) -> str:
    r"""Returns the reply to imitate: what the expert wrote, or its move in a box where it wrote nothing else.

    Search agents answer with a move's own text; a model learns to answer as it is asked to, `\boxed{[4]}`. A move that
    a box cannot hold, because its own braces would close it, stays as it is: that is read as a move, too.
    """
    if rule is not Rule.OWN_TEXT:
        return response
    boxed = f"\\boxed{{{move}}}"
    return boxed if extract(boxed, lambda _: False).text == move else move


def split_games(numbers: Iterable[int], *, seed: int) -> tuple[frozenset[int], frozenset[int]]:
    """Returns the games to train on and those held out: a share of `HELD_OUT`, at least one unless there is only one.

    Whole games are held out, because the turns of one game resemble each other.
    """
    known = sorted(numbers)
    num_held_out = max(1, round(HELD_OUT * len(known))) if len(known) > 1 else 0
    held_out = frozenset(random.Random(seed).sample(known, num_held_out))
    return frozenset(known) - held_out, held_out


def make_row(example: Example, encoder: PromptEncoder, tokenizer: PreTrainedTokenizerBase) -> Row:
    """Returns the token ids of an example; those of the prompt are what self-play gives the model for the same view."""
    prompt = encoder.encode(example.view)
    # As plain text: what an expert wrote writes no control tokens.
    written: list[int] = tokenizer(example.completion, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    completion = [*written, token_id(tokenizer, "eos_token")]
    return {"input_ids": [*prompt, *completion], "completion_mask": [0] * len(prompt) + [1] * len(completion)}


def legal_share(
    sampler: Sampler, encoder: PromptEncoder, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> float:
    """Returns the share of the examples' views that the sampler answers with a legal move, 0..1.

    A reply is read as in a game, and one that is cut by the length limit is none.

    Raises:
        ValueError: There are no examples.
    """
    if not examples:
        raise ValueError("a share needs at least one example")
    samples = sampler.sample([encoder.encode(example.view) for example in examples])
    texts = tokenizer.batch_decode([list(sample.token_ids) for sample in samples], skip_special_tokens=True)
    num_legal = 0
    for example, sample, text in zip(examples, samples, texts, strict=True):
        match = _match_before(example)
        match.submit(Reply(text, None if sample.is_finished else Fault.TRUNCATED))
        num_legal += match.turns[-1].fault is None
    return num_legal / len(examples)


def _seatings(experts: tuple[str, ...], num_seats: int) -> list[tuple[str, ...]]:
    """Returns who may sit where, seatings of the same experts side by side."""
    num_different = min(len(experts), num_seats)
    orders = [seating for seating in product(experts, repeat=num_seats) if len(set(seating)) == num_different]
    place = {expert: at for at, expert in enumerate(experts)}
    return sorted(orders, key=lambda seating: sorted(place[expert] for expert in seating))


def _batches(plans: Sequence[ExpertGame]) -> Iterator[list[ExpertGame]]:
    """Yields the games by seating: first one of every game and seating, then all others."""
    kinds: set[tuple[str, tuple[str, ...]]] = set()
    first: dict[tuple[str, ...], list[ExpertGame]] = defaultdict(list)
    others: dict[tuple[str, ...], list[ExpertGame]] = defaultdict(list)
    for plan in plans:
        kind = (plan.game, plan.experts)
        (others if kind in kinds else first)[plan.experts].append(plan)
        kinds.add(kind)
    yield from first.values()
    yield from others.values()


def _parse(record: Mapping[str, Any]) -> RecordedGame:
    plan = ExpertGame(record["number"], record["game"], record["seed"], tuple(record["experts"]))
    turns = tuple(
        RecordedTurn(
            turn["seat"],
            turn["observation"],
            turn["response"],
            turn["move"],
            Rule(turn["rule"]),
            None if turn["fault"] is None else Fault(turn["fault"]),
        )
        for turn in record["turns"]
    )
    return RecordedGame(plan, tuple(record["returns"]), turns)


def _start(game: RecordedGame) -> Match:
    return find_source(game.plan.game).start(seed=game.plan.seed, invalid_move=InvalidMove.FORFEIT)


def _match_before(example: Example) -> Match:
    """Returns the match as it was when the turn of the example was to be taken."""
    match = _start(example.game)
    for turn in example.game.turns[: example.turn]:
        _view_to_move(match, example.game, turn)
        match.submit(turn.response)
    return match


def _view_to_move(match: Match, game: RecordedGame, turn: RecordedTurn) -> View:
    """Returns what the seat of a recorded turn is shown in the match that is played again."""
    if match.seat_to_move != turn.seat:
        raise _other_rules(game)
    view = match.view(turn.seat)
    if view.observation != turn.observation:
        raise _other_rules(game)
    return view


def _other_rules(game: RecordedGame) -> ValueError:
    return ValueError(
        f"game {game.plan.number} of the recording, {game.plan.game}, does not go as it did when it is played again:"
        " the rules have changed since: record it anew in another output_dir"
    )


def _describe(plan: ExpertGame) -> str:
    return f"{plan.game} between {' and '.join(plan.experts)} with seed {plan.seed}"
