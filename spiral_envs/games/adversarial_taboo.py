"""Adversarial taboo: an Attacker lures a Defender into saying a word that only the Attacker knows.

Rules: chance draws the target word, a common English noun, and only the Attacker is told. The players talk in turn,
    the Attacker first. If the Defender says the target word, the Attacker wins; if the Attacker says it, the Attacker
    loses. Instead of speaking, the Defender may guess the word, once: a right guess wins and a wrong guess loses. If
    nobody has won when the turns have run out, the game is a draw.
    What counts as saying the target word, letter case and accents aside, and with Cyrillic and Greek letters that look
    like Latin ones taken for these:
    - the word between other characters than letters (`a table.`, `table-top`, `table's`);
    - its forms with -s; with -es after -s, -x, -z, -ch, -sh and -o (`boxes`); with -ed, or -d after -e; and with -ing.
      After a consonant -y turns into -ie before -s and -d (`berries`, `candied`); -f and -ife turn into -ve before -s
      (`scarves`, `knives`). Before -ing -ie turns into -y (`tying`), and any other -e goes (`dancing`) unless e, o or y
      is before it (`canoeing`). Before -ed and -ing the last letter of a word whose only vowel is the last but one is
      doubled (`hugged`), w, x and y aside; in a longer word -l after a vowel is doubled or not (`tunnelled`,
      `tunneled`); and -c gets a k or not (`picnicked`). No other form counts;
    - both in a piece without spaces whose other characters are skipped (`ta-ble`, `t.a.b.l.e`, `ta7ble`); but an
      apostrophe ends a word, so that `she'll` is no `shell`;
    - the word in letters that stand alone one after the other (`t a b l e`, `t, a, b, l, e`).
    The word inside a longer word (`timetable`), or split into parts of several letters (`ta ble`), does not count.
Players: Attacker (moves first) and Defender.
Moves: `[Say: How was your day?]` says anything, in words of the player's own; `[Guess: apple]`, of the Defender only,
    guesses, and any form above is right. Words are cleaned, cut after 200 characters and shown as quotations; a move of
    more than 500 characters is malformed. Only a guess guesses: a Defender who says that it knows the word and names it
    has said it. `legal_moves` lists a few samples of both.
Options: `turns` (default 5), the number of turns of each player.
Returns: +1 to the winner and -1 to the loser, 0 each in a draw.
Length: at most twice `turns` plies.
Source of the rules: SPAG (Cheng et al. 2024, arXiv 2404.10642), after Adversarial Taboo (Yao et al. 2019, arXiv
    1911.01622). There the target word and its forms count inside longer words, too. The words are our own: each
    is spelled in one way, in British and in American English, and has a regular plural.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from functools import lru_cache
from importlib.resources import files
from itertools import count
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player, new_tuple
from spiral_envs.public_message import MAX_MESSAGE_CHARS, clean_message

ATTACKER: Final[Player] = 0
DEFENDER: Final[Player] = 1

MAX_TURNS: Final = 50

MAX_GUESS_LETTERS: Final = 40


class Target(NamedTuple):
    """Chance's move: the target word."""

    word: str


class Say(NamedTuple):
    """A player's move: something is said.

    Attributes:
        words: What, as `clean_message` returns it; not empty.
    """

    words: str


class Guess(NamedTuple):
    """The Defender's other move.

    Attributes:
        word: The word that it takes for the target, in lower-case letters from a to z.
    """

    word: str


TabooMove: TypeAlias = Target | Say | Guess


class Ending(IntEnum):
    """How a match stands."""

    NONE = 0
    """It goes on."""

    ATTACKER_SAID_IT = 1
    DEFENDER_SAID_IT = 2
    RIGHT_GUESS = 3
    WRONG_GUESS = 4

    OUT_OF_TURNS = 5
    """A draw."""


class TabooState(NamedTuple):
    """A match in progress.

    Attributes:
        target: The target word; empty before it is drawn.
        log: The players' moves so far; the seats alternate, the Attacker first.
        ending: How the last of them ended the match.
    """

    target: str = ""
    log: tuple[Say | Guess, ...] = ()
    ending: Ending = Ending.NONE


@lru_cache(maxsize=1)
def target_words() -> tuple[str, ...]:
    """Returns every word that can be drawn, in alphabetical order."""
    return tuple(files("spiral_envs.data").joinpath("nouns.txt").read_text(encoding="utf-8").split())


