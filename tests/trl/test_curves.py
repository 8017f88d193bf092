"""The panels of a run: which there are, through which points their lines go, and that any label can be drawn."""

# Libraries are typed in part only.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false

import random

import pytest
from synthetic_run import HOSTILE, KUHN, TIC, metrics_record

from spiral_trl.curves import SMOOTHED_FROM, draw_curves, panel_picture, panels, smoothed
from spiral_trl.run_files import NASH_CONV_PREFIX, Metrics


def lines_of(records, title):
    """Returns the points of every line of a panel, by label."""
    panel = next(panel for panel in panels(Metrics(records)) if panel.title.startswith(title))
    return {line.label: list(zip(*line.curve, strict=True)) for line in panel.lines}


def test_curves_go_through_the_figures_and_leave_gaps_out():
    records = [
        {"step": 1, f"{TIC}/turns": 5, f"{TIC}/faults": 0.5},
        {"step": 2, f"{TIC}/turns": 5, f"{TIC}/faults": 0.25, NASH_CONV_PREFIX + KUHN: 0.7},
        {"step": 3, f"{TIC}/turns": 5},
        {"step": 4, f"{TIC}/turns": 5, f"{TIC}/faults": None, NASH_CONV_PREFIX + KUHN: 0.5},
    ]
    assert lines_of(records, "NashConv") == {"kuhn_poker": [(2, 0.7), (4, 0.5)]}
    assert lines_of(records, "Faults a game, by game") == {"tic_tac_toe": [(1, 0.5), (2, 0.25)]}
    assert [panel.title for panel in panels(Metrics(records))] == [
        "NashConv, 0 is perfect play",
        "Faults a game, by game",
    ]


def test_roles_and_opponents_have_lines_of_their_own():
    record = {
        "step": 1,
        f"{TIC}/turns": 5,
        f"{TIC}/X/return": 0.1,
        f"{TIC}/O/return": -0.1,
        f"{TIC}/O/vs league/return": 0.4,
        f"{TIC}/O/vs openai:m@http://h/v1/return": -0.5,
    }
    assert lines_of([record], "Return by role") == {"tic_tac_toe X": [(1, 0.1)], "tic_tac_toe O": [(1, -0.1)]}
    assert lines_of([record], "Return against") == {
        "tic_tac_toe O vs league": [(1, 0.4)],
        "tic_tac_toe O vs openai:m@http://h/v1": [(1, -0.5)],
    }
    by_role, against = (panel for panel in panels(Metrics([record])) if panel.title.startswith("Return"))
    assert [(line.colour, line.dash) for line in by_role.lines] == [(0, 0), (0, 1)]
    assert [(line.colour, line.dash) for line in against.lines] == [(0, 1), (1, 1)], "a role keeps its kind of line"


def test_faults_by_reason_are_weighted_by_the_games():
    shares = {f"{TIC}/share_of_games": 0.25, f"{KUHN}/share_of_games": 0.75}
    faults = {f"{TIC}/faults/illegal": 0.8, f"{KUHN}/faults/illegal": 0.4, f"{TIC}/faults/truncated": 0.0}
    turns = {f"{TIC}/turns": 5, f"{KUHN}/turns": 2}
    records = [{"step": 1, **turns, **shares, **faults}, {"step": 2, **turns, **faults}]
    # 0.25 * 0.8 + 0.75 * 0.4, and the plain mean where the shares are not known.
    assert lines_of(records, "Faults a game, by reason") == {
        "illegal": [(1, pytest.approx(0.5)), (2, pytest.approx(0.6))]
    }


def test_evaluations_are_drawn_with_their_intervals():
    prefix = f"eval/{TIC} vs openai:m@http://h/v1"
    records = [
        {"step": 10, f"{prefix}/win_rate": 0.5, f"{prefix}/low": 0.4, f"{prefix}/high": 0.6, f"{prefix}/faults": 9.0},
        {"step": 20, f"{prefix}/win_rate": 0.7, f"{prefix}/low": 0.65, f"{prefix}/high": 0.8},
    ]
    assert lines_of(records, "Wins") == {"tic_tac_toe vs openai:m@http://h/v1": [(10, 0.5), (20, 0.7)]}
    (panel,) = panels(Metrics(records))
    assert panel.lines[0].low == (0.4, 0.65)
    assert panel.lines[0].high == (0.6, 0.8)
    del records[1][f"{prefix}/low"]
    (panel,) = panels(Metrics(records))
    assert panel.lines[0].low == panel.lines[0].high == ()


