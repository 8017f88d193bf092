"""Measuring a model before and after self-play, with one seed, without touching the run's random state."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spiral_envs.registry import parse_game
from spiral_envs.sources import find_source
from spiral_trl.collector import collect
from spiral_trl.evaluation import SeatResult, evaluate
from spiral_trl.policy_reading import PolicyExploitability, model_exploitability
from spiral_trl.report import Strength
from spiral_trl.sampling import GenerateSampler, ModelAgent, PromptEncoder

ONE_HAND: Final = "kuhn_poker_v0(hands=1,payoff=chips)"
"""The game in which NashConv is measured."""

TEMPERATURE: Final = 0.6
"""Of evaluated matches, as in arXiv 2506.24119."""

TOP_P: Final = 0.95
"""Of evaluated matches, as in arXiv 2506.24119."""

_SEED: Final = 20_250_630

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
        self._agent = ModelAgent(player, encoder, tokenizer, max_prompt_length=max_prompt_length)

    def exploitability(self, *, reasonings: int = 16) -> PolicyExploitability:
        """Returns how far the model's own move probabilities are from perfect play in one-hand Kuhn poker."""
        with _own_random_state(self._model):
            return model_exploitability(
                self._model, self._tokenizer, self._encoder, self._sampler, ONE_HAND, reasonings=reasonings
            )

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
        with _own_random_state(self._model):
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
def _own_random_state(model: PreTrainedModel) -> Generator[None]:
    """Seeds torch's random numbers inside the context; after it they go on as if nothing had happened."""
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(_SEED)
        yield
