"""What `SelfPlayConfig` checks before anything heavy: numbers, JSON, agents, and the sizes of a batch."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transformers.trainer_utils import IntervalStrategy

from spiral_envs.agents.registry import check_agent
from spiral_envs.errors import MissingExtraError
from spiral_envs.sources import find_source
from spiral_envs.tree import walk
from spiral_trl.requests import NO_OPTIONS

if TYPE_CHECKING:
    from spiral_trl.config import SelfPlayConfig

_WHOLE: Final = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 1,
    "num_iterations": 1,
    "games_per_batch": 1,
    "max_prompt_length": 1,
    "max_concurrent_games": 1,
    "max_steps": 1,
    "max_completion_length": 1,
    "eval_pairs": 1,
    "nash_conv_steps": 0,
    "top_k": 0,
}
"""The fields that are whole numbers, each with its least value."""

_ABOVE_0: Final = frozenset(
    {"temperature", "top_p", "repetition_penalty", "gamma", "logprob_gap_alarm", "logging_steps", "save_steps"}
)
"""The fields that are finite numbers above 0."""

_AT_LEAST_0: Final = frozenset(
    {"min_p", "beta", "learning_rate", "max_grad_norm", "fault_penalty", "eval_steps", "league_disk_gb"}
)
"""The fields that are finite numbers from 0."""

_AT_MOST_1: Final = frozenset({"top_p", "min_p", "gamma"})
"""Those that are shares."""

_LISTS: Final = ("games", "game_weights", "eval_agents", "eval_on", "nash_conv_games")

_NOT_IN_TRANSFORMERS: Final = frozenset({"max_new_tokens", "max_length", "num_return_sequences"})
"""The names that transformers has for options that change what a reply is."""

_EXAMPLES: Final = {"opponents": '{"self": 0.5, "random": 0.5}', "generation_kwargs": '{"top_k": 20}'}


def check_numbers(args: SelfPlayConfig) -> None:
    """Raises ValueError on a number out of its range, or on a list that is none.

    It comes before the checks of the base classes, which divide by some of these numbers.
    """
    for name, least in _WHOLE.items():
        value: object = getattr(args, name)  # the message names the field
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name} is {value!r}: expected a whole number from {least}")  # noqa: TRY004 - as any other
        if value < least:
            raise ValueError(f"{name} is {value!r}: expected at least {least}")
    for name in (*sorted(_ABOVE_0), *sorted(_AT_LEAST_0)):
        value = getattr(args, name)
        if value is not None and not _is_in_range(name, value):
            least = "above 0" if name in _ABOVE_0 else "at least 0"
            most = " and at most 1" if name in _AT_MOST_1 else ""
            raise ValueError(f"{name} is {value!r}: expected {least}{most}")
    for name in _LISTS:
        value = getattr(args, name)
        if value is not None and not isinstance(value, list):
            raise ValueError(f"{name} is {value!r}: expected a list")


def read_json(name: str, value: object) -> object:
    """Returns a field that the command line gives as JSON; one that is no text is as it was.

    Raises:
        ValueError: The text is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"{name} is {value!r}: expected JSON{_example(name)} ({error})") from error


def checked_mapping(name: str, value: object) -> dict[str, object]:
    """Returns a field that is a mapping, perhaps written as JSON.

    Raises:
        ValueError: It is something else.
    """
    read = read_json(name, value)
    if not isinstance(read, dict):
        raise ValueError(f"{name} is {value!r}: expected JSON{_example(name)}")  # noqa: TRY004 - as any other
    return {str(key): each for key, each in read.items()}


def checked_weights(value: object) -> dict[str, float]:
    """Returns the weights of the opponents, whose sum is checked elsewhere.

    Raises:
        ValueError: They are no mapping, or one of them is no number.
    """
    weights: dict[str, float] = {}
    for opponent, weight in checked_mapping("opponents", value).items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise ValueError(f"opponents gives {opponent!r} the weight {weight!r}: expected a number")  # noqa: TRY004
        weights[opponent] = weight
    return weights


def check_generation_options(options: object) -> None:
    """Raises ValueError on options of generation that change what a reply is."""
    if options is None:
        return
    refused = sorted((NO_OPTIONS | _NOT_IN_TRANSFORMERS) & set(checked_mapping("generation_kwargs", options)))
    if refused:
        raise ValueError(f"generation_kwargs has {', '.join(refused)}: self-play decides how a reply ends")


def num_generations_of(args: SelfPlayConfig) -> int:
    """Returns a number of generations that TRL accepts: the least from 2 that divides a batch.

    TRL groups the completions of a prompt; self-play has no such groups, and the number decides nothing else.

    Raises:
        ValueError: A batch has a single row.
    """
    rows = args.generation_batch_size or args.per_device_train_batch_size * (
        args.steps_per_generation or args.gradient_accumulation_steps
    )
    if rows < 2:
        raise ValueError(
            f"a batch has {rows} row: expected at least 2, so raise per_device_train_batch_size or"
            " gradient_accumulation_steps"
        )
    return next(each for each in range(2, rows + 1) if rows % each == 0)


