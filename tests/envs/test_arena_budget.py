"""What a tournament may spend: exact sums, and a reason to stop at each cap."""

import math
import threading

import pytest

from spiral_envs.arena.budget import Budget, Caps, Price, Spending, parse_price
from spiral_envs.match import Usage


def test_a_price_is_per_million_tokens():
    # 2,000 x $3 / 10^6 + 500 x $15 / 10^6 = $0.006 + $0.0075.
    assert parse_price("3,15").cost(Usage(2000, 500)) == pytest.approx(0.0135, abs=1e-15)
    assert parse_price("0,0.6") == Price(0.0, 0.6)


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "nan,1", "1,inf", "-1,2"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(ValueError, match="expected IN,OUT in US dollars a million tokens"):
        parse_price(text)


def test_the_cost_stops_when_it_is_reached_and_says_how_to_go_on():
    budget = Budget(Caps(cost=0.03), {"a": Price(10, 20)})
    # $0.01 each.
    for _ in range(2):
        budget.charge("a", Usage(600, 200))
        assert budget.why_stop is None
    budget.charge("a", Usage(600, 200))
    assert budget.cost == pytest.approx(0.03)
    assert budget.why_stop == "the budget of $0.03 is spent ($0.0300); a higher --max-cost goes on"


def test_tokens_stop_without_a_price():
    budget = Budget(Caps(tokens=1000), {})
    budget.charge("a", Usage(600, 399))
    assert (budget.tokens, budget.cost, budget.why_stop) == (999, None, None)
    budget.charge("b", Usage(1, 0))
    assert budget.why_stop == "the budget of 1,000 tokens is spent (1,000); a higher --max-tokens goes on"


def test_hours_stop():
    now = [50.0]
    budget = Budget(Caps(hours=0.5), {}, clock=lambda: now[0])
    now[0] += 1799.0
    assert (budget.seconds_left, budget.why_stop) == (1.0, None)
    now[0] += 2.0
    assert budget.why_stop == "0.5 hours are over; the same command goes on"


def test_without_caps_nothing_stops():
    budget = Budget(Caps(), {"a": Price(1, 1)})
    budget.charge("a", Usage(10**9, 10**9))
    budget.charge("b", None)
    assert budget.why_stop is None
    assert budget.seconds_left is None
    assert budget.cost == 2000.0


@pytest.mark.parametrize("caps", [Caps(cost=1.0), Caps(tokens=10)])
def test_a_cap_that_cannot_be_kept_stops(caps):
    budget = Budget(caps, {"a": Price(1, 1)})
    budget.charge("a", None)
    assert budget.why_stop == "a does not say what a reply took: --max-cost and --max-tokens cannot be kept"


def test_charges_of_many_threads_all_count():
    budget = Budget(Caps(), {"a": Price(1, 0)})

    def charge():
        for _ in range(2000):
            budget.charge("a", Usage(1, 2))

    threads = [threading.Thread(target=charge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.tokens == 24_000
    assert math.isclose(budget.cost or 0, 0.008)


def test_the_usage_of_a_game_has_no_cost_without_a_price():
    spending = Spending()
    spending.add(Usage(10, 5), None)
    spending.add(None, None)
    assert spending.to_json() == {"requests": 2, "prompt_tokens": 10, "completion_tokens": 5, "cost": None}
    spending.add(Usage(1_000_000, 0), Price(2.0, 9.0))
    assert spending.to_json() == {"requests": 3, "prompt_tokens": 1_000_010, "completion_tokens": 5, "cost": 2.0}
