"""The supervised warm-up of the embedded model: a stand-in for pre-training.

It teaches the format of a reply, the rules of moving and to read the observation, from games between weak players:
most of their moves are random. What is learned here is no achievement of self-play; reports show it as the start.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spiral_envs.agents.cfr import CfrAgent
from spiral_envs.game import CHANCE, TERMINAL, GameSpec
from spiral_envs.games.kuhn_poker import KuhnState
from spiral_envs.games.simple_negotiation import Act, NegotiationState, Resource, Trade
from spiral_envs.games.tic_tac_toe import LINES, Mark, TicTacToeState
from spiral_envs.match import View, make_view
from spiral_envs.prompts import plain
from spiral_envs.registry import find_game
from spiral_trl.embedded import build_model, build_tokenizer
from spiral_trl.sampling import token_id

_ABOUT: Final = "warmup.json"

_LARGEST_GIFT: Final = 5
"""Units that a weak trader gives at once."""

_CHUNK: Final = 32
"""Rows that are computed at once."""


class Demonstration(NamedTuple):
    """One turn of a weak player: what it saw and what it wrote."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class WarmupSettings:
    """How the warm-up is done.

    Attributes:
        turns_per_ply: Demonstrated turns of each game, per ply of its longest match: long games need more.
        sensible: The share of moves that are sensible rather than random.
        steps: Optimizer steps.
        batch_size: Demonstrations a step.
        learning_rate: The highest; it rises over the first tenth of the steps and falls to zero.
    """

    turns_per_ply: int = 2000
    sensible: float = 0.25
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 3e-3


def make_warm_model(
    folder: Path,
    games: Sequence[str],
    *,
    settings: WarmupSettings,
    seed: int,
    on_step: Callable[[int, float], None],
) -> str:
    """Makes the embedded model and its tokenizer, warms it up, saves both into `folder` and returns what was done.

    A folder that holds the same model already is left as it is; `folder` appears only when it is complete.

    Raises:
        ValueError: A game has no weak player here.
    """
    wanted = {"games": list(games), "seed": seed, **asdict(settings)}
    about = folder / _ABOUT
    if about.exists() and (made := json.loads(about.read_text(encoding="utf-8")))["settings"] == wanted:
        return made["about"]
    rng = random.Random(seed)
    examples: list[Demonstration] = []
    for game in games:
        examples += islice(
            demonstrations(game, sensible=settings.sensible, rng=rng),
            settings.turns_per_ply * find_game(game).game.max_plies,
        )
    tokenizer = build_tokenizer(text for example in examples for text in example)
    model = build_model(tokenizer, seed=seed)
    loss = warm_up(model, tokenizer, examples, settings=settings, seed=seed, on_step=on_step)
    sentence = (
        f"The embedded model is a Qwen3 of {model.num_parameters():,} parameters with a vocabulary of {len(tokenizer)}"
        f" tokens. Before self-play it was warmed up, as a stand-in for pre-training, by {settings.steps} supervised"
        f" steps on {len(examples):,} turns of games between weak players, {settings.sensible:.0%} of whose moves are"
        f" sensible (complete or block a line, play Kuhn poker's equilibrium, take what brings more than it costs) and"
        f" the others random; its loss was {loss:.3f} nats a token at the end."
    )
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    (unfinished / _ABOUT).write_text(json.dumps({"settings": wanted, "about": sentence}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return sentence


def demonstrations(game: str, *, sensible: float, rng: random.Random) -> Iterator[Demonstration]:
    """Yields turn after turn of games between weak players, without end.

    Args:
        game: A game that has a weak player here.
        sensible: The share of moves that are sensible.
        rng: Decides chance and the players' choices.

    Raises:
        ValueError: There is no weak player of the game.
    """
    spec = find_game(game)
    if spec.name not in _WEAK_PLAYERS or not _UNKNOWN_OPTIONS.isdisjoint(spec.options):
        raise ValueError(f"the embedded model has no warm-up for {game}: it has for {', '.join(_WEAK_PLAYERS)}")
    player = _WEAK_PLAYERS[spec.name]
    while True:
        state = spec.game.initial_state()
        turn = 0
        # In two games of three a seat plays any legal move, unseen, so that odd positions and offers are known too.
        wild_seat = rng.choice((None, 0, 1))
        while (seat := spec.game.to_move(state)) != TERMINAL:
            if seat == CHANCE:
                moves, weights = zip(*spec.game.chance_outcomes(state), strict=True)
                state = spec.game.next_state(state, rng.choices(moves, weights)[0])
                continue
            if seat == wild_seat:
                move = rng.choice(spec.game.legal_moves(state))
            else:
                view = make_view(spec, state, seat, turn=turn)
                thought, move = player(spec, state, view, rng, sensible)
                reply = f"{thought} \\boxed{{{spec.codec.format_move(move)}}}"
                yield Demonstration(plain(view)[0]["content"], reply)
            state = spec.game.next_state(state, move)
            turn += 1


def warm_up(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Demonstration],
    *,
    settings: WarmupSettings,
    seed: int,
    on_step: Callable[[int, float], None],
) -> float:
    """Trains `model` on the replies of `examples` and returns the loss of the last tenth of the steps, nats a token.

    Args:
        model: Changed in place.
        tokenizer: Its end-of-sequence token ends every reply.
        examples: Demonstrations.
        settings: How.
        seed: Decides the order of the examples.
        on_step: Called after every step with its number, from 1, and its loss.
    """
    prompts = tokenizer([example.prompt for example in examples], add_special_tokens=False)["input_ids"]
    replies = tokenizer([example.reply for example in examples], add_special_tokens=False)["input_ids"]
    end_id, pad_id = token_id(tokenizer, "eos_token"), token_id(tokenizer, "pad_token")
    rows = [
        (torch.tensor([*prompt, *reply, end_id]), len(prompt)) for prompt, reply in zip(prompts, replies, strict=True)
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.1, anneal_strategy="linear"
    )
    rng = random.Random(seed)
    losses: list[float] = []
    model.train()
    for step in range(1, settings.steps + 1):
        chosen = sorted(rng.choices(rows, k=settings.batch_size), key=lambda row: len(row[0]))
        num_tokens = sum(len(ids) - prompt_length for ids, prompt_length in chosen)
        optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        # Rows of like length go together, so that little is computed on padding.
        for start in range(0, len(chosen), _CHUNK):
            chunk_loss = _reply_loss(model, chosen[start : start + _CHUNK], pad_id) / num_tokens
            chunk_loss.backward()
            loss += chunk_loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss)
        on_step(step, loss)
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)


