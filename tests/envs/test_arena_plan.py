"""What a tournament plays: every two agents, in both seatings, on the same deals; and in which order."""

import json
import time
from collections import Counter
from itertools import combinations

import pytest

from spiral_envs import MissingExtraError, UnknownNameError
from spiral_envs.arena.plan import (
    Asking,
    Entrant,
    PlannedGame,
    expand_steps,
    game_id,
    games_of_pair,
    make_plan,
    match_seed,
    read_entrant,
    read_entrants,
)
from spiral_envs.arena.schedule import Schedule
from spiral_envs.match import InvalidMove

KUHN = "kuhn_poker_v0"

TIC = "tic_tac_toe_v0"


def planned(*agents, games=(TIC,), pairs=2, seed=0, **options):
    plan, _ = make_plan(
        read_entrants(agents), games, pairs=pairs, seed=seed, invalid_move=InvalidMove.FORFEIT, **options
    )
    return list(plan.games())


def test_every_two_agents_play_every_game_as_often_and_nobody_plays_itself():
    games = planned("random", "first", "mcts:5", games=(TIC, "nim_v0"), pairs=3)
    # 3 matchups, 2 games, 3 pairs, 2 seatings.
    assert len(games) == len({game.id for game in games}) == 36
    assert Counter((game.game, frozenset(game.agents)) for game in games) == {
        (label, frozenset(matchup)): 6
        for label in (TIC, "nim_v0")
        for matchup in (("random", "first"), ("random", "mcts:5"), ("first", "mcts:5"))
    }


def test_the_two_games_of_a_pair_have_the_same_deal_and_swapped_seats():
    games = planned("random", "first", "mcts:5", pairs=3)
    for first, second in zip(games[::2], games[1::2], strict=True):
        assert (first.game, first.pair, first.seed) == (second.game, second.pair, second.seed)
        assert first.agents == second.agents[::-1]
        assert (first.number, second.number) == (2 * first.pair, 2 * first.pair + 1)


def test_every_matchup_meets_the_same_deals_and_no_two_pairs_the_same():
    games = planned("random", "first", "mcts:5", games=(TIC, "nim_v0"), pairs=4)
    deals = {}
    for game in games:
        deals.setdefault((game.game, frozenset(game.agents)), {})[game.pair] = game.seed
    assert len({json.dumps(deals[key]) for key in deals if key[0] == TIC}) == 1
    assert len({game.seed for game in games}) == 8
    assert all(0 <= game.seed < 2**53 for game in games)


def test_games_are_named_by_what_is_played_and_by_nothing_else():
    few = {game.id: game for game in planned("first", "random", pairs=1)}
    more = {game.id: game for game in planned("mcts:5", "random", "first", games=("nim_v0", TIC), pairs=2)}
    assert few.keys() <= more.keys()
    assert all(more[name] == game for name, game in few.items())
    other = {game.id for game in planned("first", "random", pairs=1, seed=1)}
    assert not other & few.keys()


def test_ids_stay_what_they_are():
    # Another version would play all games of a tournament anew. The first 64 and 53 bits, by sha256sum, of
    # ["game", "tic_tac_toe_v0", "first", "random", 0, 0] and ["deal", "tic_tac_toe_v0", 0, 0].
    assert game_id(TIC, ("first", "random"), pair=0, seed=0) == "a8ed3e08e4b38d93"
    assert match_seed(TIC, pair=0, seed=0) == 8488591065387780


def test_the_first_pair_of_every_matchup_comes_before_any_second():
    pairs = [game.pair for game in planned("random", "first", "mcts:5", games=(TIC, "nim_v0"), pairs=3)]
    assert pairs == sorted(pairs)


def test_against_plays_only_the_matchups_of_these():
    games = planned("random", "first", "mcts:5", "mcts:9", pairs=1, against=["mcts:5"])
    assert {frozenset(game.agents) for game in games} == {
        frozenset({"mcts:5", other}) for other in ("random", "first", "mcts:9")
    }


def test_an_agent_is_left_out_of_the_game_that_it_cannot_play_with_a_note():
    plan, notes = make_plan(
        read_entrants(["random", "first", "minimax"]),
        [TIC, KUHN],
        pairs=1,
        seed=0,
        invalid_move=InvalidMove.FORFEIT,
    )
    assert dict(plan.players) == {TIC: ["random", "first", "minimax"], KUHN: ["random", "first"]}
    (note,) = notes
    assert note.startswith("minimax is left out: the minimax agent cannot play kuhn_poker_v0")