@lru_cache(maxsize=2048)
def forms_of(word: str) -> frozenset[str]:
    """Returns `word`, in lower-case letters from a to z, and its forms with -s, -es, -ed, -d and -ing."""
    forms = {word, f"{word}s", *_past_and_present(word)}
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.add(f"{word}es")
    if _ENDS_IN_CONSONANT_AND_Y.search(word):
        forms.add(f"{word[:-1]}ies")
    if word.endswith("f"):
        forms.add(f"{word[:-1]}ves")
    # A knife has its knives, but caves are no cafes.
    if word.endswith("ife"):
        forms.add(f"{word[:-2]}ves")
    return frozenset(forms)


def _past_and_present(word: str) -> tuple[str, ...]:
    """Returns the forms of `word` with -ed, -d and -ing."""
    if word.endswith("e"):
        # A hoe is hoed and hoeing, a tie is tied and tying, a dance is danced and dancing; a bee is never being.
        if word.endswith("ie"):
            return f"{word}d", f"{word[:-2]}ying"
        return f"{word}d", f"{word}ing" if word.endswith(("ee", "oe", "ye")) else f"{word[:-1]}ing"
    if _ENDS_IN_CONSONANT_AND_Y.search(word):
        return f"{word[:-1]}ied", f"{word}ing"
    if word.endswith("c"):
        stems = (word, f"{word}k")
    elif _IS_SHORT.fullmatch(word):
        stems = (word + word[-1],)
    elif _ENDS_IN_VOWEL_AND_L.search(word):
        stems = (word, f"{word}l")
    else:
        stems = (word,)
    return tuple(f"{stem}{ending}" for stem in stems for ending in ("ed", "ing"))


def is_said(target: str, words: str) -> bool:
    """Returns whether `words`, cleaned, say the target word, by the rules above."""
    spoken = _spoken(words)
    return not spoken.words.isdisjoint(forms_of(target)) or any(target in spelled for spelled in spoken.spelled)


class AdversarialTaboo:
    """The rules."""

    num_players = 2

    def __init__(self, *, turns: int) -> None:
        """Sets the number of turns of each player."""
        self.max_plies = 2 * turns

    def initial_state(self) -> TabooState:
        """Returns the state before the target word is drawn."""
        return _START

    def to_move(self, state: TabooState) -> Player:
        """Returns the seat to move, `CHANCE` while the target word is drawn, or `TERMINAL`."""
        target, log, ending = state
        if not target:
            return CHANCE
        return TERMINAL if ending else len(log) % 2

    def legal_moves(self, state: TabooState) -> tuple[TabooMove, ...]:
        """Returns samples of what the seat to move can say and guess."""
        player = self.to_move(state)
        return SAMPLES[player] if player >= 0 else ()

    def chance_outcomes(self, state: TabooState) -> tuple[tuple[TabooMove, float], ...]:
        """Returns the target words, equally likely."""
        return () if state.target else _draws()

    def next_state(self, state: TabooState, move: TabooMove) -> TabooState:
        """Returns the state after the draw, or after something was said or guessed."""
        if isinstance(move, Target):
            if state.target or move.word not in _known_words():
                raise IllegalMoveError(f"illegal draw {move.word!r} in adversarial_taboo: expected a listed word, once")
            return TabooState(move.word)
        self.check(state, move)
        target, log, _ = state
        log = (*log, move)
        return new_tuple(TabooState, (target, log, _ending(target, log, self.max_plies)))

    def check(self, state: TabooState, move: Say | Guess) -> None:
        """Raises IllegalMoveError unless the seat to move may say or guess that."""
        player = self.to_move(state)
        if player < 0:
            why = "no player is to move"
        elif isinstance(move, Say):
            if move.words and clean_message(move.words) == move.words:
                return
            why = "expected words as clean_message returns them"
        elif player == ATTACKER:
            why = "only the Defender guesses, expected [Say: your words]"
        elif _GUESSABLE.fullmatch(move.word):
            return
        else:
            why = f"expected 1 to {MAX_GUESS_LETTERS} lower-case letters from a to z"
        raise IllegalMoveError(f"illegal move {_format(move)} in adversarial_taboo: {why}")

    def returns(self, state: TabooState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser; zeros before the end and in a draw."""
        return _RETURNS[state.ending]


class TabooCodec:
    """The text."""

    def __init__(self, game: AdversarialTaboo) -> None:
        """Sets the rules that the text is about."""
        self._game = game
        self._rules = tuple(_rules(seat, turns=game.max_plies // 2) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for the Attacker or the Defender."""
        return self._rules[seat]

    def observe(self, state: TabooState, seat: Player) -> str:
        """Returns what was said and the turn; the target word only to the Attacker, or at the end."""
        target, log, ending = state
        known = f'The target word is "{target}".' if seat == ATTACKER or ending else "You do not know the target word."
        lines = map(_log_line, count(), log, _OWN_TURNS[seat])
        return "\n".join((known, *lines, self._status(len(log), ending, seat)))

    def format_move(self, move: TabooMove) -> str:
        """Returns `[Guess: word]`, or `[Say: ...]` with the words that are shown."""
        assert not isinstance(move, Target), "chance's moves are never written"
        return _format(move)

    def parse_move(self, state: TabooState, text: str) -> TabooMove:
        """Returns the move that `[Say: any words]` or `[Guess: word]` says, with the words cleaned."""
        move = _read(unbracketed(text))
        if move is None:
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in adversarial_taboo:"
                " expected [Say: your words], with letters, digits or punctuation, or [Guess: word], one word of"
                " letters from a to z"
            )
        self._game.check(state, move)
        return move

    def _status(self, plies: int, ending: Ending, seat: Player) -> str:
        if ending:
            won = _RETURNS[ending][seat]
            result = "You win." if won > 0 else "You lose." if won < 0 else "It is a draw."
            return f"The game is over: {_ENDINGS[ending]} {result}"
        turn = "It is your turn." if plies % 2 == seat else "You wait."
        return f"Turn {plies + 1} of {self._game.max_plies}. {turn}"


