"""Results and comparisons as tables, in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Final

from benchmarks.reasoning_comparison import Change
from benchmarks.reasoning_results import Row
from benchmarks.reasoning_statistics import FEW, Estimate

if TYPE_CHECKING:
    from rich.table import Table

WIDTH: Final = 140
"""Wide enough for every column, so that a table can be copied whatever the width of the terminal."""

COMPARED: Final = (
    "Scores in %, differences in points with a 95 % interval by a paired bootstrap over problems. p-values are by sign"
    " flips, those of families corrected for their number (Holm); significant: below 0.05."
)

SCORED: Final = (
    "Scores in % with a 95 % interval by a bootstrap over problems. Solved, no box (ended without an answer in a box)"
    " and cut (by the length limit) are shares of replies, in %."
)


def print_rows(rows: Sequence[Row]) -> None:
    """Prints the table of one run and what it says."""
    print_table(row_table(rows))
    print(SCORED)
    few = [row.family for row in rows if row.problems < FEW]
    if few:
        print(f"Fewer than {FEW} problems: {', '.join(few)}. Their intervals may be too narrow.")
    too_long = [f"{row.family} {_percent(row.too_long)} %" for row in rows if row.too_long]
    if too_long:
        print(f"Prompts too long for the model, which count as unsolved: {', '.join(too_long)}.")


def row_table(rows: Sequence[Row]) -> Table:
    """Returns the table of one run."""
    table = _table(("problems", "replies each", "score", "95 % interval", "solved", "no box", "cut"))
    for row in rows:
        table.add_row(
            row.family,
            f"{row.problems:,}",
            str(row.samples or "several"),
            _percent(row.score.mean),
            _interval(row.score),
            _percent(row.solved),
            _percent(row.no_box),
            _percent(row.cut),
        )
    return table


def change_table(changes: Sequence[Change]) -> Table:
    """Returns the table of a comparison."""
    table = _table(("problems", "before", "after", "difference", "95 % interval", "p", "significant"))
    for change in changes:
        table.add_row(
            change.family,
            f"{change.problems:,}",
            _percent(change.before),
            _percent(change.after),
            f"{100 * change.difference.mean:+.1f}",
            _interval(change.difference),
            f"{change.p_value:.4f}",
            "yes" if change.is_significant else "no",
        )
    return table


def print_table(table: Table) -> None:
    """Prints a table in Markdown."""
    from rich.console import Console

    Console(width=WIDTH, highlight=False).print(table)


def markdown(table: Table) -> str:
    """Returns a table in Markdown."""
    from rich.console import Console

    text = StringIO()
    Console(width=WIDTH, file=text, color_system=None).print(table)
    return "\n".join(line.strip() for line in text.getvalue().splitlines() if line.strip())


def _table(columns: Sequence[str]) -> Table:
    from rich.box import MARKDOWN
    from rich.table import Table

    table = Table(box=MARKDOWN)
    table.add_column("family", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _interval(estimate: Estimate) -> str:
    return f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
