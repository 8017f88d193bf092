"""What the TextArena bridge knows of TextArena's games: how moves are written, who can play, and what cannot work.

TextArena 0.7.4 has no list of legal moves and no grammar: each environment searches the reply with regular expressions
of its own and shows the whole reply to the other players. So the bridge has a table of what a move looks like, by the
package of the environment, and TextArena sees nothing else. Where players talk, the table says when.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from spiral_envs.public_message import clean_message

_TWO: Final = (2,)


class Words(Enum):
    """What words of the player's own may be in a move."""

    NONE = "none"
    """Only tokens count."""

    BESIDE = "beside"
    """A message may stand before the token."""

    ENOUGH = "enough"
    """A message is a move, with or without a token."""


class Syntax(NamedTuple):
    """What a move looks like in one kind of turn.

    Attributes:
        example: One token, with its brackets; empty where the game has no tokens.
        token: What a token says between its brackets, with single spaces; None where the game has no tokens.
        words: What else may be in a move.
        many: Whether a move may have several tokens.
        written: How TextArena wants a token, if not as it is.
        spoken: How TextArena wants a message without a token.
        loose: Another way to write a token: a verb in brackets with its object behind them.
    """

    example: str
    token: re.Pattern[str] | None
    words: Words = Words.NONE
    many: bool = False
    written: Callable[[str], str] = str
    spoken: str = "{}"
    loose: re.Pattern[str] | None = None

    @property
    def ask(self) -> str:
        """How the player is asked for a move."""
        if not self.example:
            return "Put what you say aloud in \\boxed{}: one line of at most 200 characters."
        if self.words is Words.ENOUGH:
            return f"Put what you say aloud in \\boxed{{}}, with or without a token such as {self.example} behind it."
        if self.words is Words.BESIDE:
            return f"A move is a token such as {self.example}; what you say aloud may stand before it in \\boxed{{}}."
        if self.many:
            return f"A move is one or more tokens such as {self.example}; several belong in one \\boxed{{}}."
        return f"A move is one token such as {self.example}."

    def is_token(self, text: str) -> bool:
        """Whether `text`, with its brackets, is a token."""
        return self.token is not None and self.token.fullmatch(_tidy(text)[1:-1]) is not None

    def tidy(self, reply: str) -> str:
        """Returns `reply` with every token inside its brackets."""
        return reply if self.loose is None else self.loose.sub(r"[\1 \2]", reply)

    def move(self, answer: str) -> str | None:
        """Returns the move that `answer` is, in its one way of writing it; None when it is none."""
        if "[" not in answer and self.is_token(f"[{answer}]"):
            answer = f"[{answer}]"
        tokens = [found for found in _BRACKETED.finditer(answer) if self.is_token(found[0])]
        if self.words is Words.NONE:
            rest = _BRACKETED.sub("", answer).strip(" \n\t,;.")
            is_clean = not rest and len(tokens) == len(_BRACKETED.findall(answer)) and (self.many or len(tokens) == 1)
            return " ".join(_tidy(found[0]) for found in tokens) if tokens and is_clean else None
        if not tokens:
            return (clean_message(answer) or None) if self.words is Words.ENOUGH else None
        last = tokens[-1]
        said = clean_message(answer[: last.start()] + answer[last.end() :])
        return f"{said} {_tidy(last[0])}".strip()

    def action(self, move: str) -> str:
        """Returns `move` as TextArena wants it."""
        if "[" not in move:
            return self.spoken.format(move)
        return _BRACKETED.sub(lambda found: self.written(found[0]), move)


class Game(NamedTuple):
    """A game that works.

    Attributes:
        syntax: What a move looks like, given the environment.
        players: How many can play; the first number is the default.
        note: What is odd about TextArena's version.
        is_drawn: Whether the environment is in a position without a legal move that the game's rules call a draw, and
            TextArena's code does not; None where it knows its draws.
        prepare: What must be done to a new environment, so that it is the same on every machine.
    """

    syntax: Callable[[Any], Syntax]
    players: tuple[int, ...] = _TWO
    note: str = ""
    is_drawn: Callable[[Any], bool] | None = None
    prepare: Callable[[Any], None] | None = None