_SAYINGS: Final[tuple[TabooMove, ...]] = (
    Say("Let us talk."),
    Say("Tell me more."),
    Say("What do you think about it?"),
    Say("What do you mean by that?"),
    Say("Why do you ask?"),
    Say("I do not know."),
    Say("Yes, I agree."),
    Say("No, not really."),
    Say("That depends."),
    Say("What did you do yesterday?"),
)

SAMPLES: Final = (_SAYINGS, (*_SAYINGS, Guess("apple"), Guess("river")))
"""By seat, what is listed as legal. Whatever the target word is, the list is the same."""

_START: Final = TabooState()

_WIN: Final = (1.0, -1.0)
_LOSS: Final = (-1.0, 1.0)
_DRAW: Final = (0.0, 0.0)

_RETURNS: Final = {
    Ending.NONE: _DRAW,
    Ending.ATTACKER_SAID_IT: _LOSS,
    Ending.DEFENDER_SAID_IT: _WIN,
    Ending.RIGHT_GUESS: _LOSS,
    Ending.WRONG_GUESS: _WIN,
    Ending.OUT_OF_TURNS: _DRAW,
}

_ENDINGS: Final = {
    Ending.ATTACKER_SAID_IT: "the Attacker said the target word.",
    Ending.DEFENDER_SAID_IT: "the Defender said the target word.",
    Ending.RIGHT_GUESS: "the Defender guessed the target word.",
    Ending.WRONG_GUESS: "the Defender's guess was wrong.",
    Ending.OUT_OF_TURNS: "nobody said or guessed the target word.",
}

_OWN_TURNS: Final = ((True, False) * MAX_TURNS, (False, True) * MAX_TURNS)
"""By seat, which turns are its own."""

_ROLES: Final = ("Attacker", "Defender")

_ENDS_IN_CONSONANT_AND_Y: Final = re.compile("[^aeiou]y$")

_ENDS_IN_VOWEL_AND_L: Final = re.compile("[aeiou]l$")

_IS_SHORT: Final = re.compile("[^aeiou]*[aeiou][^aeiouwxy]")
"""A word of one short syllable, whose last letter is doubled."""

_GUESSABLE: Final = re.compile(f"[a-z]{{1,{MAX_GUESS_LETTERS}}}")

# Bounded pieces only, so that matching is linear.
_SYNTAX: Final = re.compile(r"(say|guess)\s{0,3}:", re.IGNORECASE | re.ASCII)

_LOOK_ALIKES: Final = str.maketrans(
    "аеорсухіјѕАВЕКМНОРСТУХІЈЅαινορυκχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsABEKMHOPCTYXIJSaivopukxABEZHIKMNOPTYX",
)
"""Cyrillic and Greek letters to the Latin ones that they look like."""


class _Spoken(NamedTuple):
    """What words hold of what can be the target word.

    Attributes:
        words: Every word, and every piece without spaces with its letters joined.
        spelled: The letters that stand alone, one after the other, joined.
    """

    words: frozenset[str]
    spelled: tuple[str, ...]


