"""A tournament is played once, the same way whatever else runs, and no error of a machine costs anybody a game."""

import json
import random
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from stub_openai_server import completion, error, quick_and_alone, serving

from spiral_envs import make_agent
from spiral_envs.agents import EndpointError
from spiral_envs.arena.budget import Caps, Price
from spiral_envs.arena.folder import FolderError, mend_last_line, open_folder
from spiral_envs.arena.plan import Asking, Entrant, Plan, make_plan, read_entrants
from spiral_envs.arena.records import game_records
from spiral_envs.arena.tournament import Settings, play_tournament
from spiral_envs.json_lines import JsonLines
from spiral_envs.match import InvalidMove, Reply, Usage
from spiral_envs.sources import find_source

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"

TIC = "tic_tac_toe_v0"


@pytest.fixture(autouse=True)
def alone_with_the_server(monkeypatch):
    """No long pauses, and neither a key nor a proxy of whoever runs the tests."""
    quick_and_alone(monkeypatch)


def plan_of(*agents, games=(TIC, KUHN), pairs=3, seed=0, invalid_move=InvalidMove.FORFEIT):
    return make_plan(read_entrants(agents), games, pairs=pairs, seed=seed, invalid_move=invalid_move)[0]


def plan_with(*entrants, games=(KUHN,), pairs=3):
    """Returns the plan of agents that only a test knows."""
    sources = {label: find_source(label) for label in games}
    return Plan(
        entrants={entrant.name: entrant for entrant in entrants},
        sources=sources,
        players={label: [entrant.name for entrant in entrants] for label in games},
        pairs=pairs,
        seed=0,
        invalid_move=InvalidMove.FORFEIT,
    )


def alone(name):
    return Entrant(name, name, Asking.ALONE)


def batched(name):
    return Entrant(name, name, Asking.IN_BATCHES)


def endpoint(name, concurrency=4):
    return Entrant(name, name, Asking.BY_REQUEST, concurrency)


def maker(**fakes):
    """Returns what makes the agents of a test, and the package's own."""
    return lambda name: fakes[name] if name in fakes else make_agent(name)


def games_in(folder):
    """Returns the lines of the finished games without the time that they took, by id."""
    lines = JsonLines(folder / "games.jsonl").read()
    games = {line.pop("id"): line for line in lines}
    assert len(games) == len(lines), "no game is played twice"
    for line in games.values():
        assert line.pop("time_s") >= 0
    return games


def aborted_in(folder):
    return JsonLines(folder / "aborted.jsonl").read()


BETS = ("[bet]", "[call]")

PASSES = ("[check]", "[fold]")


class Betting:
    """Bets wherever it can, or does what it is told to, and remembers how it was asked."""

    name = "betting"

    def __init__(self, moves=BETS):
        self.moves = moves
        self.sizes = []

    def act(self, views):
        self.sizes.append(len(views))
        return [next(move for move in self.moves if move in view.legal_moves) for view in views]


class Endpoint:
    """An endpoint's agent whose replies a function makes."""

    name = "endpoint"

    def __init__(self, answer):
        self.answer = answer
        self.seeds = []

    def ask(self, view, *, seed, stop=None):
        self.seeds.append(seed)
        return self.answer(view)


def test_all_games_of_the_plan_are_written_once_as_records(tmp_path):
    plan = plan_of("random", "first", "mcts:5")
    ending = play_tournament(tmp_path, plan, Settings())
    games = games_in(tmp_path)
    planned = {game.id: game for game in plan.games()}
    assert games.keys() == planned.keys()
    for name, game in games.items():
        assert tuple(game["agents"]) == planned[name].agents
        assert (game["game"], game["pair"], game["seed"]) == planned[name][1:3] + planned[name][5:]
        assert game["usage"] == {}
    # 3 matchups of tic-tac-toe and 1 of poker, 3 pairs, 2 seatings.
    assert len(game_records(JsonLines(tmp_path / "games.jsonl").read())) == 24
    assert (ending.progress.total, ending.progress.done, ending.progress.played) == (24, 24, 24)
    assert ending.why_stopped is None
    assert {agent: score.games for agent, score in ending.scores.items()} == {"random": 18, "first": 18, "mcts:5": 12}


