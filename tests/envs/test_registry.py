"""Finding games by name, options, and adding games."""

import pickle
from dataclasses import replace

import pytest

import spiral_envs
from spiral_envs import UnknownNameError, find_game, find_source, game_ids, make_match, registry
from spiral_envs.aec import raw_env
from spiral_envs.registry import parse_game, register


@pytest.fixture
def empty_registry(monkeypatch):
    """Forgets what a test registers."""
    monkeypatch.setattr(registry, "_specs", {})
    monkeypatch.setattr(registry, "_configured", {})


def test_the_three_games_are_registered():
    assert {"tic_tac_toe_v0", "kuhn_poker_v0", "simple_negotiation_v0"} <= set(game_ids())


def test_every_id_finds_its_game():
    for game_id in game_ids():
        assert find_game(game_id).id == game_id
        assert find_game(game_id).label == game_id
        assert find_game(game_id) is find_game(game_id)


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("kuhn_poker", "did you mean kuhn_poker_v0?"),
        ("kuhn_poker_v1", "did you mean kuhn_poker_v0?"),
        ("TicTacToe", "did you mean tic_tac_toe_v0?"),
        ("Simple_Negotiation_v0", "did you mean simple_negotiation_v0?"),
    ],
)
def test_an_unknown_game_is_refused_with_the_nearest_names(asked, near):
    for call in (find_game, lambda name: make_match(name, seed=0)):
        with pytest.raises(UnknownNameError) as error:
            call(asked)
        assert str(error.value) == f"unknown game {asked!r}: {near}"


def test_a_name_near_to_nothing_lists_what_there_is():
    with pytest.raises(UnknownNameError, match=r"unknown game 'zzz': known: .*kuhn_poker_v0"):
        find_game("zzz")


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError) as error:
        find_game("kuhn_poker_v0", hand=3)
    assert str(error.value) == "unknown option of kuhn_poker_v0 'hand': did you mean hands?"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a_v0", ("a_v0", {})),
        (" a_v0 ", ("a_v0", {})),
        ("a_v0()", ("a_v0", {})),
        ("a_v0(x=1)", ("a_v0", {"x": 1})),
        ("a_v0(x=1,y=two)", ("a_v0", {"x": 1, "y": "two"})),
        ("a_v0( x = 1 , y = 'two' )", ("a_v0", {"x": 1, "y": "two"})),
        ("a_v0(x=True,y=1.5,z=None)", ("a_v0", {"x": True, "y": 1.5, "z": None})),
        ("a_v0(x=1,)", ("a_v0", {"x": 1})),
    ],
)
def test_options_are_read_from_the_id(text, parsed):
    assert parse_game(text) == parsed


@pytest.mark.parametrize("text", ["a_v0(", "a_v0(x=1", "a_v0(x=1)y", "a_v0(x)", "a_v0(1=x)", "a_v0(=1)"])
def test_options_that_cannot_be_read_are_refused(text):
    with pytest.raises(ValueError, match="cannot read"):
        parse_game(text)


def test_a_label_finds_the_same_configured_game():
    spec = find_game("kuhn_poker_v0", payoff="chips", hands=1)
    assert spec.label == "kuhn_poker_v0(hands=1,payoff=chips)"
    assert find_game(spec.label) is spec
    assert find_game("kuhn_poker_v0(payoff='chips', hands=1)") is spec


def test_options_in_words_win_over_those_in_the_id():
    assert find_game("kuhn_poker_v0(hands=3)", hands=2).label == "kuhn_poker_v0(hands=2)"


def test_an_option_at_its_default_is_the_plain_game():
    assert find_game("kuhn_poker_v0", hands=5, payoff="win") is find_game("kuhn_poker_v0")


def test_a_value_of_the_wrong_type_is_refused_even_when_it_equals_the_default():
    with pytest.raises(ValueError, match="expected an integer from 1 to 100"):
        find_game("kuhn_poker_v0", hands=5.0)


def test_configuring_leaves_the_plain_game_alone():
    find_game("kuhn_poker_v0", hands=1)
    assert find_game("kuhn_poker_v0").label == "kuhn_poker_v0"
    assert find_game("kuhn_poker_v0").game.max_plies == 15


@pytest.mark.usefixtures("empty_registry")
def test_a_registered_game_is_found_and_played():
    spec = replace(find_game("tic_tac_toe_v0"), name="noughts_and_crosses")
    register(spec)
    assert game_ids()[-1] == "noughts_and_crosses_v0"
    assert find_game("noughts_and_crosses_v0") is spec
    assert make_match("noughts_and_crosses_v0", seed=0).game == "noughts_and_crosses_v0"
    register(spec)


@pytest.mark.usefixtures("empty_registry")
def test_registering_a_taken_id_is_refused():
    spec = replace(find_game("tic_tac_toe_v0"), name="noughts_and_crosses")
    register(spec)
    for taken in (replace(spec), replace(spec, name="kuhn_poker")):
        with pytest.raises(ValueError, match=f"game '{taken.id}' is registered already: raise its version"):
            register(taken)
    register(replace(spec, version=1))
    assert "noughts_and_crosses_v1" in game_ids()


def test_a_spec_whose_parts_do_not_fit_is_refused():
    spec = find_game("tic_tac_toe_v0")
    with pytest.raises(ValueError, match="expected 2 roles"):
        replace(spec, roles=("X",))
    with pytest.raises(ValueError, match="does not fit a zero-sum game of two"):
        replace(spec, return_range=(-1.0, 2.0))


@pytest.mark.parametrize("game", ["connect_four_v0", "kuhn_poker_v0(hands=2)", "openspiel:kuhn_poker"])
def test_a_game_pickles_by_its_name(game):
    spec = find_game(game)

    assert pickle.loads(pickle.dumps(spec)) is spec
    assert len(pickle.dumps(spec)) < 200


def test_an_environment_that_was_pickled_shares_the_game():
    env = raw_env("nim_v0")
    env.reset(seed=0)

    copied = pickle.loads(pickle.dumps(env))
    copied.reset(seed=0)

    assert copied._match.spec is env._match.spec


def test_configurations_are_remembered_within_a_bound():
    for target in range(2, 500):
        for max_turns in (10, 11):
            find_game("pig_dice_v0", target=target, max_turns=max_turns)

    assert len(registry._configured) <= registry._MAX_CONFIGURED


def test_an_option_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="option hands stands twice"):
        find_game("kuhn_poker_v0(hands=1,hands=2)")


@pytest.mark.parametrize("name", ["my game", "Chess", "", "9_men"])
def test_a_name_that_is_no_lower_case_word_is_not_registered(name):
    spec = replace(find_game("nim_v0"), name=name)

    with pytest.raises(ValueError, match="expected lower-case letters"):
        spiral_envs.register(spec)

    assert spec.id not in game_ids()


def test_an_unknown_bridge_is_told_from_an_unknown_game():
    with pytest.raises(UnknownNameError, match="unknown bridge 'petingzoo': did you mean pettingzoo"):
        find_source("petingzoo:connect_four_v3")


def test_a_long_list_of_known_names_is_cut():
    error = UnknownNameError("thing", "?", [f"name_{index}" for index in range(1000)])

    assert str(error).endswith("and 960 more")