class Refused(NamedTuple):
    """A game that cannot work.

    Attributes:
        reason: Why, as one sentence without its subject and full stop.
    """

    reason: str


def find_game(env_id: str, package: str) -> Game | Refused:
    """Returns what is known of an environment.

    Args:
        env_id: Its id in TextArena's registry.
        package: The package of `textarena.envs` that its class is in.
    """
    for prefix, refused in _REFUSED_IDS.items():
        if env_id.startswith(prefix):
            return refused
    if package in _REFUSED:
        return _REFUSED[package]
    if package in _SINGLE_PLAYER:
        return Refused("it is a game for one player")
    if package not in _GAMES:
        return Refused("this version of the bridge does not know it")
    if package in _PYTHON_3_12 and sys.version_info < (3, 12):
        return Refused("its source needs the syntax of Python 3.12")
    game = _GAMES[package]
    if env_id.startswith(_SMALL_BOARDS) and not env_id.startswith(_LARGER_BOARDS):
        game = game._replace(players=tuple(range(2, 10)))
    return game


_BRACKETED: Final = re.compile(r"\[[^\[\]]*\]")


def _tidy(token: str) -> str:
    return f"[{' '.join(token[1:-1].split())}]"


def _game(
    example: str,
    token: str,
    *,
    players: tuple[int, ...] = _TWO,
    note: str = "",
    is_drawn: Callable[[Any], bool] | None = None,
    prepare: Callable[[Any], None] | None = None,
    **more: Any,
) -> Game:
    """Returns a game in which every turn has the same syntax."""
    syntax = Syntax(example, re.compile(token, re.ASCII | re.IGNORECASE), **more)

    def always(_: Any) -> Syntax:
        return syntax

    return Game(always, players, note, is_drawn, prepare)


def _verb_first(token: str) -> str:
    """Returns `[propose X]` as `[Propose] X`, and other tokens with a capital."""
    verb, _, rest = token[1:-1].partition(" ")
    return f"[{verb.capitalize()}] {rest.upper()}".strip()


def _card_token(token: str) -> str:
    """Returns `[Play a♠ 0]` as `[play A♠ 0]`."""
    verb, space, card = token[1:-1].partition(" ")
    return f"[{verb.lower()}{space}{card.upper()}]"


def _number_only(token: str) -> str:
    """Returns `[player 3]` as `[3]`: TextArena strikes the names of players out of what it shows."""
    return f"[{token[1:-1].lower().rpartition(' ')[2].removeprefix('player')}]"


def _unquoted(token: str) -> str:
    return "[" + token[1:-1].strip("'\" ") + "]"


_SAY: Final = Syntax("", None, Words.ENOUGH)
_SAY_IN_BRACES: Final = Syntax("", None, Words.ENOUGH, spoken="{{{}}}")


def _talk_then(example: str, token: str, *, say: Syntax = _SAY, many: bool = False) -> Callable[[Any], Syntax]:
    """Returns the syntax of a game whose turns are messages while its phase is `conversation`, else tokens."""
    decide = Syntax(example, re.compile(token, re.ASCII | re.IGNORECASE), many=many)
    return lambda env: say if env.state.game_state["phase"] == "conversation" else decide


def _three_player_dilemma(env: Any) -> Syntax:
    state = env.state
    return _SAY if state.game_state["phase"] == "conversation" else _dilemma_of(state.current_player_id)


@lru_cache
def _dilemma_of(player: int) -> Syntax:
    # TextArena skips a token about the player itself and takes the default, so such a token is no move here.
    others = "".join(str(other) for other in range(3) if other != player)
    token = re.compile(f"[{others}] (?:cooperate|defect)", re.ASCII | re.IGNORECASE)
    return Syntax(f"[{others[0]} cooperate]", token, many=True)


def _truth_and_deception(env: Any) -> Syntax:
    return _GUESS_A_FACT if env.state.turn == env.state.max_turns - 1 else _SAY


def _secret_mafia(env: Any) -> Syntax:
    return _SAY if env.phase.name == "DAY_DISCUSSION" else _NAME_A_PLAYER


