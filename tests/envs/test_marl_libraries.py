"""Other people's learners on our environments, as they come from their packages: TorchRL and Stable-Baselines3."""

from collections.abc import Callable, Iterator
from math import sqrt
from typing import TypeAlias

import gymnasium
import numpy as np
import pytest

import spiral_envs
from spiral_envs.batch import DiscreteBatchStep, DiscreteMatchBatch

pytestmark = [
    pytest.mark.slow,
    # TorchRL's own tests stay with the version 1.24.3 of PettingZoo, and it says so with every newer one.
    pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested using version:UserWarning"),
]

Policy: TypeAlias = Callable[[DiscreteBatchStep], np.ndarray]
"""Returns an action for every row of a batch."""


@pytest.fixture(autouse=True)
def one_thread_and_a_seed() -> Iterator[None]:
    """Seeds torch, which both libraries draw from, and lets it use one thread; leaves both as they were."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield
    torch.set_num_threads(num_threads)


def returns_against_random(policy: Policy, game: str, *, num_matches: int) -> np.ndarray:
    """Returns what the policy got in matches against random play, half of them in each seat."""
    rng = np.random.default_rng(0)
    found: list[float] = []
    for seat in (0, 1):
        batch = DiscreteMatchBatch(game, 200, seed=seat)
        step = batch.reset()
        returns: dict[int, float] = {}
        # Of the matches that are started first, so that long ones count as much as short ones.
        while not all(number in returns for number in range(num_matches // 2)):
            random_actions = (rng.random(step.action_masks.shape) * step.action_masks).argmax(axis=1)
            step = batch.step(np.where(step.seats == seat, policy(step), random_actions))
            returns |= {episode.index: episode.outcome.returns[seat] for episode in step.finished.values()}
        found += [returns[number] for number in range(num_matches // 2)]
    return np.array(found)


def interval(sample: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of the mean."""
    half = 1.96 * sample.std() / sqrt(len(sample))
    return sample.mean() - half, sample.mean() + half


def wilson(wins: int, games: int) -> tuple[float, float]:
    """Returns the 95 % interval of the probability of winning (Wilson 1927)."""
    z = 1.96
    share = wins / games
    centre = share + z * z / (2 * games)
    half = z * sqrt(share * (1 - share) / games + z * z / (4 * games * games))
    return (centre - half) / (1 + z * z / games), (centre + half) / (1 + z * z / games)


def test_torchrl_learns_kuhn_poker_by_self_play():
    import torch
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule
    from torch import nn
    from torchrl.envs import PettingZooWrapper, SerialEnv
    from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value import GAE

    game = "kuhn_poker_v0(hands=1,payoff=chips)"

    def make_env() -> PettingZooWrapper:
        env = spiral_envs.make(game, actions="discrete")
        # Both seats are one group, so that one network plays both.
        return PettingZooWrapper(env, use_mask=True, group_map={"players": ["player_0", "player_1"]})

    envs = SerialEnv(16, make_env)
    envs.set_seed(0)
    form = spiral_envs.find_game(game).discrete
    assert form is not None
    policy_net = nn.Sequential(nn.Linear(form.num_features, 64), nn.Tanh(), nn.Linear(64, len(form.moves)))
    value_net = nn.Sequential(nn.Linear(form.num_features, 64), nn.Tanh(), nn.Linear(64, 1))
    observation = ("players", "observation", "observation")
    actor = ProbabilisticActor(
        TensorDictModule(policy_net, in_keys=[observation], out_keys=[("players", "logits")]),
        # Its annotation leaves out the dictionary that its documentation asks for.
        in_keys={"logits": ("players", "logits"), "mask": ("players", "action_mask")},  # pyright: ignore[reportArgumentType]
        out_keys=[("players", "action")],
        distribution_class=MaskedCategorical,
        return_log_prob=True,
    )
    critic = ValueOperator(value_net, in_keys=[observation], out_keys=[("players", "state_value")])
    advantages = GAE(gamma=1.0, lmbda=1.0, value_network=critic)
    loss = ClipPPOLoss(actor, critic, entropy_coeff=0.02)
    for part in (advantages, loss):
        part.set_keys(
            **{name: ("players", name) for name in ("advantage", "value_target", "reward", "done", "terminated")},
            value=("players", "state_value"),
        )
    loss.set_keys(action=("players", "action"), sample_log_prob=("players", "action_log_prob"))
    optimizer = torch.optim.Adam(loss.parameters(), 3e-3)

    def draw(step: DiscreteBatchStep) -> np.ndarray:
        with torch.no_grad():
            logits = policy_net(torch.from_numpy(step.observations))
            return MaskedCategorical(logits, mask=torch.from_numpy(step.action_masks).bool()).sample().numpy()

    untrained = returns_against_random(draw, game, num_matches=6000)
    for _ in range(6):
        with torch.no_grad():
            rollout = envs.rollout(40, actor, break_when_any_done=False)
            players = advantages(rollout)["players"]
        # The seat that waits takes no decision.
        turns = players[players["mask"]]
        for _ in range(10):
            losses = loss(TensorDict({"players": turns}, turns.batch_size))
            optimizer.zero_grad()
            (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
            optimizer.step()
    trained = returns_against_random(draw, game, num_matches=6000)

    # The best reply to uniform play wins 11/24 a hand, half of the NashConv of 11/12.
    assert interval(untrained)[1] < 0.1 < interval(trained)[0] < 11 / 24


def test_stable_baselines3_learns_tic_tac_toe_in_one_seat():
    from sb3_contrib import MaskablePPO

    env = gymnasium.make("spiral_envs/TicTacToe-v0", actions="discrete")
    model = MaskablePPO(
        "MultiInputPolicy",
        env,
        learning_rate=2e-3,
        n_steps=512,
        batch_size=128,
        gamma=1.0,
        gae_lambda=0.9,
        policy_kwargs={"net_arch": [64, 64]},
        seed=1,
        device="cpu",
    )

    def predict(step: DiscreteBatchStep) -> np.ndarray:
        observations = {"observation": step.observations, "action_mask": step.action_masks}
        return model.predict(observations, action_masks=step.action_masks)[0]

    untrained = returns_against_random(predict, "tic_tac_toe_v0", num_matches=1000)
    model.learn(8000)
    trained = returns_against_random(predict, "tic_tac_toe_v0", num_matches=1000)

    assert wilson(int((untrained > 0).sum()), 1000)[1] + 0.1 < wilson(int((trained > 0).sum()), 1000)[0]