def test_a_ladder_adds_the_agents_of_each_game():
    steps = {TIC: ("random", "mcts:5"), KUHN: ("random", "first")}
    plan, notes = make_plan(
        read_entrants(["first"]),
        [TIC, KUHN],
        pairs=1,
        seed=0,
        invalid_move=InvalidMove.FORFEIT,
        ladder=steps.__getitem__,
    )
    assert dict(plan.players) == {TIC: ["first", "random", "mcts:5"], KUHN: ["first", "random"]}
    assert list(plan.entrants) == ["first", "random", "mcts:5"]
    assert not notes


def test_games_of_a_pair_sit_both_ways():
    first, second = games_of_pair(TIC, ("a", "b"), pair=7, seed=3)
    assert (first.agents, second.agents) == (("a", "b"), ("b", "a"))
    assert first.seed == second.seed == match_seed(TIC, pair=7, seed=3)


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        (("random", "rnadom"), "unknown agent 'rnadom': did you mean random"),
        (("random", "random"), "agent 'random' is given twice: each agent takes part once"),
        (("openai:m@http://h/v1", "openai:m@http://h/v1?retries=0"), "agent 'openai:m@http://h/v1' is given twice"),
        (("random", "human"), "agent 'human' cannot take part in a tournament: play with spiral-play"),
        (("mcts:0",), "cannot read agent 'mcts:0'"),
        (("openai:m@http://h/v1?temprature=1",), "unknown option of the openai agent 'temprature'"),
    ],
)
def test_agents_that_cannot_enter_are_refused(agents, said):
    with pytest.raises(ValueError, match="^" + said.replace("?", r"\?")):
        read_entrants(agents)