def test_scores_are_those_of_the_games(tmp_path):
    # One checks and folds, so the ante goes to the other, whatever the cards.
    plan = plan_with(alone("bets"), alone("passes"), pairs=4)
    make = maker(bets=Betting(), passes=Betting(PASSES))
    ending = play_tournament(tmp_path, plan, Settings(), make=make)
    bets, passes = ending.scores["bets"], ending.scores["passes"]
    assert (bets.games, bets.wins, bets.draws, bets.losses, bets.forfeits, bets.share) == (8, 8, 0, 0, 0, 1.0)
    assert (passes.games, passes.wins, passes.losses, passes.share) == (8, 0, 8, 0.0)


def test_a_game_is_the_same_whatever_else_runs(tmp_path):
    plan = plan_of("random", "first", "mcts:20", "minimax", pairs=4)
    play_tournament(tmp_path / "one", plan, Settings(concurrency=1))
    random.seed(1)
    play_tournament(tmp_path / "many", plan, Settings(concurrency=64))
    one, many = games_in(tmp_path / "one"), games_in(tmp_path / "many")
    assert one == many
    # In a smaller tournament the games that it shares are the same too.
    play_tournament(tmp_path / "few", plan_of("mcts:20", "random", games=(TIC,), pairs=2), Settings())
    few = games_in(tmp_path / "few")
    assert len(few) == 4
    assert all(one[name] == game for name, game in few.items())


def test_another_seed_deals_other_games(tmp_path):
    plans = [plan_of("random", "first", games=(KUHN,), pairs=8, seed=seed) for seed in (0, 1)]
    turns = []
    for number, plan in enumerate(plans):
        play_tournament(tmp_path / str(number), plan, Settings())
        turns.append([game["turns"] for game in games_in(tmp_path / str(number)).values()])
    assert turns[0] != turns[1]


def test_a_finished_tournament_is_extended_and_nothing_is_played_again(tmp_path):
    play_tournament(tmp_path, plan_of("random", "first", pairs=2), Settings())
    first = games_in(tmp_path)
    again = play_tournament(tmp_path, plan_of("random", "first", pairs=2), Settings())
    assert (again.progress.done, again.progress.played) == (8, 0)
    more = play_tournament(tmp_path, plan_of("first", "random", "mcts:5", pairs=3), Settings())
    # 3 matchups of tic-tac-toe and 1 of poker, 3 pairs: 24 games, of which 8 are there.
    assert (more.progress.done, more.progress.played) == (24, 16)
    games = games_in(tmp_path)
    assert len(games) == 24
    assert all(games[name] == game for name, game in first.items())
    settings = json.loads((tmp_path / "tournament.json").read_text())
    assert (settings["agents"], settings["pairs"]) == (["random", "first", "mcts:5"], 3)
    # A smaller one is found to be done, and takes nothing away.
    fewer = play_tournament(tmp_path, plan_of("random", "first", pairs=1), Settings())
    assert (fewer.progress.total, fewer.progress.played) == (4, 0)
    assert json.loads((tmp_path / "tournament.json").read_text()) == settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "has --seed 0, got 1: give the same, or choose another --out"),
        ({"invalid_move": InvalidMove.RANDOM}, "has --invalid-move forfeit, got random: give the same"),
    ],
)
def test_another_tournament_is_refused(tmp_path, changes, said):
    plan = plan_of("random", "first", pairs=1)
    play_tournament(tmp_path, plan, Settings())
    before = (tmp_path / "games.jsonl").read_bytes()
    with pytest.raises(FolderError, match=said):
        play_tournament(tmp_path, replace(plan, **changes), Settings())
    assert (tmp_path / "games.jsonl").read_bytes() == before


