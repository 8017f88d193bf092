r"""Rules that say which kinds of reasoning a reply shows: SPIRAL's three categories (arXiv 2506.24119), by words alone.

A reply may show several kinds. What counts is the text outside the answer, reasoning between `<think>` tags included,
without the sentences that repeat the prompt.

- Case-by-case: it goes through at least two cases. Two labels of one kind (`Case 1:`, `Option B)`), two items of a list
  that begin with a move or with what the other player has or does (`- **Check**: …`), two different conditions
  (`if he calls, …; when he folds, …`), a condition and its `otherwise`, or `on the one hand` and `on the other`.
- Expected value: a sentence names an expected value (`EV`, `expected payoff`, `wins … on average`) and it or the next
  one gives a number; or a probability is multiplied by a payoff in a sum or an equation (`2/3 × 1 - 1/3 × 2`); or the
  chances of winning and losing are set against each other (`5/6 - 1/6 = 2/3`).
- Pattern: it names a pattern or a structure that recurs (`fork`, `he threatens`, `two in a row`, `I must block`,
  `symmetry`, `nim-sum`), a habit of the other player (`he always folds`, `rock, rock, rock again`), what is known of
  such positions (`a standard opening`, `generally the best move`), or likens the position to an earlier one.

None of them looks at whether the reasoning is right. Known limits: conditions that address `you` do not count, because
the rules of a game do; nor do cases told without any such mark; a rule in other words than the prompt's is taken for
reasoning. The shares are lower bounds: what the rules find is there (precision 0.95 and more on the replies in
`tests/fixtures/traces`, which were written and labelled by one person), but of the kinds in the 24 fresh ones, which no
rule was made for, they find 8 of 19: half of the case analyses, 3 of 5 expected values, 1 of 6 patterns. What is worded
in other ways needs a judge (`benchmarks/trace_judge.py`), which also tells how far the rules can be believed on replies
of your own.

Every expression is a single scan with bounded repetitions, so that the time is linear in the length of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

_MAX_QUOTED_WORDS: Final = 200
"""A longer sentence is no quotation: no prompt has one."""

_MIN_QUOTED_WORDS: Final = 3
"""A shorter sentence may be the same by chance."""

_BOX: Final = "\\boxed{"


class Category(StrEnum):
    """A kind of reasoning."""

    CASES = "case-by-case"
    """Goes through several cases one by one."""

    EXPECTED_VALUE = "expected value"
    """Weighs payoffs by their probabilities."""

    PATTERN = "pattern"
    """Recognises a structure or a habit that recurs."""


class Trace(NamedTuple):
    """What a reply holds beside its answer.

    Attributes:
        text: The text outside of the answer; empty when the reply has no letter and no digit there.
        num_words: Its length, in runs of characters between white space.
        categories: The kinds of reasoning that the rules find in it.
    """

    text: str
    num_words: int
    categories: frozenset[Category]


def read_trace(reply: str, prompt: str = "", *, move: str | None = None) -> Trace:
    """Returns the reasoning of a reply and its categories.

    Args:
        reply: Any text of any length.
        prompt: What the player was shown; its sentences are no reasoning where the reply repeats them.
        move: The text of the move that was read without a box, or None.
    """
    text = outside_the_answer(reply, move=move)
    if not text:
        return Trace("", 0, frozenset())
    sentences = [sentence for sentence in _sentences(text) if not _is_quoted(sentence, prompt)]
    found = frozenset(category for category, shows in _RULES.items() if shows(sentences))
    return Trace(text, len(text.split()), found)


def outside_the_answer(reply: str, *, move: str | None = None) -> str:
    r"""Returns `reply` without `<think>` tags, boxes and the last mention of `move`; empty when only marks are left.

    A box that is never closed goes on to the end.
    """
    text = _THINK_TAG.sub(" ", reply)
    if move is not None and _BOX not in text:
        before, found, after = text.rpartition(move)
        text = f"{before} {after}" if found else text
    text = "".join(_outside_boxes(text)).strip()
    return text if _LETTER.search(text) else ""


def _outside_boxes(text: str) -> Iterator[str]:
    position = 0
    while (start := text.find(_BOX, position)) >= 0:
        yield text[position:start] + " "
        depth = 1
        for brace in _BRACE.finditer(text, start + len(_BOX)):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                position = brace.end()
                break
        else:
            return
    yield text[position:]


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def _is_quoted(sentence: str, prompt: str) -> bool:
    """Whether a sentence is one of the prompt's, or ends in it after a colon or a quotation mark."""
    words = _words(sentence)
    if not _MIN_QUOTED_WORDS <= words.count(" ") + 1 <= _MAX_QUOTED_WORDS:
        return False
    quoted = _prompt_sentences(prompt)
    return words in quoted or _words(_INTRODUCTION.sub("", sentence, count=1)) in quoted


