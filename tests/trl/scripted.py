"""Scripted players, and the tiny model that the tests of the trainer share."""

import random
from itertools import islice
from pathlib import Path

from spiral_envs.prompts import find_style
from spiral_trl.embedded import build_model, build_tokenizer
from spiral_trl.sampling import ModelAgent, PromptEncoder, Sample
from spiral_trl.warmup import WarmupSettings, demonstrations, warm_up

TIC_TAC_TOE = "tic_tac_toe_v0"
KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"
"""The game of the literature: one hand, paid in chips."""

SETTINGS = {
    "games": [KUHN, TIC_TAC_TOE],
    "prompt_style": "plain",
    "max_completion_length": 24,
    "per_device_train_batch_size": 12,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "max_steps": 4,
    "save_strategy": "no",
    "use_cpu": True,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
    "seed": 3,
}
"""Two games a batch of 24 rows: tic-tac-toe lasts up to 9 turns, one hand of Kuhn poker up to 3."""


def make_tokenizer():
    """Returns a tokenizer of 361 tokens in which every move and every word of the two games is a few tokens."""
    rng = random.Random(0)
    texts = [
        text
        for game in (KUHN, TIC_TAC_TOE)
        for each in islice(demonstrations(game, sensible=0.25, rng=rng), 300)
        for text in each
    ]
    return build_tokenizer(texts, vocab_size=384)


def make_tiny_model(tokenizer, *, seed=0):
    """Returns a random Qwen3 with 2 layers and 38,464 parameters."""
    return build_model(tokenizer, seed=seed, hidden_size=32, num_layers=2)


def save_warm_model(tokenizer, folder: Path):
    """Saves a tiny model that mostly replies with legal moves, and its tokenizer, into `folder`."""
    rng = random.Random(0)
    examples = [
        each for game in (KUHN, TIC_TAC_TOE) for each in islice(demonstrations(game, sensible=0.25, rng=rng), 400)
    ]
    model = make_tiny_model(tokenizer)
    settings = WarmupSettings(steps=60, batch_size=32, learning_rate=1e-2)
    warm_up(model, tokenizer, examples, settings=settings, seed=0, on_step=lambda step, loss: None)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class ScriptedSampler:
    """Replies by a function from the text of a prompt to the text of the reply, and remembers every call.

    A reply ends with the end-of-sequence token unless it is listed in `cut`. Its log-probabilities are made up: token
    number n has -n/8.
    """

    def __init__(self, tokenizer, reply, *, cut=(), reports_logprobs=False):
        self.tokenizer = tokenizer
        self.reply = reply
        self.cut = cut
        self.reports_logprobs = reports_logprobs
        self.calls = []

    def sample(self, prompts):
        self.calls.append([tuple(prompt) for prompt in prompts])
        return [self._sample(self.tokenizer.decode(prompt)) for prompt in prompts]

    def _sample(self, prompt):
        text = self.reply(prompt)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        is_finished = text not in self.cut
        if is_finished:
            ids = [*ids, self.tokenizer.eos_token_id]
        logprobs = tuple(-at / 8 for at in range(len(ids))) if self.reports_logprobs else None
        return Sample(tuple(ids), logprobs, is_finished)


def scripted_agent(sampler, *, max_prompt_length=200, hints=False):
    """Returns the agent that the trainer would make with `sampler` in the plain style."""
    encoder = PromptEncoder(sampler.tokenizer, find_style("plain", hints=hints), use_chat_template=False)
    return ModelAgent(sampler, encoder, sampler.tokenizer, max_prompt_length=max_prompt_length, name="self")


def legal_reply(prompt):
    """Returns a legal move with some words before it, chosen by the text of the prompt alone."""
    choice = sum(map(ord, prompt))
    if prompt.startswith("kuhn"):
        moves = ["call", "fold"] if "the other bet." in prompt else ["check", "bet"]
        return f"bets none. \\boxed{{[{moves[choice % 2]}]}}"
    board = prompt.partition("Board:\n")[2].partition("\nYou")[0].split()
    free = [cell for cell in board if cell.isdigit()]
    words = "free " * (choice % 5)
    return f"{words}\\boxed{{[{free[choice % len(free)]}]}}"