def test_a_folder_with_games_of_something_else_is_refused(tmp_path):
    (tmp_path / "games.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(FolderError, match=r"holds games but no tournament.json: choose another --out"):
        play_tournament(tmp_path, plan_of("random", "first"), Settings())
    assert (tmp_path / "games.jsonl").read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"seed": "0", "invalid_move": "forfeit"}'])
def test_settings_that_cannot_be_read_are_refused(tmp_path, text):
    (tmp_path / "tournament.json").write_text(text)
    with pytest.raises(FolderError, match="expected the settings of a tournament"):
        play_tournament(tmp_path, plan_of("random", "first"), Settings())


def test_two_processes_do_not_play_in_one_folder(tmp_path):
    plan = plan_of("random", "first", pairs=1)
    with open_folder(tmp_path, plan, code=""), pytest.raises(FolderError, match="another process plays in "):
        play_tournament(tmp_path, plan, Settings())
    assert play_tournament(tmp_path, plan, Settings()).progress.done == 4


def test_a_torn_line_is_cut_off_and_its_game_played_again(tmp_path):
    plan = plan_of("random", "first", pairs=5)
    play_tournament(tmp_path, plan, Settings())
    whole = games_in(tmp_path)
    file = tmp_path / "games.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    assert play_tournament(tmp_path, plan, Settings()).progress.played == 1
    assert games_in(tmp_path) == whole
    assert all(line.startswith("{") for line in file.read_text().splitlines())
    assert [json.loads(line)["game"] for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"a": 1}\n{"b": 2', b'{"a": 1}\n'),
        (b'{"a": 1}\n{"b": 2}', b'{"a": 1}\n{"b": 2}\n'),
        (b'{"a": 1}\n', b'{"a": 1}\n'),
        (b'{"a', b""),
        (b"", b""),
        (b'{"a": 1}\n{"b": "' + b"x" * 200_000, b'{"a": 1}\n'),
        (b'{"a": 1}\n\xff\xfe', b'{"a": 1}\n'),
    ],
)
def test_the_last_line_is_mended(tmp_path, before, after):
    file = tmp_path / "lines.jsonl"
    file.write_bytes(before)
    mend_last_line(file)
    assert file.read_bytes() == after


def test_a_model_gets_what_waits_for_it_as_one_batch(tmp_path):
    model, other = Betting(), Betting(PASSES)
    plan = plan_with(batched("model"), batched("other"), pairs=10)
    play_tournament(tmp_path, plan, Settings(concurrency=20, batch_size=64), make=maker(model=model, other=other))
    # It opens ten games and answers the check of the other in ten.
    assert model.sizes == [10, 10]
    # The other checks in ten, and folds in all.
    assert sum(other.sizes) == 30
    assert max(other.sizes) >= 10


def test_a_batch_is_no_larger_than_allowed(tmp_path):
    model = Betting()
    plan = plan_with(batched("model"), alone("first"), pairs=10)
    play_tournament(tmp_path, plan, Settings(concurrency=20, batch_size=4), make=maker(model=model))
    assert max(model.sizes) == 4
    # In one seat it opens with a bet, in the other it answers a check with one: a move a game.
    assert sum(model.sizes) == 20


def test_a_batch_too_large_for_the_memory_is_halved(tmp_path):
    class Small(Betting):
        def act(self, views):
            if len(views) > 3:
                self.sizes.append(len(views))
                raise RuntimeError("out of memory")
            return super().act(views)

    model = Small()
    plan = plan_with(batched("model"), alone("first"), pairs=16)
    ending = play_tournament(tmp_path, plan, Settings(concurrency=32, batch_size=16), make=maker(model=model))
    assert ending.progress.done == 32
    assert not aborted_in(tmp_path)
    # 16, 8 and 4 fail once, and from then on no batch is larger than 2.
    assert [size for size in model.sizes if size > 3] == [16, 8, 4, 4, 8, 4, 4]
    assert model.sizes[-1] == 2