@lru_cache(maxsize=4096)
def _prompt_sentences(prompt: str) -> frozenset[str]:
    found = (_words(sentence) for sentence in _sentences(prompt))
    return frozenset(words for words in found if words.count(" ") + 1 >= _MIN_QUOTED_WORDS)


def _words(text: str) -> str:
    """Returns the words and numbers of `text` in one case, with a space between."""
    return " ".join(_WORD.findall(text.casefold()))


def _shows_cases(sentences: list[str]) -> bool:
    labels: dict[str, set[str]] = {}
    conditions: set[str] = set()
    hands: set[str] = set()
    for sentence in sentences:
        for label in _LABEL.finditer(sentence):
            labels.setdefault(label["kind"].lower(), set()).add(label["name"].lower())
        conditions.update(_words(next(filter(None, each.groups()))) for each in _CONDITION.finditer(sentence))
        if item := _ITEM.match(sentence):
            labels.setdefault("item", set()).add(_words(item["head"]))
        if conditions and _OTHERWISE.search(sentence):
            return True
        hands.update(hand[1].lower() for hand in _HAND.finditer(sentence))
    return len(conditions) >= 2 or len(hands) >= 2 or any(len(names) >= 2 for names in labels.values())


def _shows_expected_value(sentences: list[str]) -> bool:
    for index, sentence in enumerate(sentences):
        if _PRODUCT.search(sentence) and _SUM.search(sentence):
            return True
        following = sentences[index + 1] if index + 1 < len(sentences) else ""
        if _EXPECTED.search(sentence) and (_NUMBER.search(sentence) or _NUMBER.search(following)):
            return True
        if _CHANCE.search(sentence) and (_WORTH.search(sentence) or _WORTH.search(following)):
            return True
    return False


def _shows_pattern(sentences: list[str]) -> bool:
    return any(
        not _NEGATION.search(sentence[max(0, match.start() - 40) : match.start()])
        for sentence in sentences
        for match in _PATTERN.finditer(sentence)
    )


def _expression(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in alternatives), re.IGNORECASE)


_THINK_TAG: Final = re.compile("</?think>")

_BRACE: Final = re.compile("[{}]")

_LETTER: Final = re.compile(r"[^\W_]")

_WORD: Final = re.compile(r"[^\W_]+")

_NUMBER: Final = re.compile(r"\d|\b(?:zero|half|(?:one|two|three|four|five) (?:chip|point)s?)\b", re.IGNORECASE)

_SENTENCE_END: Final = re.compile(r"(?<=[.!?;])[\"”'’)*]{0,3}\s|\n")

_INTRODUCTION: Final = re.compile(r"^[^:\"“'‘]{0,80}[:\"“'‘]")
"""What comes before the first colon or quotation mark."""

_LABEL: Final = _expression(
    # "in case I lose" is no label: a mark has to follow.
    r"\b(?P<kind>case|scenario|option|possibility|situation|alternative|branch)\s{0,3}#?"
    r"(?P<name>\d{1,2}|[a-z]|one|two|three|four|five)\*{0,2}\s{0,3}[:.)(–—-]"
)

