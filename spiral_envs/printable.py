"""Text of models, players and files in a form that can be shown anywhere."""

from __future__ import annotations

import re
from typing import Final

_UNPRINTABLE: Final = re.compile(
    "["
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of the text around them
    r"\u2028\u2029\ufeff\ufffe\uffff"
    r"\ud800-\udfff"  # halves of a surrogate pair, which no file can hold
    "]"
)


def printable(text: str) -> str:
    """Returns `text` with every character that would act instead of being shown written as its number, `‹U+001B›`.

    Tabs and line feeds stay, a carriage return before a line feed goes, and the result can be encoded as UTF-8.
    """
    return _UNPRINTABLE.sub(lambda match: f"‹U+{ord(match[0]):04X}›", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Returns `text` as `printable` writes it, with every run of white space as one space."""
    return " ".join(printable(text).split())