def _taboo(env: Any) -> Syntax:
    state = env.state
    return _SAY if state.role_mapping[state.current_player_id] == "Clue Giver" else _GUESS_A_WORD


def _sort_roles(env: Any) -> None:
    # TextArena draws from the roles in the order in which the file system lists their files.
    env.available_roles = dict(sorted(env.available_roles.items()))


def _is_quantum_board_full(env: Any) -> bool:
    """Whether there are no longer two open cells to put a mark in."""
    return sum(cell == "" for row in env.state.game_state["board"] for cell in row) < 2


def _is_ultimate_board_full(env: Any) -> bool:
    return not any(" " in row for board in env.state.game_state["board"] for row in board)


def _settlers_of_catan(env: Any) -> Syntax:
    return _CATAN[env.state.game_state["turn_phase"]]


_GUESS_A_FACT: Final = Syntax("[Fact 1]", re.compile("fact [12]", re.ASCII | re.IGNORECASE))
_NAME_A_PLAYER: Final = Syntax(
    "[3]", re.compile("(?:player ?)?[0-9]{1,2}", re.ASCII | re.IGNORECASE), written=_number_only
)
# Any word but the one that Mistral's chat templates write in brackets, too.
_GUESS_A_WORD: Final = Syntax(
    "[elephant]", re.compile(r"(?!(?i:/?inst)\Z)[\w '.,&:!?/()#·+-]{1,80}"), written=_unquoted
)
_CATAN: Final = {
    "action": Syntax("[1]", re.compile("[0-9]{1,3}", re.ASCII)),
    "negotiation_start": Syntax("[Red]", re.compile("[0-3]|red|white|blue|orange", re.ASCII | re.IGNORECASE)),
    "negotiation": Syntax(
        "[Offer: 2 Wood, 1 Brick -> 1 Wheat]",
        re.compile("accept|deny|done|offer ?:? ?[0-9a-z ,>-]{1,120}", re.ASCII | re.IGNORECASE),
        Words.ENOUGH,
    ),
}

_CELL: Final = "[0-9]{1,2}"
_SQUARE: Final = "(?:[a-h][1-8]|[0-9]{1,2})"
_CARD: Final = "a|k|q|j|10|[2-9]"
_DIRECTION: Final = "up|down|left|right|w|a|s|d"
_FULL_BOARD: Final = "TextArena's code knows no draw by a full board; the bridge does"