_OTHER_PLAYER: Final = (
    r"(?:(?:the |my )?(?:opponent|other player|deceiver|guesser)|player \d|he|she|they|x|o|white|black)"
)

_ITEM: Final = re.compile(
    # Headings of other lists, "1. **Analyse the board**:", are no cases.
    r"\s{0,12}(?:[-*•]|\d{1,2}[.)])\s{1,4}\*{0,2}(?P<head>"
    r"(?:(?:move|cell|position|square|column|spot|play|playing|taking|choosing|drop|dropping)\s{1,3})?"
    r"(?:\[[^\]\n]{1,40}\]|\d{1,2}\b)"
    r"|(?:bet|check|call|fold|raise|accept|deny|roll|hold|rock|paper|scissors|up|down|left|right)(?:ting|ing|ding)?\b"
    rf"|(?:if )?{_OTHER_PLAYER}\s(?:has|have|holds?|calls?|folds?|bets?|checks?|plays?|takes?|accepts?|denies|deny)\b"
    r"[^:\n]{0,40}"
    r")[^:\n\w]{0,6}[:–—]",
    re.IGNORECASE,
)

_CONDITION: Final = _expression(
    # Neither a comparison nor a question: "as if", "see if he …"; nor a turn of speech: "if we look at …".
    r"(?<!\bas )(?<!\bsee )(?<!\bcheck )(?<!\bknow )(?<!\bwonder )(?<!\bdetermine )(?<!\bdecide )(?<!\bask )"
    r"\b(?:if|suppose|supposing|assume|assuming)\s{1,3}(?:that\s{1,3})?"
    r"(?!(?:i|we)\s(?:look|consider|think|want|recall|remember|compare|compute|calculate|assume|understand)\b)"
    r"((?:i|we|he|she|they|it|x|o|white|black|my|his|her|their|our|the|there|this|that|both|neither|opponent|player)"
    r"\b[^,.;:!?\n]{1,80})",
    rf"\bwhen\s{{1,3}}({_OTHER_PLAYER}\b[^,.;:!?\n]{{1,80}})",
    # "What should he do" is a question.
    rf"(?:^|[,;:(])\s{{0,3}}should\s{{1,3}}({_OTHER_PLAYER}\b[^,.;:!?\n]{{1,80}})",
)

_OTHERWISE: Final = _expression(r"\botherwise\b", r"\bif not,", r"\belse,")

_HAND: Final = _expression(r"\bon the (one|other) hand\b")

_EXPECTED: Final = _expression(
    r"\b(?:expected|average)\s{1,3}(?:value|pay-?off|return|gain|utility|profit|winning|reward|loss|change|score)s?\b",
    r"\bexpected\s{1,3}(?:number of\s{1,3})?(?:points|chips)\b",
    r"(?-i:\bEV\b|\bE\[)",
    r"\bin expectation\b",
    r"\bon average\b[^.\n]{0,40}\b(?:gain|win|lose|earn|get|pay|add|give|yield|cost|bring)",
    r"\b(?:gain|win|lose|earn|get|pay|add|give|yield|cost|bring)[a-z]{0,3}\b[^.\n]{0,40}\bon average\b",
)

_PROBABILITY: Final = (
    r"(?:\\d?frac\{\d{1,4}\}\{\d{1,4}\}|(?<![\d./])\d{1,4}\s?/\s?\d{1,4}|(?<![\d.])0?\.\d{1,9}|\d{1,3}\s?\\?%)"
)

_TIMES: Final = r"\s{0,3}\)?\s{0,3}(?:\*|×|·|x|\\times|\\cdot)\s{0,3}\(?\s{0,3}"

_PAYOFF: Final = r"[+−–-]?\s?\\?\$?\d{1,6}"

_PRODUCT: Final = _expression(
    rf"{_PROBABILITY}{_TIMES}{_PAYOFF}",
    rf"(?<!\d){_PAYOFF}{_TIMES}{_PROBABILITY}",
    # Payoffs of 1 are not written: what speaks for a move against what speaks against it.
    rf"{_PROBABILITY}\s{{0,3}}[−–-]\s{{0,3}}{_PROBABILITY}\s{{0,3}}=",
    # A chance that is to be found: 2p - 2(1-p).
    r"\bp\b[^\n]{0,20}\(1\s?[−–-]\s?p\)",
)