def check_agents(field: str, agents: Iterable[str], games: Sequence[str]) -> None:
    """Raises when one of `agents` surely cannot play one of `games`; nothing is downloaded or loaded.

    Raises:
        UnknownNameError: No such kind of agent.
        ValueError: A person, an argument that cannot be read, a folder that does not exist, or a game of another kind.
        MissingExtraError: The agent needs packages that are not installed.
    """
    for agent in agents:
        kind, _, argument = agent.partition(":")
        if kind == "human":
            raise ValueError(f"{field} names human: nobody could answer so many games at once")
        if kind in ("hf", "vllm"):
            _check_model(field, agent, argument)
        check_agent(agent, games)


def check_nash_conv(games: Sequence[str]) -> None:
    """Raises ValueError on a game in which NashConv cannot be measured.

    Raises:
        MissingExtraError: OpenSpiel is not installed.
        ValueError: The rules cannot be read, the moves cannot be listed, or the tree is too large.
    """
    if find_spec("pyspiel") is None:
        raise MissingExtraError("NashConv (nash_conv_steps)", "openspiel")
    for game in games:
        spec = find_source(game).spec
        if spec is None:
            raise ValueError(f"nash_conv_games has {game}: its rules cannot be read, so NashConv is not known")
        if spec.talk:
            raise ValueError(f"nash_conv_games has {game}: players may say words of their own, which no list has")
        if spec.game.num_players != 2:
            raise ValueError(f"nash_conv_games has {game} with {spec.game.num_players} seats: expected 2")
        _check_size(game)


def check_steps(args: SelfPlayConfig) -> None:
    """Raises ValueError on numbers of steps of which one does not go into another."""
    batches, per_step = args.num_iterations * args.parts_per_batch, args.gradient_accumulation_steps
    if batches < per_step or batches % per_step:
        raise ValueError(
            f"gradient_accumulation_steps is {per_step}: expected a divisor of {batches}, the micro-batches of a batch"
            " of games (steps_per_generation * num_iterations)"
        )
    steps_per_batch = batches // per_step
    if args.max_steps % steps_per_batch:
        raise ValueError(
            f"max_steps is {args.max_steps!r}: expected a multiple of {steps_per_batch}, the optimizer steps on a batch"
            " of games"
        )
    if args.save_strategy == "steps" and _in_steps(args.save_steps, args.max_steps) % steps_per_batch:
        raise ValueError(
            f"save_steps is {args.save_steps!r}: expected a multiple of {steps_per_batch}, the optimizer steps"
            " on a batch of games, because a checkpoint within a batch would lose the rest of it"
        )
    _check_logging(args)


def _check_logging(args: SelfPlayConfig) -> None:
    """Raises ValueError on steps of saving or measuring that fall between two lines of metrics."""
    if args.logging_strategy != "steps":
        if args.nash_conv_steps:
            strategy = IntervalStrategy(args.logging_strategy).value
            raise ValueError(
                f"logging_strategy is {strategy!r} with nash_conv_steps {args.nash_conv_steps}: expected 'steps',"
                " because NashConv is measured where a line of metrics is written"
            )
        return
    logging_steps = _in_steps(args.logging_steps, args.max_steps)
    if args.save_strategy == "steps" and _in_steps(args.save_steps, args.max_steps) % logging_steps:
        raise ValueError(
            f"save_steps is {args.save_steps!r}: expected a multiple of logging_steps, {args.logging_steps!r}, because"
            " a run resumed between two lines of metrics would log another loss"
        )
    if args.nash_conv_steps % logging_steps:
        raise ValueError(
            f"nash_conv_steps is {args.nash_conv_steps!r}: expected a multiple of logging_steps,"
            f" {args.logging_steps!r}, because NashConv is measured where a line of metrics is written"
        )


def _in_steps(steps: float, max_steps: int) -> int:
    """Returns a number of steps that may be a share of all of them, as transformers reads it."""
    return math.ceil(max_steps * steps) if steps < 1 else int(steps)


def _is_in_range(name: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    is_high_enough = value > 0 if name in _ABOVE_0 else value >= 0
    return is_high_enough and (value <= 1 or name not in _AT_MOST_1)


def _example(name: str) -> str:
    return f" such as {_EXAMPLES[name]}" if name in _EXAMPLES else ""


def _check_model(field: str, agent: str, path: str) -> None:
    """Raises ValueError where an agent names no model, or a folder that is not there; hub ids are not looked up."""
    if not path:
        raise ValueError(f"{field} names {agent!r} without a model: expected {agent.rstrip(':')}:PATH_OR_ID")
    if path.startswith((".", "/", "~")) and not Path(path).exists():
        raise ValueError(f"{field} names {agent!r}: there is no folder {path}")


@cache
def _check_size(game: str) -> None:
    """Raises ValueError on a tree that is too large to be measured."""
    spec = find_source(game).spec
    assert spec is not None, "checked by the caller"
    for _ in walk(spec):
        pass