_GAMES: Final[dict[str, Game]] = {
    "Alquerque": _game("[a2 a3]", f"{_SQUARE} {_SQUARE}"),
    "Battleship": _game("[a4]", "[a-z][0-9]{1,2}"),
    "Breakthrough": _game(
        "[a2a3]",
        "[a-j][0-9]{1,2}[a-j][0-9]{1,2}",
        note="diagonal steps only capture, so that a player can be without a legal move, and then forfeits",
    ),
    "Briscola": _game("[play 1]", "play [0-9]{1,2}", note="Player 0 wins when the points are equal"),
    "Chess": _game("[e2e4]", r"([a-h][1-8])(?!\1)[a-h][1-8][qrbn]?", note="it has no limit on turns"),
    "Chopsticks": _game("[attack 0 0]", "attack [01] [01]|split [0-9]{1,2} [0-9]{1,2}"),
    "ColonelBlotto": _game("[A8 B6 C6]", "[a-z] ?:? ?[0-9]{1,3}(?:,? ?[a-z] ?:? ?[0-9]{1,3})*"),
    "ConnectFour": _game("[col 4]", "(?:col ?)?[0-9]{1,2}"),
    "Crusade": _game("[b1 c3]", f"{_SQUARE} {_SQUARE}"),
    "GameOfPureStrategy": _game("[Q]", _CARD),
    "GermanWhist": _game("[play 1]", "play [0-9]{1,2}"),
    "Golf": _game(
        "[draw]",
        "draw|take|discard|knock|(?:swap|peek) [0-9] [0-9]",
        note="Player 0 wins when the scores are equal, and two players who only take and swap play on without end",
    ),
    "HighSociety": _game("[7]", _CELL, note="equal bids are repeated without end"),
    "IndianPoker": _game(
        "[check]",
        "check|fold|call|(?:bet|raise) [0-9]{1,4}",
        note="the ante can take the chips below 0, and the player then has no legal move and forfeits",
    ),
    "IteratedMatchingPennies": _game("[heads]", "heads|tails|h|t"),
    "IteratedPrisonersDilemma": Game(
        _talk_then("[Cooperate]", "cooperate|defect"), note="whoever has the higher total wins, whatever the totals are"
    ),
    "IteratedRockPaperScissors": _game("[rock]", "rock|paper|scissors|r|p|s"),
    "IteratedStagHunt": Game(
        _talk_then("[Stag]", "stag|hare"), note="whoever has the higher total wins, whatever the totals are"
    ),
    "IteratedTwoThirdsAverage": _game("[33.3]", r"[0-9]{1,3}(?:\.[0-9]{0,6})?"),
    "IteratedUltimatumGame": _game("[Offer: $5]", r"offer: ?\$?[0-9]{1,4}|accept|reject", words=Words.BESIDE),
    "KuhnPoker": _game("[check]", "check|bet|fold|call", note="bets and calls move no chips, so that betting is free"),
    "LiarsDice": _game("[Bid: 3, 4]", "call|bid ?:? ?[0-9]{1,3}[ ,]{1,2}[0-9]{1,2}", players=tuple(range(2, 16))),
    "LinesOfAction": _game("[b1b3]", "[a-h][1-8][ >]{0,3}[a-h][1-8]"),
    "MarketEntryGame": Game(_talk_then("[E]", "e|s", say=_SAY_IN_BRACES), tuple(range(2, 16))),
    "MemoryGame": _game("[0 1 1 0]", f"{_CELL} {_CELL} {_CELL} {_CELL}"),
    "NewRecruit": _game(
        "[Propose CCAACCCC]",
        "accept|reject|propose [a-e](?: ?[a-e]){7}",
        note="whoever has more points wins, although players could gain together",
        words=Words.BESIDE,
        written=_verb_first,
        loose=re.compile(r"\[(propose)\]\s{0,9}([a-e](?: ?[a-e]){7})\b", re.ASCII | re.IGNORECASE),
    ),
    "Nim": _game("[0 3]", "[0-9]{1,2} [0-9]{1,3}"),
    "Othello": _game("[2, 3]", "[0-9]{1,2} ?,? ?[0-9]{1,2}|skip", note="a player without a move must say so: [skip]"),
    "PigDice": _game("[roll]", "roll|hold"),
    "Poker": _game("[check]", "check|call|fold|(?:bet|raise) [0-9]{1,6}", players=tuple(range(2, 16))),
    "PublicGoodsGame": Game(_talk_then("[10]", "[0-9]{1,3}", say=_SAY_IN_BRACES), tuple(range(2, 16))),
    "QuantumTicTacToe": _game("[0,4]", "[0-9], ?[0-9]", note=_FULL_BOARD, is_drawn=_is_quantum_board_full),
    "ReverseTicTacToe": _game("[4]", _CELL),
    "Santorini": _game("[N1C2C1B1]", "[nwg][12](?:[a-e][1-5]){3}", players=(2, 3)),
    "SecretMafia": Game(_secret_mafia, tuple(range(6, 16))),
    "SettlersOfCatan": Game(_settlers_of_catan, (4,), "it has no limit on turns"),
    "SimpleBlindAuction": Game(
        _talk_then("[Bid on Item 0: 250]", "bid (?:on )?(?:item )?[0-9]{1,2} ?: ?[0-9]{1,5}|pass", many=True),
        note="a player who bids on nothing must say so: [pass]",
    ),
    "SimpleNegotiation": _game(
        "[Offer: 3 Sheep, 2 Ore -> 5 Brick]", "accept|deny|offer ?:? ?[0-9a-z ,.>-]{1,200}", words=Words.ENOUGH
    ),
    "SimpleTak": _game("[12]", _CELL),
    "Snake": _game("[up]", _DIRECTION, players=tuple(range(2, 16))),
    "SpiteAndMalice": _game(
        "[draw]",
        "draw|(?:play|discard) [a2-9jqk][♠♥♦♣] [0-3]",
        note="drawing does not end a turn, so that a player can play on without end",
        written=_card_token,
    ),
    "Surround": _game("[up]", _DIRECTION, players=tuple(range(2, 16))),
    "Taboo": Game(_taboo, (4, 6), "saying a taboo word loses the game, not only the word"),
    "ThreePlayerGOPS": _game("[Q]", _CARD, players=(3,)),
    "ThreePlayerIPD": Game(_three_player_dilemma, (3,), "the ranking by total counts, whatever the totals are"),
    "ThreePlayerTicTacToe": _game("[4]", _CELL, players=(3,)),
    "TicTacToe": _game("[4]", _CELL),
    "TruthAndDeception": Game(_truth_and_deception),
    "TwoDollar": _game(
        "[Propose $1.00]",
        r"accept|reject|propose \$[0-9](?:\.[0-9]{1,2})?",
        note="a breach of a secret instruction that TextArena checks loses the game",
        prepare=_sort_roles,
        words=Words.BESIDE,
        written=_verb_first,
        loose=re.compile(r"\[(propose)\]\s{0,9}(\$[0-9](?:\.[0-9]{1,2})?)", re.ASCII | re.IGNORECASE),
    ),
    "UltimateTicTacToe": _game("[7 8]", "[0-9] ?,? ?[0-9]", note=_FULL_BOARD, is_drawn=_is_ultimate_board_full),
    "WildTicTacToe": _game("[X 4]", "[xo] [0-9]{1,2}"),
}
"""The games that work, by the package of `textarena.envs` that their environment is in."""