def test_a_model_that_fails_aborts_the_game_and_nobody_loses(tmp_path):
    class Broken(Betting):
        def act(self, views):
            raise RuntimeError("out of\n memory")

    plan = plan_with(batched("model"), alone("first"), alone("random"), pairs=5)
    ending = play_tournament(tmp_path, plan, Settings(), make=maker(model=Broken()))
    assert ending.set_aside == {"model": "out of memory"}
    # The games of the others are all played.
    assert ending.progress.done == 10
    assert "model" not in ending.scores
    aborted = aborted_in(tmp_path)
    assert {(line["agent"], line["reason"]) for line in aborted} == {("model", "out of memory")}
    assert all("model" in line["agents"] and {"id", "game", "pair"} <= line.keys() for line in aborted)
    # Once it is repaired, its games are played, and only those.
    mended = play_tournament(tmp_path, plan, Settings(), make=maker(model=Betting()))
    assert (mended.progress.done, mended.progress.played) == (30, 20)
    assert len(games_in(tmp_path)) == 30


def test_a_model_that_cannot_be_loaded_is_set_aside(tmp_path):
    def make(name):
        if name == "model":
            raise OSError("no such folder")
        return make_agent(name)

    plan = plan_with(batched("model"), alone("first"), alone("random"), pairs=5)
    ending = play_tournament(tmp_path, plan, Settings(), make=make)
    assert ending.set_aside == {"model": "no such folder"}
    assert ending.progress.done == 10


def test_a_fault_of_the_program_ends_it_and_keeps_what_was_played(tmp_path):
    class Wrong(Betting):
        def act(self, views):
            raise TypeError("a bug")

    plan = plan_with(alone("wrong"), alone("first"), alone("random"), pairs=2)
    with pytest.raises(TypeError, match="a bug"):
        play_tournament(tmp_path, plan, Settings(), make=maker(wrong=Wrong()))
    assert not aborted_in(tmp_path)
    assert play_tournament(tmp_path, plan, Settings(), make=maker(wrong=Betting())).progress.done == 12


def test_games_that_end_beside_a_fault_of_the_program_are_kept(tmp_path):
    class WrongAtLast(Betting):
        num_calls = 0

        def act(self, views):
            self.num_calls += 1
            if self.num_calls == 4:
                # Every game that waits for it is told of the same error.
                raise KeyError("a bug")
            return super().act(views)

    agents = {"wrong": WrongAtLast(), "other": Betting()}
    plan = plan_with(batched("wrong"), batched("other"), pairs=16)
    with pytest.raises(KeyError, match="a bug"):
        play_tournament(tmp_path, plan, Settings(batch_size=8), make=maker(**agents))
    # Two batches each for the first moves of 16 games, and one each for the calls that end 8 of them.
    kept = len(games_in(tmp_path))
    ending = play_tournament(tmp_path, plan, Settings(), make=maker(wrong=Betting(), other=Betting()))
    assert kept >= 8
    assert ending.progress.played == 32 - kept


def test_models_are_loaded_and_asked_one_at_a_time(tmp_path):
    at_work, threads = threading.Lock(), set()

    class Model(Betting):
        def act(self, views):
            threads.add(threading.get_ident())
            assert at_work.acquire(blocking=False)
            time.sleep(0.001)
            at_work.release()
            return super().act(views)

    def make(name):
        threads.add(threading.get_ident())
        assert at_work.acquire(blocking=False)
        time.sleep(0.001)
        at_work.release()
        return Model()

    plan = plan_with(*map(batched, ("hf:1", "hf:2", "vllm:3", "added")), pairs=4)
    assert play_tournament(tmp_path, plan, Settings(), make=make).progress.done == 48
    assert len(threads) == 1


def test_an_agent_is_made_when_it_is_needed_and_freed_after_its_last_game(tmp_path):
    class Model(Betting):
        alive = 0
        most_alive = 0

        def __init__(self):
            super().__init__()
            Model.alive += 1
            Model.most_alive = max(Model.most_alive, Model.alive)

        def __del__(self):
            Model.alive -= 1

    names = [f"hf:{number}" for number in range(5)]
    plan = plan_with(*map(batched, names), alone("first"), pairs=2)
    make = lambda name: Model() if name.startswith("hf:") else make_agent(name)  # noqa: E731
    ending = play_tournament(tmp_path, plan, Settings(models_in_memory=3), make=make)
    assert ending.progress.done == 60
    assert (Model.most_alive, Model.alive) == (3, 0)


