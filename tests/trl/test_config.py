"""Settings that cannot work are refused with one clear line."""

import math

import pytest

from spiral_trl import SelfPlayConfig

GOOD = {"output_dir": "unused", "use_cpu": True, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 4}

EVALUATED = {"eval_strategy": "steps", "eval_steps": 5}


def config(**settings):
    return SelfPlayConfig(**{**GOOD, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"games": ["kuhn_pokr_v0"]}, "unknown game 'kuhn_pokr_v0': did you mean kuhn_poker_v0?"),
        ({"games": ["kuhn_poker_v0(hand=1)"]}, "unknown option of kuhn_poker_v0 'hand': did you mean hands?"),
        ({"games": ["kuhn_poker_v0(hands=0)"]}, "option hands of kuhn_poker is 0: expected an integer from 1 to 100"),
        ({"games": ["kuhn_poker_v0(hands"]}, "cannot read game 'kuhn_poker_v0(hands'"),
        ({"games": []}, "games is empty"),
        ({"prompt_style": "boxed"}, "unknown prompt style 'boxed': did you mean boxed_cot?"),
        ({"baseline_order": "befor"}, "unknown order of the baseline update 'befor': did you mean before?"),
        ({"baseline_decay": 1.0}, "decay is 1.0: expected at least 0 and below 1"),
        ({"games_per_batch": 0}, "games_per_batch is 0: expected at least 1"),
        ({"games_per_batch": -3}, "games_per_batch is -3: expected at least 1"),
        ({"max_prompt_length": 0}, "max_prompt_length is 0: expected at least 1"),
        ({"max_concurrent_games": 0}, "max_concurrent_games is 0: expected at least 1"),
        ({"max_steps": 0}, "max_steps is 0: expected at least 1"),
        ({"max_steps": -1}, "max_steps is -1: expected at least 1"),
        ({"max_completion_length": 0}, "max_completion_length is 0: expected at least 1"),
        ({"save_total_limit": 1}, "save_total_limit must be at least 2"),
        ({"vllm_importance_sampling_mode": "sequence_mask"}, "is 'sequence_mask': expected token_truncate"),
        ({"mask_truncated_completions": True}, "a truncated reply is a fault to learn from"),
        ({"opponents": {}}, "opponents"),
        ({"opponents": {"self": 0.5, "random": 0.4}}, "0.9"),
        ({"opponents": {"self": 1.5, "random": -0.5}}, "-0.5"),
        ({"opponents": {"self": 0.5, "rando": 0.5}}, "unknown opponent 'rando': did you mean random?"),
        ({"game_weights": [0.5, 0.5]}, "3"),
        ({"game_weights": [0.5, 0.3, 0.3]}, "1.1"),
        ({"mix_by": "turn"}, "unknown way to mix games 'turn': did you mean turns?"),
        ({"opponents": {"league": 1.0}, "league_size": 0}, "a league with no room: size is 0"),
        ({"opponents": {"league": 1.0}, "league_disk_gb": 0.0}, "a league with no room: disk_bytes is 0"),
        ({"opponents": {"league": 1.0}, "league_snapshot_steps": 0}, "snapshot_steps 0: expected at least 1"),
        ({"league_selection": "newest"}, "unknown league_selection 'newest'"),
        ({"reward": "wins"}, "unknown reward 'wins': did you mean win?"),
        ({"advantage_estimator": "grpo"}, "unknown advantage_estimator 'grpo'"),
        ({"advantage_estimator": "group", "replays_per_deal": 1}, "replays is 1: the estimator group needs at least 2"),
        ({"advantage_estimator": "group", "games_per_batch": 6}, "games_per_batch is 6: expected a multiple of"),
        ({"fault_penalty": -1.0}, "fault_penalty is -1.0: expected at least 0"),
        ({"gamma": 0.0}, "gamma is 0.0: expected above 0 and at most 1"),
        ({"gamma": 1.5}, "gamma is 1.5: expected above 0 and at most 1"),
        ({"rows": "episode"}, "rows='episode' needs context='conversation'"),
        ({"rows": "game"}, "unknown rows 'game'"),
        ({"context": "chat"}, "unknown context 'chat'"),
        ({"collector": "pools"}, "unknown collector 'pools': did you mean pool?"),
        ({"collector": "pool"}, "collector='pool' needs use_vllm"),
        ({"collapse": "halt"}, "unknown collapse 'halt'"),
        ({"logprob_gap_alarm": 0.0}, "logprob_gap_alarm is 0.0: expected above 0"),
        ({"eval_agents": ["random"]}, "eval_agents are named but eval_strategy is 'no'"),
        ({"eval_strategy": "steps", "eval_steps": 5}, "eval_strategy is on but nobody is to be played against"),
        ({"eval_pairs": 0}, "eval_pairs is 0: expected at least 1"),
        ({"nash_conv_steps": -1}, "nash_conv_steps is -1: expected at least 0"),
        ({"nash_conv_games": ["kuhn_pokr_v0"]}, "unknown game 'kuhn_pokr_v0': did you mean kuhn_poker_v0?"),
        ({"generation_kwargs": {"stop": ["a"], "n": 2}}, "generation_kwargs has n, stop: self-play decides"),
        ({"save_steps": 3, "num_iterations": 2}, "save_steps is 3: expected a multiple of 2"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0: expected at least 1"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps is 0: expected at least 1"),
        ({"num_iterations": 0}, "num_iterations is 0: expected at least 1"),
        ({"steps_per_generation": 0}, "steps_per_generation is 0: expected at least 1"),
        ({"games_per_batch": 2.5}, "games_per_batch is 2.5: expected a whole number from 1"),
        ({"temperature": 0.0}, "temperature is 0.0: expected above 0"),
        ({"top_p": 0.0}, "top_p is 0.0: expected above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p is 1.1: expected above 0 and at most 1"),
        ({"beta": -0.1}, "beta is -0.1: expected at least 0"),
        ({"learning_rate": -1e-6}, "learning_rate is -1e-06: expected at least 0"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast': expected at least 0"),
        ({"max_grad_norm": -1.0}, "max_grad_norm is -1.0: expected at least 0"),
        ({"fault_penalty": math.inf}, "fault_penalty is inf: expected at least 0"),
        ({"gamma": math.nan}, "gamma is nan: expected above 0 and at most 1"),
        ({"league_disk_gb": math.inf}, "league_disk_gb is inf: expected at least 0"),
        ({"games": "tic_tac_toe_v0"}, "games is 'tic_tac_toe_v0': expected a list"),
        ({"opponents": "self"}, 'opponents is \'self\': expected JSON such as {"self": 0.5, "random": 0.5}'),
        ({"opponents": "null"}, "opponents is 'null': expected JSON such as"),
        ({"opponents": "[1,2]"}, "opponents is '[1,2]': expected JSON such as"),
        ({"opponents": '{"self": 0.5'}, "opponents is '{\"self\": 0.5': expected JSON such as"),
        ({"opponents": {"self": "half"}}, "opponents gives 'self' the weight 'half': expected a number"),
        ({"opponents": {"self": 0.5, "human": 0.5}}, "opponents names human"),
        ({"opponents": {"mcts:many": 1.0}}, "cannot read agent 'mcts:many': expected mcts:N"),
        ({"opponents": {"random:1": 1.0}}, "agent 'random' takes no argument, got 'random:1'"),
        ({"opponents": {"minimax:0": 1.0}}, "cannot read agent 'minimax:0': expected minimax:DEPTH"),
        ({"opponents": {"minimax:2": 1.0}}, "the minimax agent cannot play kuhn_poker"),
        ({"opponents": {"mcts:5": 1.0}}, "the mcts agent cannot play kuhn_poker"),
        ({"opponents": {"cfr": 1.0}}, "the cfr agent cannot play tic_tac_toe"),
        ({"opponents": {"openai:m@URL": 1.0}}, "cannot read agent 'openai:m@URL'"),
        ({**EVALUATED, "eval_agents": ["hf:"]}, "eval_agents names 'hf:' without a model: expected hf:PATH_OR_ID"),
        (
            {**EVALUATED, "eval_agents": ["hf:./no/such"]},
            "eval_agents names 'hf:./no/such': there is no folder ./no/such",
        ),
        ({**EVALUATED, "eval_agents": ["rando"]}, "unknown agent 'rando': did you mean random?"),
        ({**EVALUATED, "eval_agents": ["self"]}, "unknown agent 'self'"),
        ({**EVALUATED, "eval_agents": ["human"]}, "eval_agents names human"),
        ({**EVALUATED, "eval_agents": ["minimax"]}, "the minimax agent cannot play kuhn_poker"),
        ({**EVALUATED, "eval_agents": ["vllm:/no/such"]}, "there is no folder /no/such"),
        ({"nash_conv_steps": 5, "nash_conv_games": ["simple_negotiation_v0"]}, "nash_conv_games has simple_negotia"),
        ({"generation_kwargs": {"max_new_tokens": 9}}, "generation_kwargs has max_new_tokens: self-play decides"),
        ({"generation_kwargs": '{"num_return_sequences": 2}'}, "generation_kwargs has num_return_sequences"),
        ({"generation_kwargs": '{"top_k": 2'}, "generation_kwargs is '{\"top_k\": 2': expected JSON such as"),
        ({"generation_kwargs": "top_k"}, "generation_kwargs is 'top_k': expected JSON such as"),
        ({"model_init_kwargs": '{"dtype"'}, "model_init_kwargs is '{\"dtype\"': expected JSON"),
        (
            {"steps_per_generation": 2, "games_per_batch": 1},
            "gradient_accumulation_steps is 4: expected a divisor of 2",
        ),
        ({"steps_per_generation": 6}, "gradient_accumulation_steps is 4: expected a divisor of 6"),
        ({"num_iterations": 2, "max_steps": 5, "save_steps": 2}, "max_steps is 5: expected a multiple of 2"),
        # 0.3 of 10 steps are 3.
        ({"num_iterations": 2, "max_steps": 10, "save_steps": 0.3}, "save_steps is 0.3: expected a multiple of 2"),
        ({"save_steps": 5, "logging_steps": 2}, "save_steps is 5: expected a multiple of logging_steps, 2"),
        ({"nash_conv_steps": 5, "logging_steps": 2}, "nash_conv_steps is 5: expected a multiple of logging_steps, 2"),
        ({"nash_conv_steps": 5, "logging_strategy": "no"}, "logging_strategy is 'no' with nash_conv_steps 5"),
        ({"save_only_model": True}, "save_only_model is not supported: a run could not go on"),
        ({"scale_rewards": "group"}, "scale_rewards 'group' is not supported: advantages are not normalised"),
    ],
    ids=lambda value: ",".join(f"{name}={each}" for name, each in value.items()) if isinstance(value, dict) else "",
)
def test_a_bad_value_is_refused_in_one_line_that_names_it(settings, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is checked below, as plain text
        config(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_type": "dapo"},
        {"loss_type": "grpo"},
        {"loss_type": "bnpo"},
    ],
    ids=str,
)
def test_a_loss_that_does_not_divide_by_a_constant_is_refused(settings):
    # The weight of a row would depend on how many others were played: the row weights rest on dr_grpo.
    with pytest.raises(ValueError, match="loss_type"):
        config(**settings)