def test_smoothing_takes_as_many_neighbours_on_both_sides():
    assert smoothed([0, 6, 0, 6, 3], 3) == [0, 2, 4, 3, 3]
    assert smoothed([1, 5, 2], 1) == [1, 5, 2]
    # A straight line stays one, up to its ends.
    assert smoothed(range(50), 6) == pytest.approx(list(range(50)))


def test_any_label_can_be_drawn():
    label = f"_{HOSTILE}$x^2$ \u738b"
    names = {f"{label}/turns": 3, f"{label}/faults": 0.5, f"{label}/X/vs {label}/return": 0.1}
    figure = draw_curves(Metrics([{"step": 1, **names, f"eval/a vs {label}/win_rate": 0.3}]))
    # Warnings, of a missing glyph or a label that is passed over, are errors in tests.
    figure.canvas.draw()
    legends = [axis.get_legend() for axis in figure.axes if axis.lines]
    assert len(legends) == 3
    for legend in legends:
        (text,) = legend.get_texts()
        assert "<script>" in text.get_text()
        assert not text.get_parse_math()


def test_the_whole_picture_has_a_panel_each_and_its_legend_names_the_thick_lines():
    rng = random.Random(0)
    metrics = Metrics(metrics_record(step, 60, rng) for step in range(1, SMOOTHED_FROM + 1))
    figure = draw_curves(metrics)
    titles = [axis.get_title() for axis in figure.axes if axis.lines]
    assert titles == [panel.title for panel in panels(metrics)]
    returns = figure.axes[titles.index("Return by role, against itself")]
    assert len(returns.lines) == 8, "four thin and four thick"
    handles = returns.get_legend().get_lines()
    assert [handle.get_linewidth() for handle in handles] == [1.5] * 4
    with pytest.raises(ValueError, match="no metrics to draw"):
        draw_curves(Metrics([]))


def test_a_panel_becomes_a_png():
    (panel,) = panels(Metrics([{"step": 1, "sampling/logprob_gap_mean": 0.0, "sampling/logprob_gap_max": 0.1}]))
    assert panel_picture(panel).startswith(b"\x89PNG\r\n")


def test_a_line_with_one_point_beside_lines_of_many_is_a_marker():
    many = [{"step": step, f"{TIC}/turns": 5, f"{TIC}/faults": 0.5} for step in range(1, SMOOTHED_FROM + 1)]
    many[-1] |= {f"{KUHN}/turns": 2, f"{KUHN}/faults": 0.25}
    figure = draw_curves(Metrics(many))
    (axis,) = (axis for axis in figure.axes if axis.get_title() == "Faults a game, by game")
    markers = {len(line.get_xdata()): line.get_marker() for line in axis.lines}
    assert markers == {SMOOTHED_FROM: "None", 1: "o"}


def test_nash_conv_is_drawn_from_zero_and_beside_uniform_play_where_that_is_known():
    """11/12 is what best answers take from a uniform player of one hand of Kuhn poker; others are not known."""
    for game, expected in ((KUHN, ["kuhn_poker", "kuhn_poker, uniform play"]), ("kuhn_poker_v0", ["kuhn_poker"])):
        records = [{"step": step, NASH_CONV_PREFIX + game: value} for step, value in ((0, 0.7), (10, 0.5))]
        (axis,) = (axis for axis in draw_curves(Metrics(records)).axes if axis.lines)
        low, high = axis.get_ylim()
        # Uniform play is within the picture, and where it is not known nothing stretches it.
        assert (low, high) == (0, pytest.approx(1.06 * (11 / 12 if game == KUHN else 0.7)))
        assert [text.get_text() for text in axis.get_legend().get_texts()] == expected
        drawn = [list(line.get_ydata()) for line in axis.lines]
        assert drawn[0] == [0.7, 0.5]
        assert drawn[1:] == ([[pytest.approx(11 / 12)] * 2] if game == KUHN else [])
