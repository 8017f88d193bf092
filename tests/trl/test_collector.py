"""Which games a batch plays, and with which seeds."""

from scripted import KUHN, TIC_TAC_TOE, ScriptedSampler, legal_reply, scripted_agent

from spiral_envs import Fault, Reply, Termination, find_game
from spiral_envs.chance import match_seed
from spiral_trl.collector import collect


class FirstMove:
    name = "first"

    def __init__(self):
        self.batches = []

    def act(self, views):
        self.batches.append(len(views))
        return [view.legal_moves[0] for view in views]


class Truncated:
    name = "truncated"

    def act(self, views):
        return [Reply("", Fault.TRUNCATED) for _ in views]


def play(games, agents=None, *, first_game=0, num_games, seed=7, concurrency=512):
    agent = FirstMove()
    return collect(
        games, agents or (agent, agent), first_game=first_game, num_games=num_games, seed=seed, concurrency=concurrency
    )


def test_games_are_taken_in_turn_by_their_number_over_the_whole_run():
    games = [KUHN, TIC_TAC_TOE, KUHN]
    labels = [find_game(game).label for game in games]
    assert [episode.game for episode in play(games, num_games=7)] == [labels[number % 3] for number in range(7)]
    # The next batch goes on where this one ended.
    following = [episode.game for episode in play(games, first_game=7, num_games=4)]
    assert following == [labels[number % 3] for number in range(7, 11)]


def test_a_game_named_twice_is_played_twice_as_often():
    episodes = play([KUHN, TIC_TAC_TOE, KUHN], num_games=30)
    assert sum(episode.game == TIC_TAC_TOE for episode in episodes) == 10


def test_episodes_come_in_the_order_of_their_numbers_whichever_finish_first():
    # A hand of Kuhn poker ends long before the game of tic-tac-toe beside it.
    episodes = play([TIC_TAC_TOE, KUHN], num_games=6)
    assert [episode.index for episode in episodes] == list(range(6))
    assert [episode.seed for episode in episodes] == [match_seed(7, number) for number in range(6)]


def test_a_batch_is_the_same_whatever_the_concurrency_and_however_the_run_is_cut(tokenizer):
    agent = scripted_agent(ScriptedSampler(tokenizer, legal_reply))

    def records(**settings):
        episodes = play([KUHN, TIC_TAC_TOE], (agent, agent), **settings)
        return [{**episode.to_json(), "index": None} for episode in episodes]

    whole = records(num_games=10)
    assert records(num_games=10, concurrency=3) == whole
    assert records(num_games=4) + records(first_game=4, num_games=6) == whole


def test_every_game_is_played_to_its_end():
    assert all(
        episode.outcome.termination is Termination.FINISHED for episode in play([TIC_TAC_TOE, KUHN], num_games=9)
    )


def test_a_fault_forfeits_the_game():
    agent = Truncated()
    (episode,) = play([KUHN], (agent, agent), num_games=1)
    assert episode.outcome.termination is Termination.FORFEIT
    assert episode.outcome.returns == (-2.0, 2.0)


def test_both_seats_of_all_games_are_served_as_one_batch():
    agent = FirstMove()
    play([KUHN], (agent, agent), num_games=5)
    # Everybody checks twice.
    assert agent.batches == [5, 5]


def test_seeds_of_different_games_and_runs_never_meet():
    seeds = {match_seed(seed, number) for seed in range(40) for number in (0, 1, 2, 10_000, 2**40 - 1)}
    assert len(seeds) == 40 * 5


def test_another_seed_of_the_run_deals_other_cards():
    cards = [[episode.turns[0].observation for episode in play([KUHN], num_games=20, seed=seed)] for seed in (1, 2)]
    assert cards[0] != cards[1]