def test_a_batch_too_small_for_one_game_of_each_is_refused_with_what_to_raise():
    # Tic-tac-toe up to 9 turns, Kuhn poker up to 3 a hand.
    games = ["tic_tac_toe_v0", "kuhn_poker_v0(hands=2)"]
    small = {"games": games, "per_device_train_batch_size": 7, "gradient_accumulation_steps": 2, "num_generations": 2}
    with pytest.raises(
        ValueError, match="one game of each needs up to 15 rows, a batch has 14: raise per_device_train"
    ):
        config(**small)
    assert config(**{**small, "games_per_batch": 5}).games_per_batch == 5


@pytest.mark.parametrize(
    ("games", "rows", "expected"),
    [
        (["tic_tac_toe_v0"], 64, 7),
        (["tic_tac_toe_v0"], 63, 7),
        (["tic_tac_toe_v0"], 62, 6),
        # 9 + 3 rows a round.
        (["tic_tac_toe_v0", "kuhn_poker_v0(hands=1)"], 64, 10),
        # 9 + 3 + 3 rows a round, four rounds in 64 rows.
        (["tic_tac_toe_v0", "kuhn_poker_v0(hands=1)", "kuhn_poker_v0(hands=1)"], 64, 12),
    ],
)
def test_as_many_games_are_played_as_surely_fit(games, rows, expected):
    made = config(games=games, per_device_train_batch_size=rows, gradient_accumulation_steps=1, num_generations=rows)
    assert made.rows_per_batch == rows
    assert made.surely_fitting_games() == expected


