"""Characters that act are written as numbers; everything else stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiral_envs.printable import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[4]\n\tyes – ♠ 王 🎲", "[4]\n\tyes – ♠ 王 🎲"),
        ("\x1b[2J", "‹U+001B›[2J"),
        ("\ud800", "‹U+D800›"),
        ("a\r\nb\rc", "a\nb‹U+000D›c"),
        ("\u202e\u2066\u2028\x85\x7f", "‹U+202E›‹U+2066›‹U+2028›‹U+0085›‹U+007F›"),
    ],
)
def test_what_acts_is_written_as_its_number(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_written_to_a_file(text):
    shown = printable(text)
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert printable(shown) == shown
    assert "\n" not in one_line(text)


def test_a_line_has_single_spaces():
    assert one_line(" a\n\n\tb \x00 ") == "a b ‹U+0000›"