@pytest.mark.parametrize(
    ("agents", "games", "against", "said"),
    [
        (("random", "first"), ("tictactoe",), (), "unknown game 'tictactoe'"),
        (("random", "first"), (TIC, TIC), (), "game tic_tac_toe_v0 is given twice"),
        (("random", "first"), ("kuhn_poker_v0(players=3)",), (), "expected a game of 2, got 3 seats"),
        (("random", "first"), (TIC,), ("mcts:5",), "agent 'mcts:5' of --against does not take part"),
        (("random",), (TIC,), (), "nothing to play: no two of the agents can play one of the games"),
        (("random", "minimax"), (KUHN,), (), "nothing to play"),
    ],
)
def test_plans_that_cannot_be_are_refused(agents, games, against, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        planned(*agents, games=games, against=against)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("spiral_envs.agents.registry.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"the cfr agent needs packages"):
        planned("random", "cfr", games=(KUHN,))


def test_an_endpoint_is_named_by_what_its_replies_depend_on():
    entrant = read_entrant("openai:m@http://h/v1?concurrency=4&temperature=0.5&timeout_s=9&retries=1")
    assert entrant == Entrant(
        "openai:m@http://h/v1?temperature=0.5",
        "openai:m@http://h/v1?concurrency=4&temperature=0.5&timeout_s=9&retries=1",
        Asking.BY_REQUEST,
        4,
    )
    assert read_entrant("random") == Entrant("random", "random", Asking.ALONE)


def test_all_steps_of_a_run_are_agents_of_their_own(tmp_path):
    for name in ("checkpoint-20", "checkpoint-100", "checkpoint-3", "checkpoint-x", "warmup", "final"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-7").touch()
    assert expand_steps(f"hf:{tmp_path}?step=all&temperature=0.6") == (
        f"hf:{tmp_path}?step=3&temperature=0.6",
        f"hf:{tmp_path}?step=20&temperature=0.6",
        f"hf:{tmp_path}?step=100&temperature=0.6",
        f"hf:{tmp_path}/final?temperature=0.6",
    )
    (tmp_path / "final").rmdir()
    assert expand_steps(f"vllm:{tmp_path}?step=all")[-1] == f"vllm:{tmp_path}?step=100"


def test_steps_are_left_as_they_are_unless_all_are_asked_for(tmp_path):
    assert expand_steps("hf:run?step=40") == ("hf:run?step=40",)
    assert expand_steps("openai:m?step=all") == ("openai:m?step=all",)
    with pytest.raises(ValueError, match="expected a folder with checkpoint-N or final, got "):
        expand_steps(f"hf:{tmp_path}?step=all")


def model(number):
    return Entrant(f"hf:{number}", f"hf:{number}", Asking.IN_BATCHES)


def round_robin(entrants, *, pairs=1):
    names = sorted(entrants)
    return [
        game
        for pair in range(pairs)
        for index, first in enumerate(names)
        for second in names[index + 1 :]
        for game in games_of_pair(TIC, (first, second), pair=pair, seed=0)
    ]


def run_through(schedule, *, concurrency):
    """Plays all games of a schedule, the oldest always ending first; yields who plays after each begin."""
    running = []
    while True:
        while len(running) < concurrency and (game := schedule.take()) is not None:
            running.append(game)
            yield game, {name for each in running for name in each.agents}
        if not running:
            return
        schedule.end(running.pop(0))


@pytest.mark.parametrize("limit", [2, 3, 5])
def test_no_more_models_are_in_memory_than_allowed_and_all_games_are_played(limit):
    entrants = {each.name: each for each in (*map(model, range(7)), read_entrant("random"), read_entrant("first"))}
    games = round_robin(entrants, pairs=2)
    released, loaded, num_loads, seen = [], set(), 0, []
    schedule = Schedule(games, entrants, models_in_memory=limit, release=released.append)
    for game, playing in run_through(schedule, concurrency=8):
        loaded -= set(released)
        released.clear()
        new = {name for name in game.agents if name.startswith("hf:")} - loaded
        num_loads += len(new)
        loaded |= new
        assert len(loaded) <= limit
        assert {name for name in playing if name.startswith("hf:")} <= loaded
        seen.append(game)
    assert sorted(seen) == sorted(games)
    # With room for 2: 0 meets 1 to 6 (7 loads), 1 meets 6 to 2 (5, as 6 is there), 2 meets 3 to 6 (4), and 3, 2, 1.
    # With room for 3: 0 and 1 meet 2 to 6 (7), 2 and 3 meet 6 to 4 (4), 4 and 5 meet 5 and 6 (2).
    # With room for 5: 0 to 3 meet 4 to 6 (7), 4 to 6 meet each other (2).
    assert num_loads == {2: 22, 3: 13, 5: 9}[limit]


def test_a_hundred_thousand_games_are_no_slower_each_than_a_few():
    slow = Entrant("openai:slow", "openai:slow", Asking.BY_REQUEST, concurrency=2)
    entrants = {each.name: each for each in (*map(model, range(6)), slow, read_entrant("random"))}
    games = [
        PlannedGame(f"{pair}", TIC, pair, pair, players, 0)
        for pair in range(400)
        for players in combinations(entrants, 2)
    ]
    schedule = Schedule(games, entrants, models_in_memory=3, release=lambda name: None)
    started_at = time.process_time()
    assert sum(1 for _ in run_through(schedule, concurrency=8)) == 11_200
    # About 0.3 s; each look at all games that are left would take minutes.
    assert time.process_time() - started_at < 10


def test_agents_are_released_after_their_last_game():
    entrants = {each.name: each for each in map(read_entrant, ("random", "first", "mcts:5"))}
    released = []
    schedule = Schedule(round_robin(entrants), entrants, models_in_memory=2, release=released.append)
    for _ in run_through(schedule, concurrency=1):
        pass
    assert sorted(released) == ["first", "mcts:5", "random"]


def test_games_of_an_endpoint_begin_as_far_as_it_takes_requests_and_others_go_on():
    slow = Entrant("openai:slow", "openai:slow", Asking.BY_REQUEST, concurrency=2)
    entrants = {each.name: each for each in (slow, read_entrant("random"), read_entrant("first"))}
    schedule = Schedule(round_robin(entrants, pairs=10), entrants, models_in_memory=2, release=lambda name: None)
    begun: list[PlannedGame] = []
    while (game := schedule.take()) is not None:
        begun.append(game)
    assert sum("openai:slow" in game.agents for game in begun) == 2
    assert sum("openai:slow" not in game.agents for game in begun) == 20


def test_a_model_does_not_wait_for_an_endpoint_that_is_busy():
    slow = Entrant("openai:slow", "openai:slow", Asking.BY_REQUEST, concurrency=1)
    entrants = {each.name: each for each in (slow, model(0), model(1), model(2), read_entrant("random"))}
    games = [game for game in round_robin(entrants, pairs=5) if "hf:0" in game.agents]
    schedule = Schedule(games, entrants, models_in_memory=2, release=lambda name: None)
    begun = []
    while (game := schedule.take()) is not None:
        begun.append(tuple(sorted(game.agents)))
    # No third model is loaded for that.
    assert set(begun) == {("hf:0", "openai:slow"), ("hf:0", "random")}
    assert (begun.count(("hf:0", "openai:slow")), begun.count(("hf:0", "random"))) == (1, 10)


def test_dropping_an_agent_takes_its_games_alone():
    entrants = {each.name: each for each in map(read_entrant, ("random", "first", "mcts:5"))}
    schedule = Schedule(round_robin(entrants, pairs=3), entrants, models_in_memory=2, release=lambda name: None)
    assert schedule.drop("mcts:5") == 12
    assert schedule.num_waiting == 6
    assert all("mcts:5" not in game.agents for game, _ in run_through(schedule, concurrency=4))


def test_unknown_names_are_their_own_error():
    with pytest.raises(UnknownNameError):
        read_entrant("mincts")