def test_the_rows_of_a_batch_are_those_of_a_generation():
    assert config().rows_per_batch == 64
    assert config(steps_per_generation=8).rows_per_batch == 128


def test_the_defaults_are_those_of_the_method():
    made = config()
    assert made.games == ["tic_tac_toe_v0", "kuhn_poker_v0", "simple_negotiation_v0"]
    assert (made.loss_type, made.scale_rewards, made.beta) == ("dr_grpo", "none", 0.0)
    assert (made.baseline_decay, made.baseline_order) == (0.95, "before")
    assert made.vllm_importance_sampling_mode == "token_truncate"
    assert (made.temperature, made.top_p, made.top_k) == (1.0, 1.0, 0)
    assert made.num_iterations == 1
    assert made.mask_truncated_completions is False


def test_opponents_may_be_given_as_json_as_on_the_command_line():
    made = config(opponents='{"self": 0.5, "openai:a/b@http://localhost:1/v1": 0.5}')
    assert made.opponent_weights == {"self": 0.5, "openai:a/b@http://localhost:1/v1": 0.5}
    assert config().opponent_weights == {"self": 1.0}


def test_weighted_games_fit_even_if_all_of_them_are_the_longest():
    games = ["tic_tac_toe_v0", "kuhn_poker_v0(hands=1)"]
    settings = {"games": games, "per_device_train_batch_size": 64, "gradient_accumulation_steps": 1}
    assert config(**settings).surely_fitting_games() == 10
    # 9 rows a game, in 64.
    assert config(**settings, game_weights=[0.5, 0.5]).surely_fitting_games() == 7
    assert config(**settings, mix_by="turns").surely_fitting_games() == 7
    # Deals of 4 games: one fits, two do not.
    assert config(**settings, advantage_estimator="group").surely_fitting_games() == 4