_SMALL_BOARDS: Final = ("Snake-v0", "Surround-v0")
_LARGER_BOARDS: Final = tuple(f"{board}-{size}" for board in _SMALL_BOARDS for size in ("standard", "large"))

_PYTHON_3_12: Final = frozenset({"Chess", "IteratedStagHunt", "ReverseTicTacToe"})

_WORD_LISTS: Final = Refused("it downloads word lists of NLTK when it starts")
_JURY: Final = Refused("a jury of language models behind an API key decides it")
_MISSING_FILES: Final = Refused("TextArena's package lacks the files it reads")

_REFUSED_IDS: Final = {
    "Taboo-v0-long": Refused("TextArena's code raises an error when a team has used up its twenty words"),
}
"""Ids that cannot work although others of their package can, by how they begin."""

_REFUSED: Final[dict[str, Refused]] = {
    "BabyAiText": Refused("it needs packages that TextArena does not install"),
    "CharacterConclave": Refused("TextArena's code raises an error at the first message"),
    "Checkers": Refused("TextArena's code raises an error when a player has no move left"),
    "Codenames": _WORD_LISTS,
    "Debate": _JURY,
    "DontSayIt": _WORD_LISTS,
    "LetterAuction": _WORD_LISTS,
    "ScenarioPlanning": _JURY,
    "ScorableGames": _MISSING_FILES,
    "SpellingBee": _WORD_LISTS,
    "Stratego": Refused("TextArena shows both players the hidden pieces of the one to move"),
    "Tak": Refused("TextArena's code raises an error when a player wins"),
    "UsedCar": Refused("TextArena's registry names a module that does not exist"),
    "UsedCarNegotiation": _MISSING_FILES,
    "WordChains": _WORD_LISTS,
}
"""The games that cannot work, by package."""

_SINGLE_PLAYER: Final = frozenset(
    {
        "Bandit", "Blackjack", "Countdown", "Crosswords", "Cryptarithm", "FifteenPuzzle", "FrozenLake",
        "Game2048", "GuessTheNumber", "GuessWho", "Hangman", "Klondike", "LightsOut", "LogicPuzzle", "Mastermind",
        "Minesweeper", "PegJump", "RushHour", "Secretary", "Set", "Slitherlink", "Sokoban", "Sudoku", "ThreeCardMonte",
        "TowerOfHanoi", "TwentyQuestions", "UltimateTexasHoldem", "WordLadder", "WordSearch", "Wordle",
    }
)  # fmt: skip