def _reply_loss(model: PreTrainedModel, rows: Sequence[tuple[torch.Tensor, int]], pad_token_id: int) -> torch.Tensor:
    """Returns the summed negative log-likelihood of the replies in `rows` of (ids, length of the prompt)."""
    width = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), width), pad_token_id)
    labels = torch.full((len(rows), width), -100)
    for index, (ids, prompt_length) in enumerate(rows):
        input_ids[index, : len(ids)] = ids
        labels[index, prompt_length : len(ids)] = ids[prompt_length:]
    # Padding is on the right, where causal attention never looks back from a real token.
    logits = model(input_ids=input_ids).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


def _tic_tac_toe(
    spec: GameSpec, state: TicTacToeState, view: View, rng: random.Random, sensible: float
) -> tuple[str, int]:
    """A player that restates which cells are free and which complete a line, and sometimes completes or blocks one."""
    board = state.board
    mine = Mark(view.seat)
    wins = _completing_cells(board, mine)
    threats = _completing_cells(board, Mark(1 - view.seat))
    legal = spec.game.legal_moves(state)
    thought = f"I play {mine.name}. free {_listed(legal)}. win {_listed(wins)}. block {_listed(threats)}."
    if rng.random() < sensible:
        return thought, rng.choice(wins or threats or legal)
    return thought, rng.choice(legal)


def _completing_cells(board: tuple[Mark, ...], mark: Mark) -> list[int]:
    cells: set[int] = set()
    for line in LINES:
        held = [board[cell] for cell in line]
        if held.count(mark) == 2 and held.count(Mark.EMPTY) == 1:
            cells.add(line[held.index(Mark.EMPTY)])
    return sorted(cells)


def _listed(cells: Sequence[int]) -> str:
    return " ".join(str(cell) for cell in cells) or "none"


def _kuhn_poker(spec: GameSpec, state: KuhnState, view: View, rng: random.Random, sensible: float) -> tuple[str, Any]:
    """A player that restates its card and the betting, and sometimes plays the equilibrium."""
    legal = spec.game.legal_moves(state)
    betting = " ".join(bet.name.lower() for bet in state.hand.bets) or "none"
    thought = f"I hold {state.hand.cards[view.seat].name}. bets {betting}."
    if rng.random() < sensible:
        policy = CfrAgent(seed=0).policy(view)
        chosen = rng.choices(list(policy), list(policy.values()))[0]
        return thought, spec.codec.parse_move(state, chosen)
    return thought, rng.choice(legal)


def _simple_negotiation(
    spec: GameSpec, state: NegotiationState, view: View, rng: random.Random, sensible: float
) -> tuple[str, Any]:
    """A player that restates the standing offer, and sometimes takes only what brings more units than it costs."""
    offer = state.log[-1] if state.log and state.log[-1].act is Act.OFFER else None
    wood, gold = state.holdings[view.seat]
    legal = spec.game.legal_moves(state)
    answers = [move for move in legal if move.act is not Act.OFFER]
    thought = f"I have {wood} Wood {gold} Gold."
    if offer is not None:
        thought += f" get {offer.give} give {offer.get} {_verdict(offer, (wood, gold)[1 - offer.gives])}."
    is_sensible = rng.random() < sensible
    if answers and rng.random() < 0.67:
        if not is_sensible:
            return thought, rng.choice(answers)
        wanted = Act.ACCEPT if offer is not None and offer.give > offer.get else Act.DENY
        return thought, next((move for move in answers if move.act is wanted), answers[-1])
    resource = rng.choice([kind for kind in Resource if (wood, gold)[kind] > 0])
    give = rng.randint(1, min((wood, gold)[resource], _LARGEST_GIFT))
    get = rng.randint(give + 1, give + 4) if is_sensible else rng.randint(1, _LARGEST_GIFT + 2)
    return thought, Trade(Act.OFFER, resource, give, get)


def _verdict(offer: Trade, owned: int) -> str:
    """Returns in a word whether who is asked for `offer.get` units and owns `owned` gets more than it gives."""
    if offer.get > owned:
        return "cannot"
    if offer.give == offer.get:
        return "same"
    return "more" if offer.give > offer.get else "less"


_UNKNOWN_OPTIONS: Final = frozenset({"rows", "columns", "in_a_row", "players", "resources"})
"""What makes another game of one that the weak players know."""

_WeakPlayer = Callable[[GameSpec, Any, View, random.Random, float], tuple[str, Any]]

_WEAK_PLAYERS: Final[dict[str, _WeakPlayer]] = {
    "tic_tac_toe": _tic_tac_toe,
    "kuhn_poker": _kuhn_poker,
    "simple_negotiation": _simple_negotiation,
}