def test_a_slow_endpoint_holds_up_only_its_own_games(tmp_path):
    others_done = threading.Event()

    def slow(view):
        # The tournament would wait for ever if these replies came before the other games.
        assert others_done.wait(60)
        return "[bet]"

    def watch(progress):
        if progress.done >= 60:
            others_done.set()

    plan = plan_with(endpoint("slow", 2), endpoint("quick", 2), alone("random"), alone("first"), pairs=10)
    make = maker(slow=Endpoint(slow), quick=Endpoint(lambda view: "[bet]"))
    ending = play_tournament(tmp_path, plan, Settings(concurrency=8), make=make, watch=watch)
    assert ending.progress.done == 120


def test_an_endpoint_is_asked_as_much_at_once_as_it_takes(tmp_path):
    everyone = threading.Barrier(4)
    counting, in_flight, most = threading.Lock(), [0], [0]

    def answer(view):
        with counting:
            in_flight[0] += 1
            most[0] = max(most[0], in_flight[0])
        # Nobody is answered before four ask.
        everyone.wait(60)
        with counting:
            in_flight[0] -= 1
        return "[bet]"

    plan = plan_with(endpoint("many", 4), alone("passes"), pairs=8)
    make = maker(many=Endpoint(answer), passes=Betting(PASSES))
    assert play_tournament(tmp_path, plan, Settings(), make=make).progress.done == 16
    assert most == [4]


def test_the_seed_of_a_request_follows_from_the_game_and_the_ply(tmp_path):
    plan = plan_with(endpoint("asked"), alone("first"), pairs=4)
    seeds = []
    for number, concurrency in enumerate((1, 8)):
        asked = Endpoint(lambda view: "[bet]")
        play_tournament(tmp_path / str(number), plan, Settings(concurrency=concurrency), make=maker(asked=asked))
        seeds.append(sorted(asked.seeds))
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == len(seeds[0]) == 8


def test_what_an_endpoint_took_stands_in_each_game(tmp_path):
    plan = plan_with(endpoint("paid"), alone("passes"), pairs=1)
    make = maker(
        paid=Endpoint(lambda view: Reply("[bet]", usage=Usage(1000, 200))),
        passes=Betting(PASSES),
    )
    ending = play_tournament(tmp_path, plan, Settings(prices={"paid": Price(1, 10)}), make=make)
    for game in games_in(tmp_path).values():
        # $1 x 1,000 / 10^6 + $10 x 200 / 10^6, a request a game.
        usage = {"requests": 1, "prompt_tokens": 1000, "completion_tokens": 200, "cost": pytest.approx(0.003)}
        assert game["usage"] == {"paid": usage}
    assert (ending.progress.tokens, ending.progress.cost) == (2400, pytest.approx(0.006))


def test_nothing_is_asked_after_the_budget_is_spent_and_a_higher_one_goes_on(tmp_path):
    plan = plan_with(endpoint("paid", 1), alone("first"), pairs=10)
    # It opens or answers once a game: 20 requests in all.
    first = Endpoint(lambda view: Reply("[bet]", usage=Usage(90, 10)))
    ending = play_tournament(tmp_path, plan, Settings(caps=Caps(tokens=750)), make=maker(paid=first))
    assert len(first.seeds) == 8
    assert ending.why_stopped == "the budget of 750 tokens is spent (800); a higher --max-tokens goes on"
    assert ending.progress.done <= 8
    assert not aborted_in(tmp_path)
    # The same cap asks for nothing more.
    none = Endpoint(lambda view: pytest.fail("asked"))
    assert play_tournament(tmp_path, plan, Settings(caps=Caps(tokens=750)), make=maker(paid=none)).why_stopped
    rest = Endpoint(lambda view: Reply("[bet]", usage=Usage(90, 10)))
    ending = play_tournament(tmp_path, plan, Settings(caps=Caps(tokens=5000)), make=maker(paid=rest))
    assert (ending.progress.done, len(rest.seeds), ending.progress.tokens) == (20, 12, 2000)
    assert not set(first.seeds) & set(rest.seeds)


