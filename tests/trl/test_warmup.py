"""The warm-up: legal demonstrations, a loss that is the replies' own, and a folder that is whole or not there."""

import json
import math
import random
import re
from contextlib import suppress
from itertools import islice

import pytest
import torch
from scripted import KUHN, make_tiny_model

from spiral_envs import IllegalMoveError, find_game
from spiral_envs.extraction import Rule, extract
from spiral_trl.warmup import Demonstration, WarmupSettings, demonstrations, make_warm_model, warm_up

GAMES = ["tic_tac_toe_v0", KUHN, "simple_negotiation_v0(turns=6)"]


def some(game, number, *, sensible=0.25, seed=0):
    return list(islice(demonstrations(game, sensible=sensible, rng=random.Random(seed)), number))


def box(reply):
    answer = extract(reply, lambda token: True)
    assert answer.rule is Rule.BOXED
    return answer.text


@pytest.mark.parametrize("game", GAMES)
def test_every_demonstrated_reply_ends_in_a_move_of_the_game(game):
    spec = find_game(game)
    for each in some(game, 300):
        assert each.prompt.startswith(f"{spec.name} ")
        assert each.reply.endswith(f"\\boxed{{{box(each.reply)}}}")
        # A move of the game that may be illegal at the start is still no malformed one.
        with suppress(IllegalMoveError):
            spec.codec.parse_move(spec.game.initial_state(), box(each.reply))


def test_demonstrated_cells_are_free_and_the_thought_says_what_the_board_shows():
    for each in some("tic_tac_toe_v0", 300):
        board = each.prompt.partition("Board:\n")[2].partition("\nYou")[0].split()
        free = [cell for cell in board if cell.isdigit()]
        assert box(each.reply).strip("[]") in free
        assert f"free {' '.join(free)}." in each.reply
        me = each.prompt.split()[1]
        assert each.reply.startswith(f"I play {me}.")


def test_demonstrated_poker_replies_restate_the_card_and_fit_the_betting():
    for each in some(KUHN, 300):
        card = re.search("your card is ([JQK])", each.prompt)
        assert card is not None
        assert each.reply.startswith(f"I hold {card[1]}.")
        legal = ["[call]", "[fold]"] if "the other bet." in each.prompt else ["[check]", "[bet]"]
        assert box(each.reply) in legal


def test_a_sensible_poker_player_never_folds_a_king_and_a_random_one_does():
    def kings(sensible):
        replies = some(KUHN, 1500, sensible=sensible)
        return [box(each.reply) for each in replies if "card is K" in each.prompt and "the other bet." in each.prompt]

    assert set(kings(1.0)) == {"[call]"}
    assert set(kings(0.0)) == {"[call]", "[fold]"}


def test_a_sensible_tic_tac_toe_player_completes_a_line_when_it_can():
    for each in some("tic_tac_toe_v0", 400, sensible=1.0):
        wins = re.search(r"win ([^.]*)\.", each.reply)
        assert wins is not None
        if wins[1] != "none":
            assert box(each.reply).strip("[]") in wins[1].split()


def test_the_same_random_numbers_give_the_same_demonstrations():
    assert some(KUHN, 50) == some(KUHN, 50)
    assert some(KUHN, 50) != some(KUHN, 50, seed=1)


@pytest.mark.parametrize(
    "game",
    ["connect_four_v0", "tic_tac_toe_v0(rows=4)", "simple_negotiation_v0(resources=3)", "kuhn_poker_v0(players=3)"],
)
def test_a_game_without_a_weak_player_is_refused_with_those_that_have_one(game):
    message = f"no warm-up for {game}: it has for tic_tac_toe, kuhn_poker, simple_negotiation"
    with pytest.raises(ValueError, match=re.escape(message)):
        some(game, 1)


def test_the_first_loss_is_that_of_the_replies_alone(tokenizer):
    """The mean over the tokens of the replies, the end included, computed row by row without padding."""
    examples = some(KUHN, 40)
    chosen = random.Random(7).choices(range(len(examples)), k=16)
    model = make_tiny_model(tokenizer)
    total = tokens = 0.0
    for index in chosen:
        prompt = tokenizer(examples[index].prompt)["input_ids"]
        reply = [*tokenizer(examples[index].reply)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *reply]])).logits[0, len(prompt) - 1 : -1]
        total -= logits.log_softmax(-1)[range(len(reply)), reply].sum().item()
        tokens += len(reply)
    losses = []
    settings = WarmupSettings(steps=1, batch_size=16)
    last = warm_up(
        model, tokenizer, examples, settings=settings, seed=7, on_step=lambda step, loss: losses.append((step, loss))
    )
    assert losses == [(1, pytest.approx(total / tokens, rel=1e-5))]
    assert last == losses[0][1]


def test_a_warm_up_lowers_the_loss_from_that_of_a_uniform_guess(tokenizer):
    model = make_tiny_model(tokenizer)
    losses = []
    settings = WarmupSettings(steps=30, batch_size=16, learning_rate=1e-2)
    warm_up(
        model, tokenizer, some(KUHN, 100), settings=settings, seed=0, on_step=lambda step, loss: losses.append(loss)
    )
    assert losses[0] == pytest.approx(math.log(len(tokenizer)), rel=0.1)
    assert losses[-1] < 0.5 * losses[0]


def test_one_reply_is_learned_by_heart(tokenizer):
    model = make_tiny_model(tokenizer)
    examples = [Demonstration("kuhn\n", "\\boxed{[bet]}")] * 4
    settings = WarmupSettings(steps=40, batch_size=4, learning_rate=1e-2)
    assert warm_up(model, tokenizer, examples, settings=settings, seed=0, on_step=lambda step, loss: None) < 0.1


TINY = WarmupSettings(turns_per_ply=20, steps=2, batch_size=4)


def test_the_warm_model_is_made_once_and_anew_when_the_settings_change(tmp_path):
    folder = tmp_path / "run" / "warmup"
    folder.parent.mkdir()
    steps = []

    def make(seed=0, settings=TINY):
        return make_warm_model(
            folder, [KUHN], settings=settings, seed=seed, on_step=lambda step, loss: steps.append(step)
        )

    about = make()
    assert steps == [1, 2]
    assert "2 supervised steps" in about
    weights = (folder / "model.safetensors").read_bytes()
    assert make() == about
    assert steps == [1, 2], "the folder is taken as it is"
    make(seed=1)
    assert steps == [1, 2, 1, 2]
    assert (folder / "model.safetensors").read_bytes() != weights
    make(seed=0)
    assert (folder / "model.safetensors").read_bytes() == weights
    assert [path.name for path in folder.parent.iterdir()] == ["warmup"]


def test_a_half_made_folder_of_a_killed_run_is_made_anew(tmp_path):
    folder = tmp_path / "warmup"
    (tmp_path / "warmup.unfinished").mkdir()
    (tmp_path / "warmup.unfinished" / "model.safetensors").write_text("torn")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    make_warm_model(folder, [KUHN], settings=TINY, seed=0, on_step=lambda step, loss: None)
    assert json.loads((folder / "warmup.json").read_text())["settings"]["steps"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["warmup"]