_CHANCE: Final = re.compile(
    rf"{_PROBABILITY}\s{{0,3}}(?:chance|probability|likely|of the time)"
    rf"|(?:chance|probability)\b[^.\n]{{0,40}}{_PROBABILITY}",
    re.IGNORECASE,
)

_WORTH: Final = re.compile(r"\bworth (?:about|around|roughly|approximately|only) \$?[+−–-]?\d", re.IGNORECASE)

_SUM: Final = re.compile(r"[+=≈−–-]|\\approx")

_HABIT: Final = (
    r"(?:always|usually|often|tends? to|keeps?|every (?:time|hand|round|turn|game)|each time|again and again|repeatedly"
    r"|habit|tendency|stuck on|(?:twice|three times|\d times) (?:already|in|so far|before))"
)

_PATTERN: Final = _expression(
    r"\bpatterns?\b",
    r"\bfork(?:s|ing|ed)?\b",
    r"\b(?:double|two-way)[- ](?:threat|attack)",
    r"\bthreaten(?:s|ed|ing)?\b",
    r"\b(?:two|three|several|multiple|immediate|winning) threats?\b",
    r"\b(?:must|should|(?:have|has|need|needs|forced) to)[ -](?:\w{1,12} )?block\b",
    r"\btwo in (?:a|the)\s{1,3}(?:\w{1,12}\s{1,3}){0,2}(?:row|column|line|diagonal)\b",
    r"\b(?:already|has|have|got)\s{1,3}(?:two|three|2|3)\b[^.,;\n]{0,30}\b(?:row|column|line|diagonal|stacked)\b",
    r"\bsymmetr(?:y|ies|ic|ical|ically)\b",
    r"\bmirror(?:s|ed|ing)?\b",
    r"\bparity\b",
    r"\b(?:nim-?\s?sum|xor)\b",
    r"\brecurr(?:ing|ent)\b",
    # What comes between must not change who is meant: "as Player 0 I always …".
    r"\b(?:opponent|other player|player \d|he|she|they|white|black|(?-i:[XO]))\b"
    rf"(?:(?!\b(?:I|we|my|me)\b)[^.,;\n]){{0,30}}\b{_HABIT}\b",
    r"\b(?:aggressive|passive|cautious|conservative|predictable|tight|loose) (?:player|opponent|style)\b",
    r"\b(rock|paper|scissors|bet|check|call|fold|raise|deny)\b(?:[^\w.\n]{1,3}(?:and |then |again )?\1\b){2}",
    r"\b(?:typical|classic|standard|well-known|common|familiar|textbook|usual)\s{1,3}(?:\w{1,20}\s{1,3})?"
    r"(?:opening|strategy|position|situation|formation|structure|set-?up|trap|line|bluff|tactic|spot|advice|rule)s?\b",
    r"\brule of thumb\b",
    r"\b(?:generally|usually|typically|known to be|considered) (?:considered )?(?:the |a )?(?:very )?"
    r"(?:strongest|best|optimal|strong|good)\b",
    r"\b(?:as|like) (?:in )?(?:the |my |our |his )?(?:previous|earlier|last) (?:hand|round|game|turn|position)s?\b",
    r"\bsame (?:as|way as|move as|position as|situation as) (?:before|last|in)\b",
)

_NEGATION: Final = re.compile(r"\b(?:no|not|without|isn't|any|never)\s{1,3}(?:\w{1,20}\s{1,3}){0,2}$", re.IGNORECASE)
"""What takes back the word that follows: `there is no clear pattern`."""

_RULES: Final[dict[Category, Callable[[list[str]], bool]]] = {
    Category.CASES: _shows_cases,
    Category.EXPECTED_VALUE: _shows_expected_value,
    Category.PATTERN: _shows_pattern,
}