def test_games_under_way_at_the_cap_wait_and_what_they_paid_for_is_kept(tmp_path):
    plan = plan_with(endpoint("paid", 1), alone("first"), games=(TIC,), pairs=2)

    def answer(view):
        return Reply(view.legal_moves[-1], usage=Usage(10, 0))

    first = Endpoint(answer)
    ending = play_tournament(tmp_path, plan, Settings(caps=Caps(tokens=10)), make=maker(paid=first))
    assert (ending.progress.done, len(first.seeds)) == (0, 1)
    rest = Endpoint(answer)
    ending = play_tournament(tmp_path, plan, Settings(), make=maker(paid=rest))
    assert ending.progress.done == 4
    num_turns = sum(
        turn["seat"] == game["agents"].index("paid") for game in games_in(tmp_path).values() for turn in game["turns"]
    )
    assert len(first.seeds) + len(rest.seeds) == num_turns
    assert ending.progress.tokens == 10 * num_turns
    play_tournament(tmp_path / "at_once", plan, Settings(), make=maker(paid=Endpoint(answer)))
    assert games_in(tmp_path) == games_in(tmp_path / "at_once")


def test_a_prompt_too_long_takes_nothing_and_a_budget_goes_on(tmp_path):
    with serving([error(400, "too much", code="context_length_exceeded")]) as stub:
        plan = plan_of(f"openai:m@{stub.url}", "first", games=(KUHN,), pairs=3)
        ending = play_tournament(tmp_path, plan, Settings(caps=Caps(tokens=10)))
    assert (ending.progress.done, ending.why_stopped, ending.progress.tokens) == (6, None, 0)
    records = game_records(JsonLines(tmp_path / "games.jsonl").read())
    assert {record.fault for record in records} == {"prompt_too_long"}


def test_what_failed_requests_took_counts_in_this_run_and_the_next(tmp_path):
    with serving([completion("[bet]", "content_filter", usage=(50, 5))]) as stub:
        plan = plan_of(f"openai:m@{stub.url}?concurrency=1&retries=0", "first", games=(KUHN,), pairs=3)
        first = play_tournament(tmp_path, plan, Settings())
        assert (first.progress.done, first.progress.forfeits, first.progress.tokens) == (0, 0, 55 * len(stub.requests))
        stub.answer = lambda request, number: completion("[bet]", usage=(50, 5))
        second = play_tournament(tmp_path, plan, Settings())
    assert second.progress.done == 6
    assert second.progress.tokens == 55 * len(stub.requests)


def test_no_hours_are_no_games(tmp_path):
    plan = plan_of("random", "first", pairs=1)
    ending = play_tournament(tmp_path, plan, Settings(caps=Caps(hours=1e-12)))
    assert (ending.progress.done, ending.why_stopped) == (0, "1e-12 hours are over; the same command goes on")


def test_a_server_that_fails_now_and_then_costs_nobody_a_game(tmp_path):
    attempts = Counter()

    def answer(request, number):
        # Requests differ by their seeds, and a repeated one has the same.
        attempts[request["seed"]] += 1
        answers = {1: error(500), 2: (200, b"{torn"), 3: error(429), 4: completion("\\boxed{[bet]}", usage=(50, 5))}
        return answers[attempts[request["seed"]]]

    with serving(answer) as stub:
        plan = plan_of(f"openai:m@{stub.url}?concurrency=2", "first", games=(KUHN,), pairs=4)
        ending = play_tournament(tmp_path, plan, Settings())
    assert (ending.progress.done, ending.progress.forfeits, ending.progress.aborted) == (8, 0, 0)
    # A reply a game, of which each took four attempts.
    assert len(stub.requests) == 32
    assert ending.progress.tokens == 8 * 55


