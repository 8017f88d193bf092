"""The random numbers of matches, against published values."""

import copy
import pickle
import random

import numpy as np
import pytest

from spiral_envs import make_match
from spiral_envs.chance import bits64, uniform


@pytest.mark.parametrize(
    ("seed", "numbers"),
    [
        # The first numbers of Vigna's splitmix64.c, as Rosetta Code lists them for 1234567.
        (
            1234567,
            (
                6457827717110365317,
                3203168211198807973,
                9817491932198370423,
                4593380528125082431,
                16408922859458223821,
            ),
        ),
        # The same program's for 0, which the tests of Java's and Rust's generators seeded by it use.
        (0, (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)),
    ],
)
def test_the_stream_is_splitmix64(seed, numbers):
    assert tuple(bits64(seed, index) for index in range(len(numbers))) == numbers
    assert [uniform(seed, index) for index in range(len(numbers))] == [(bits >> 11) / 2**53 for bits in numbers]


def test_numbers_are_uniform_within_a_stream_and_over_neighbouring_seeds():
    for numbers in ([uniform(7, index) for index in range(10_000)], [uniform(seed, 0) for seed in range(10_000)]):
        counts = np.histogram(numbers, bins=10, range=(0, 1))[0]
        # 1000 expected in each, standard deviation 30.
        assert all(880 < count < 1120 for count in counts)
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.05


def test_seeds_of_any_size_start_different_streams():
    words = (1, 2, 2**32, 2**63, 2**64 - 1)
    seeds = {*words, *(high << shift | low for high in words for low in (0, *words) for shift in (64, 128, 192))}
    assert len({uniform(seed, 0) for seed in seeds}) == len(seeds) == 95
    # The words of a seed in another order are another seed.
    assert uniform(1 << 64 | 2, 0) != uniform(2 << 64 | 1, 0)


def test_a_match_takes_any_integer_from_0_as_its_seed():
    assert make_match("kuhn_poker_v0", seed=np.int64(3)).turns == ()  # pyright: ignore[reportArgumentType]
    match = make_match("kuhn_poker_v0", seed=np.uint8(3))  # pyright: ignore[reportArgumentType]
    assert type(match.seed) is int
    assert match.view(0) == make_match("kuhn_poker_v0", seed=3).view(0)
    assert make_match("kuhn_poker_v0", seed=10**40).seed == 10**40
    with pytest.raises(ValueError, match=r"^seed is -1: expected an integer from 0$"):
        make_match("kuhn_poker_v0", seed=-1)
    with pytest.raises(TypeError, match="integer"):
        make_match("kuhn_poker_v0", seed=1.0)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda match: pickle.loads(pickle.dumps(match))])
def test_a_copy_draws_the_same_numbers_and_shares_no_turns(copied):
    match = make_match("kuhn_poker_v0", seed=5, invalid_move="random")
    match.submit("nonsense")
    twin = copied(match)
    while twin.seat_to_move is not None:
        twin.submit("nonsense")
    assert len(match.turns) == 1
    while match.seat_to_move is not None:
        match.submit("nonsense")
    assert match.turns == twin.turns


def test_the_numbers_of_a_match_do_not_depend_on_pythons_own():
    random.seed(1)
    before = random.getstate()
    make_match("kuhn_poker_v0", seed=1)
    assert random.getstate() == before
