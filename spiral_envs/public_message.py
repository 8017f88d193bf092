"""What a player may say aloud: cleaned so that it cannot pass for anything but a quoted remark."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

MAX_MESSAGE_CHARS: Final = 200
"""Longer messages are cut."""

_PUNCTUATION: Final = frozenset(".,!?'-:;()%+=/ ")


@lru_cache(maxsize=4096)
def clean_message(text: str) -> str:
    """Returns `text` as one line of letters, digits and harmless punctuation, at most `MAX_MESSAGE_CHARS` long.

    Brackets, braces, angle brackets, bars, quotes, backslashes, line breaks and every symbol go: game moves,
    answer boxes, markup and the control tokens of chat templates all need at least one of them. Look-alike forms
    are folded first (NFKC). Cleaning twice changes nothing.
    """
    folded = unicodedata.normalize("NFKC", text[: 4 * MAX_MESSAGE_CHARS])
    kept = "".join(
        character if character in _PUNCTUATION or unicodedata.category(character)[0] in "LMN" else " "
        for character in folded
    )
    cut = " ".join(kept.split())[:MAX_MESSAGE_CHARS].strip()
    # Cutting or dropping characters can leave letters and marks that compose anew.
    return cut if cut == unicodedata.normalize("NFKC", cut) else clean_message(cut)