def test_after_the_server_is_repaired_only_what_is_missing_is_asked_for(tmp_path):
    def free_cell(request):
        board = request["messages"][0]["content"].partition("Board:")[2]
        return next(cell for cell in "012345678" if f" {cell}" in board)

    def answer(request, number):
        if number >= 10:
            return error(401, "the key has run out")
        return completion(f"\\boxed{{[{free_cell(request)}]}}", usage=(50, 5))

    with serving(answer) as stub:
        agent = f"openai:m@{stub.url}?concurrency=3"
        plan = plan_of(agent, "mcts:5", "random", games=(TIC,), pairs=4)
        ending = play_tournament(tmp_path, plan, Settings())
        (reason,) = ending.set_aside.values()
        assert "the key has run out" in reason
        # The games of the other two go on; no game of the endpoint's is lost.
        records = game_records(JsonLines(tmp_path / "games.jsonl").read())
        assert sum(agent.partition("?")[0] not in record.agents for record in records) == 8
        assert all(record.offender is None for record in records)
        # Three in a row, and those that were under way with them.
        assert len(aborted_in(tmp_path)) >= 3
        assert {line["agent"] for line in aborted_in(tmp_path)} == {agent.partition("?")[0]}
        kept = JsonLines(tmp_path / "replies.jsonl").read()
        assert len(kept) == 10
        num_asked = len(stub.requests)
        stub.answer = lambda request, number: completion(f"\\boxed{{[{free_cell(request)}]}}", usage=(50, 5))
        ending = play_tournament(tmp_path, plan, Settings())
        assert (ending.progress.done, ending.set_aside) == (24, {})
        num_turns = sum(
            "openai" in game["agents"][turn["seat"]] for game in games_in(tmp_path).values() for turn in game["turns"]
        )
        assert len(stub.requests) - num_asked == num_turns - 10
        usages = [usage for game in games_in(tmp_path).values() for usage in game["usage"].values()]
        assert sum(usage["requests"] for usage in usages) == num_turns


def test_an_endpoint_that_fails_now_and_then_is_not_set_aside(tmp_path):
    calls = []

    def answer(view):
        calls.append(view)
        if len(calls) % 3:
            raise EndpointError("busy")
        return "[bet]"

    # One game at a time: two are aborted, the third is played.
    plan = plan_with(endpoint("moody", 1), alone("passes"), pairs=6)
    make = maker(moody=Endpoint(answer), passes=Betting(PASSES))
    ending = play_tournament(tmp_path, plan, Settings(), make=make)
    assert ending.set_aside == {}
    assert (ending.progress.done, ending.progress.aborted) == (4, 8)
    assert len(aborted_in(tmp_path)) == 8


def test_a_reply_is_asked_for_anew_when_the_question_has_changed(tmp_path):
    plan = plan_with(endpoint("asked", 1), alone("first"), pairs=1)
    play_tournament(tmp_path, plan, Settings(), make=maker(asked=Endpoint(lambda view: "[bet]")))
    replies = tmp_path / "replies.jsonl"
    lines = [json.loads(line) for line in replies.read_text().splitlines()]
    lines[0]["asked"] = "0" * 16
    replies.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "games.jsonl").unlink()
    again = Endpoint(lambda view: "[bet]")
    assert play_tournament(tmp_path, plan, Settings(), make=maker(asked=again)).progress.done == 2
    assert len(again.seeds) == 1


def test_a_fault_of_an_endpoint_is_kept_with_its_reply(tmp_path):
    with serving([completion("\\boxed{[be", "length", usage=(9, 9))]) as stub:
        plan = plan_of(f"openai:m@{stub.url}", "first", games=(KUHN,), pairs=1)
        play_tournament(tmp_path, plan, Settings())
        asked = len(stub.requests)
        first = games_in(tmp_path)
        (tmp_path / "games.jsonl").unlink()
        play_tournament(tmp_path, plan, Settings())
        assert len(stub.requests) == asked
    assert games_in(tmp_path) == first
    assert {game["fault"] for game in first.values()} == {"truncated"}