@lru_cache(maxsize=4096)
def _spoken(text: str) -> _Spoken:
    words: set[str] = set()
    spelled = [""]
    for piece in _folded(text).split():
        letters = _letters(piece)
        if len(letters) == 1:
            spelled[-1] += letters
        elif letters:
            spelled.append("")
        # An apostrophe ends a word, so that the letters of a contraction are not joined.
        for part in piece.split("'"):
            separate = "".join(character if character.isalpha() else " " for character in part).split()
            words.update(separate, (_letters(part),))
    return _Spoken(frozenset(words), tuple(spelled))


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalpha())


def _folded(text: str) -> str:
    """Returns `text` in lower case, without accents, and with Latin letters for those that look like them."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(character for character in decomposed if unicodedata.category(character)[0] != "M")
    return bare.translate(_LOOK_ALIKES).casefold()


@lru_cache(maxsize=1)
def _draws() -> tuple[tuple[TabooMove, float], ...]:
    words = target_words()
    return tuple((Target(word), 1 / len(words)) for word in words)


@lru_cache(maxsize=1)
def _known_words() -> frozenset[str]:
    return frozenset(target_words())


def _ending(target: str, log: tuple[Say | Guess, ...], max_plies: int) -> Ending:
    """Returns how the last move of `log` leaves the match."""
    move = log[-1]
    if type(move) is Guess:
        return Ending.RIGHT_GUESS if move.word in forms_of(target) else Ending.WRONG_GUESS
    assert isinstance(move, Say), "the only other kind"
    if is_said(target, move.words):
        return Ending.ATTACKER_SAID_IT if len(log) % 2 else Ending.DEFENDER_SAID_IT
    return Ending.OUT_OF_TURNS if len(log) == max_plies else Ending.NONE


def _format(move: Say | Guess) -> str:
    return f"[Say: {move.words}]" if isinstance(move, Say) else f"[Guess: {move.word}]"


def _read(text: str) -> Say | Guess | None:
    start = _SYNTAX.match(text)
    words = clean_message(text[start.end() :]) if start is not None else ""
    if start is None or not words:
        return None
    if start[1].lower() == "say":
        return Say(words)
    pieces = [letters for letters in map(_letters, _folded(words).split()) if letters]
    return Guess(pieces[0]) if len(pieces) == 1 and _GUESSABLE.fullmatch(pieces[0]) else None


@lru_cache(maxsize=65536)
def _log_line(ply: int, move: Say | Guess, is_own: bool) -> str:
    who = "you" if is_own else f"the {_ROLES[ply % 2]}"
    did = f'said "{move.words}"' if isinstance(move, Say) else f'guessed "{move.word}"'
    return f"Turn {ply + 1}: {who} {did}"


def _rules(seat: Player, *, turns: int) -> str:
    opening = f"You are the {_ROLES[seat]} in a game of adversarial taboo against the {_ROLES[1 - seat]}."
    each = "one turn each" if turns == 1 else f"{turns} turns each"
    meaning = (
        "The word counts as said in any case of letters, with -s, -es, -ed or -ing, with characters in between and"
        " spelled letter by letter, but not inside a longer word."
    )
    limits = f"one line, cut after {MAX_MESSAGE_CHARS} characters, from which brackets, quotation marks and symbols go"
    if seat == ATTACKER:
        return (
            f"{opening} You move first.\n"
            f"You know the target word, a common noun; the Defender does not. You talk, {each}. If the Defender says"
            f" the target word, you win; if you say it, you lose. The Defender may guess the word instead of speaking,"
            f" once: a right guess wins for the Defender, a wrong one for you. If the turns run out, it is a draw."
            f" {meaning}\n"
            f"Your move is [Say: your words], {limits}."
        )
    return (
        f"{opening} You move second.\n"
        f"The Attacker knows the target word, a common noun; you do not. You talk, {each}. If you say the target word,"
        f" you lose; if the Attacker says it, you win. You may guess the word instead of speaking, once: a right guess"
        f" wins, a wrong one loses. If the turns run out, it is a draw. {meaning}\n"
        f"Your move is [Guess: word] to guess, or [Say: your words], {limits}."
    )


def configure(*, turns: int = 5) -> GameSpec:
    """Returns adversarial taboo over `turns` turns of each player.

    Raises:
        ValueError: `turns` is not an integer from 1 to 50.
    """
    if type(turns) is not int or not 1 <= turns <= MAX_TURNS:
        raise ValueError(f"option turns of adversarial_taboo is {turns!r}: expected an integer from 1 to {MAX_TURNS}")
    game = AdversarialTaboo(turns=turns)
    return GameSpec(
        name="adversarial_taboo",
        version=0,
        game=game,
        codec=TabooCodec(game),
        roles=_ROLES,
        return_range=(-1.0, 1.0),
        talk=True,
        configure=configure,
    )


SPEC: Final = configure()
