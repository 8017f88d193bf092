"""The pictures of a tournament: from 2 to 20 agents, with names of any length and script, nothing is cut in silence."""

import io
import warnings

import numpy as np
import pytest
from matplotlib import image
from matplotlib.colors import to_rgb

from spiral_envs.arena import pictures
from spiral_envs.arena.pictures import (
    LOSS_COLOUR,
    WIN_COLOUR,
    heatmap_picture,
    ratings_picture,
    seat_terms_picture,
    seats_picture,
    wrapped_name,
)
from spiral_envs.arena.standing_records import Matchup, Rating, SeatResult, SeatTerm
from spiral_envs.intervals import Interval

NAMES = (
    "minimax",
    "hf:org/A-Model-7B-Instruct?temperature=0.6&top_p=0.95&max_tokens=512&step=400",
    "openai:gpt@https://example.org/" + "path/" * 40 + "?effort=high",
    "a $x_1^2$ \\frac{ {name} % & #",
    "模型:中文 \U0001f600 \u202eturned\x1b[2J \ud800",
    "",
    *(f"hf:run/checkpoint-{step}" for step in range(100, 1500, 100)),
)


def pixels(png):
    return image.imread(io.BytesIO(png))[..., :3]


def share_of(png, colour):
    """Returns the share of the picture that has this colour."""
    return float((np.abs(pixels(png) - to_rgb(colour)).max(axis=2) < 0.01).mean())


def rating(agent, value, *, half=50.0, group=0):
    return Rating(agent, value, Interval(value - half, value + half), group, 20, 10, 0, 10, 0, 0.5)


def matchup(first, second, score, half=0.1):
    return Matchup(first, second, None, 5, 10, 5, 0, 5, score, Interval(score - half, score + half))


def everybody(number):
    agents = NAMES[:number]
    return agents, [matchup(one, two, 0.6 if one < two else 0.4) for one in agents for two in agents if one != two]


@pytest.mark.parametrize("number", [1, 2, 6, pytest.param(20, marks=pytest.mark.slow)])
def test_pictures_are_drawn_for_any_number_of_agents_without_a_warning(number):
    agents, matchups = everybody(number)
    with warnings.catch_warnings():
        # A letter that the font has not, or a layout that does not fit, is a warning.
        warnings.simplefilter("error")
        drawn = [
            heatmap_picture(matchups, agents, title="tic_tac_toe_v0(size=$4$)"),
            ratings_picture([rating(agent, 100.0 - 10 * place) for place, agent in enumerate(agents)]),
            seats_picture([SeatResult(agent, "$g$", seat, "X", 5, 3, 1, 1) for agent in agents for seat in (0, 1)]),
            seat_terms_picture([SeatTerm(f"game {number}", "X", 12.0, Interval(-3, 20))]),
        ]
    for png in drawn:
        height, width, _ = pixels(png).shape
        assert 400 < width < 2600
        assert 100 < height < 3600


def test_the_heatmap_is_blue_where_the_row_wins_and_orange_where_it_loses():
    png = heatmap_picture([matchup("a", "b", 1.0), matchup("b", "a", 0.0)], ("a", "b"), title="t")
    drawn = pixels(png)
    blue, orange = (np.abs(drawn - to_rgb(colour)).max(axis=2) < 0.02 for colour in (WIN_COLOUR, LOSS_COLOUR))
    # Without the colour bar, which lies at the right and has both.
    width = int(0.85 * drawn.shape[1])
    blue_rows, blue_columns = np.nonzero(blue[:, :width])
    orange_rows, orange_columns = np.nonzero(orange[:, :width])
    assert blue_rows.max() < orange_rows.min()
    assert blue_columns.min() > orange_columns.max()


def test_an_even_score_is_white_and_a_missing_one_grey():
    even = heatmap_picture([matchup("a", "b", 0.5), matchup("b", "a", 0.5)], ("a", "b"), title="t")
    missing = heatmap_picture([], ("a", "b"), title="t")
    assert share_of(missing, pictures._NOTHING) - share_of(even, pictures._NOTHING) > 0.15


def test_bars_have_the_widths_of_the_shares():
    png = seats_picture([SeatResult("a", "g", 0, "X", 10, 5, 3, 2)])
    blue, orange = share_of(png, WIN_COLOUR), share_of(png, LOSS_COLOUR)
    # The legend has as much of each, and the counts in the bars a little.
    assert blue / orange == pytest.approx(5 / 2, rel=0.2)


def test_the_lines_of_the_forest_plot_are_as_long_as_the_intervals():
    def longest_run(half):
        drawn = pixels(ratings_picture([rating("a", 0.0, half=100.0), rating("b", 0.0, half=half)]))
        is_line = np.abs(drawn - to_rgb(WIN_COLOUR)).max(axis=2) < 0.05
        lower = is_line[drawn.shape[0] // 2 :]
        return int(lower.sum(axis=1).max())

    assert longest_run(100.0) / longest_run(50.0) == pytest.approx(2, rel=0.05)


def test_a_name_is_wrapped_and_whole_up_to_three_lines():
    name = NAMES[1]
    assert wrapped_name(name).replace("\n", "") == name
    assert wrapped_name(name).count("\n") == 2


def test_a_longer_name_says_how_long_it_is_and_keeps_both_ends():
    name = NAMES[2]
    lines = wrapped_name(name).split("\n")
    assert len(lines) <= 3
    assert all(len(line) <= 32 for line in lines)
    joined = " ".join(lines)
    assert joined.startswith("openai:gpt@https://example.org/")
    assert f"[{len(name)} characters]" in joined
    assert joined.endswith("effort=high")


def test_names_that_cannot_be_drawn_are_written_as_numbers():
    assert wrapped_name("模") == "‹U+6A21›"
    assert wrapped_name("") == "(no name)"
    assert "‹U+202E›" in wrapped_name("a\u202eb")


def test_nothing_to_draw_is_an_error():
    for draw in (lambda: heatmap_picture([], (), title="t"), lambda: ratings_picture([]), lambda: seats_picture([])):
        with pytest.raises(ValueError, match="at least one"):
            draw()
    with pytest.raises(ValueError, match="at least one"):
        seat_terms_picture([])
