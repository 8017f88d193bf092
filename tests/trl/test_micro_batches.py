"""Which rows go together: the largest part is small, and then little is computed on padding."""

import random

import pytest

from spiral_trl.micro_batches import cut_by_size


def cut(rows, num_parts):
    """Cuts rows of (prompt tokens, completion tokens)."""
    return cut_by_size([prompt for prompt, _ in rows], [completion for _, completion in rows], num_parts)


def positions(rows):
    return len(rows) * (max(prompt for prompt, _ in rows) + max(completion for _, completion in rows))


def test_many_short_rows_go_together_and_few_long_ones():
    # Parts of 4 rows would compute 80, 16 and 16 positions; these compute 40, 40 and 32.
    assert cut([(10, 10)] * 4 + [(2, 2)] * 8, 3) == [(0, 2), (2, 4), (4, 12)]


def test_no_part_is_larger_than_with_equally_many_rows():
    # 4 and 2 rows would compute 32 + 4 positions, but 3 and 3 compute at most 24 at once.
    assert cut([(4, 4)] * 4 + [(1, 1)] * 2, 2) == [(0, 3), (3, 6)]


def test_rows_of_one_length_are_cut_equally():
    assert cut([(10, 5)] * 12, 4) == [(0, 3), (3, 6), (6, 9), (9, 12)]


def test_padding_is_saved_where_the_largest_part_stays_as_large():
    # The first row makes a part of 100 positions whatever the others do: they go by their lengths.
    assert cut([(60, 40), (6, 4), (6, 4), (1, 1), (1, 1), (1, 1)], 3) == [(0, 1), (1, 3), (3, 6)]


@pytest.mark.parametrize(("num_rows", "cuts"), [(0, [(0, 0)] * 3), (2, [(0, 1), (1, 2), (2, 2)])])
def test_parts_are_empty_only_with_fewer_rows_than_parts(num_rows, cuts):
    assert cut([(3, 3)] * num_rows, 3) == cuts


def test_every_row_is_in_one_part_and_no_part_is_larger_than_with_equally_many_rows():
    rng = random.Random(0)
    for _ in range(200):
        num_parts = rng.randint(1, 8)
        rows = [(rng.randint(1, 30), rng.randint(1, 30)) for _ in range(num_parts * rng.randint(1, 90))]
        rows.sort(key=sum, reverse=True)

        cuts = cut(rows, num_parts)

        assert [start for start, _ in cuts] == [0, *(end for _, end in cuts[:-1])]
        assert cuts[-1][1] == len(rows)
        size = len(rows) // num_parts
        equal = max(positions(rows[start : start + size]) for start in range(0, len(rows), size))
        assert max(positions(rows[start:end]) for start, end in cuts) <= equal
