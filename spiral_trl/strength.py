"""Measuring a model before, during and after self-play, with one seed, without touching the run's random state."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spiral_envs.registry import parse_game
from spiral_envs.solve import information_sets
from spiral_envs.sources import find_source
from spiral_trl.collector import collect
from spiral_trl.evaluation import SeatResult, evaluate
from spiral_trl.policy_reading import PolicyExploitability, model_exploitability
from spiral_trl.report import Strength
from spiral_trl.sampling import Context, GenerateSampler, ModelAgent, PromptEncoder

ONE_HAND: Final = "kuhn_poker_v0(hands=1,payoff=chips)"
"""The game in which NashConv is measured."""

TEMPERATURE: Final = 0.6
"""Of evaluated matches, as in arXiv 2506.24119."""

TOP_P: Final = 0.95
"""Of evaluated matches, as in arXiv 2506.24119."""

_SEED: Final = 20_250_630

_MAX_REASONINGS: Final = 16
"""In an information set, where NashConv is measured during a run."""

_MAX_REPLIES: Final = 4_096
"""Sampled for one NashConv during a run, so that it takes seconds."""

_REFERENCES: Final = {"tic_tac_toe_v0": ("random", "minimax")}


class ModelUnderTest:
    """A model with what is needed to play and to read it."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        encoder: PromptEncoder,
        *,
        max_completion_length: int,
        max_prompt_length: int,
        context: Context = Context.TURN,
    ) -> None:
        """Sets the model and its limits in tokens.

        Matches are played as SPIRAL evaluates (temperature 0.6, top-p 0.95); the policy is read at temperature 1.
        """
        self._model = model
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._sampler = GenerateSampler(model, tokenizer, max_new_tokens=max_completion_length)
        player = GenerateSampler(
            model, tokenizer, max_new_tokens=max_completion_length, temperature=TEMPERATURE, top_p=TOP_P
        )
        self._agent = ModelAgent(player, encoder, tokenizer, max_prompt_length=max_prompt_length, context=context)

    def exploitability(self, *, game: str = ONE_HAND, reasonings: int = _MAX_REASONINGS) -> PolicyExploitability:
        """Returns how far the model's own move probabilities are from perfect play in `game`.

        Args:
            game: A game that `spiral_envs.solve` can write out whole, such as Kuhn poker or Leduc poker.
            reasonings: How many reasonings are sampled in every information set. With few of them a model whose moves
                hang on its reasoning looks more predictable, and so more exploitable, than it is.

        Raises:
            MissingExtraError: OpenSpiel is not installed.
            UnknownNameError: No such game.
            ValueError: The game is too large, or its moves cannot be listed.
        """
        with own_random_state(self._model):
            return model_exploitability(
                self._model, self._tokenizer, self._encoder, self._sampler, game, reasonings=reasonings
            )

    def nash_conv(self, games: Sequence[str]) -> dict[str, float]:
        """Returns NashConv in every game as metrics.

        `nash_conv/LABEL` is the measure; `nash_conv/LABEL/other` is the most probability that the model puts on
        anything but a legal move in any information set, where the measure says little if that is much. In every
        information set up to 16 reasonings are sampled, fewer where there are many: 4 in Leduc poker.

        Raises:
            MissingExtraError: OpenSpiel is not installed.
            UnknownNameError: No such game.
            ValueError: A game is too large, or its moves cannot be listed.
        """
        metrics: dict[str, float] = {}
        for label in distinct_games(games):
            reasonings = max(1, min(_MAX_REASONINGS, _MAX_REPLIES // len(information_sets(label))))
            measured = self.exploitability(game=label, reasonings=reasonings)
            metrics[f"nash_conv/{label}"] = measured.result.nash_conv
            metrics[f"nash_conv/{label}/other"] = measured.other
        return metrics

    def strength(
        self, games: Sequence[str], *, games_per_seat: int, on_result: Callable[[SeatResult], None]
    ) -> Strength:
        """Returns the model's strength in `games`; the same model always gives the same figures.

        Args:
            games: The games of the run.
            games_per_seat: Matches in each seat against each reference agent, and matches against itself.
            on_result: Called with each result as it is known.
        """
        labels = distinct_games(games)
        results: list[SeatResult] = []
        with own_random_state(self._model):
            for result in evaluate(self._agent, pairings(games), games_per_seat=games_per_seat, seed=_SEED):
                results.append(result)
                on_result(result)
            faults = {label: self._faults(label, games_per_seat) for label in labels}
        measured = None
        if any(parse_game(label)[0] == "kuhn_poker_v0" for label in labels):
            measured = self.exploitability(reasonings=64)
        return Strength(
            tuple(results),
            measured.result.nash_conv if measured else None,
            measured.other if measured else None,
            faults,
        )

    def _faults(self, game: str, num_games: int) -> float:
        """Returns the share of matches against itself that end on a fault."""
        episodes = collect([game], (self._agent, self._agent), num_games=num_games, seed=_SEED)
        return sum(episode.outcome.fault is not None for episode in episodes) / len(episodes)


def distinct_games(games: Sequence[str]) -> list[str]:
    """Returns the label of every game once, however often and in whatever spelling it is named."""
    return list(dict.fromkeys(find_source(game).label for game in games))


def pairings(games: Sequence[str]) -> list[tuple[str, str]]:
    """Returns which reference agents a model meets in which game: `random` everywhere, `minimax` where it is quick."""
    return [
        (game, agent) for game in distinct_games(games) for agent in _REFERENCES.get(parse_game(game)[0], ("random",))
    ]


@contextmanager
def own_random_state(model: torch.nn.Module) -> Generator[None]:
    """Seeds torch and puts `model` into evaluation mode inside the context; after it, all is as it was.

    That holds for the global random numbers of torch, on the CPU and on every GPU in use, of numpy and of Python, and
    for the mode of every submodule, whatever is raised inside. In evaluation mode no layer drops out and none is
    checkpointed, so that generation can keep its cache.
    """
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else range(0)
    modes = {module: module.training for module in model.modules()}
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - it is kept, not used
    try:
        with torch.random.fork_rng(devices=gpus):
            torch.default_generator.manual_seed(_SEED)
            if gpus:
                torch.cuda.manual_seed_all(_SEED)
            model.eval()
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002 - as it was
        random.setstate(of_python)
        for module, is_training in modes.items():
            module.training = is_training