def test_two_configs_do_not_share_their_list_of_games():
    first, second = config(), config()
    first.games.append("tic_tac_toe_v0")
    assert len(second.games) == 3


def test_a_bridged_game_of_unknown_length_asks_for_the_number_of_games():
    with pytest.raises(ValueError, match="how long a game of pettingzoo:tictactoe_v3 can be is not known"):
        SelfPlayConfig(games=["pettingzoo:tictactoe_v3"], output_dir="unused", use_cpu=True)


def test_a_share_of_all_steps_is_a_number_of_steps():
    # 0.1 of 40 steps are 4, a multiple of both 2 and 4.
    assert config(max_steps=40, save_steps=0.1, logging_steps=0.05, num_iterations=2).save_steps == 0.1
    assert config(max_steps=40, save_steps=0.1, logging_steps=4).logging_steps == 4


@pytest.mark.parametrize(("rows", "parts", "expected"), [(21, 1, 3), (7, 5, 5), (16, 4, 2), (13, 1, 13)])
def test_any_number_of_rows_makes_a_batch(rows, parts, expected):
    made = config(
        games=["tic_tac_toe_v0"],
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=parts,
        games_per_batch=1,
        **EVALUATED,
        eval_agents=["random"],
    )
    # The least divisor from 2, by hand.
    assert made.num_generations == expected
    assert made.rows_per_batch == rows * parts


def test_a_batch_of_a_single_row_is_refused():
    with pytest.raises(ValueError, match="a batch has 1 row: expected at least 2, so raise per_device_train_batch"):
        config(per_device_train_batch_size=1, gradient_accumulation_steps=1, games_per_batch=1)


def test_agents_that_can_play_all_games_are_accepted():
    poker = ["kuhn_poker_v0(hands=1)"]
    assert config(games=poker, opponents={"cfr": 0.5, "random": 0.5}).opponent_weights["cfr"] == 0.5
    made = config(
        games=["tic_tac_toe_v0"],
        opponents={"minimax": 0.5, "mcts:100000": 0.5},
        nash_conv_steps=5,
        nash_conv_games=poker,
        **EVALUATED,
        eval_agents=["minimax", "random"],
    )
    assert made.eval_agents == ["minimax", "random"]
