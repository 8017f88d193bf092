"""The names of the moves of OpenSpiel's games: `[e2e4]` rather than action 1234, and always the same move.

OpenSpiel names an action in a state. In most games the name is that of the action wherever it is legal, but for the
mark of the player, which is left out here: `x(0,0)` and `o(0,0)` are both `[(0,0)]`. In the others, such as chess, the
same name is another action elsewhere, so that the move is its name, and a state says which action that is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from spiral_envs.extraction import MAX_MOVE_CHARS

_FIXED: Final = frozenset(
    re.findall(
        "[a-z0-9_]+",
        """
        2048 bargaining battleship blackjack blotto breakthrough bridge capture_the_flag catch checkers
        cliff_walking clobber coin_game connect_four coop_box_pushing coordinated_mp crazy_eights cribbage cursor_go
        dark_hex deep_sea dots_and_boxes dou_dizhu euchre first_sealed_auction gin_rummy go go_fish gomoku goofspiel
        hanabi havannah hearts hex hive kuhn_poker laser_tag latent_ttt leduc_poker lewis_signaling liars_dice
        lines_of_action maedn mancala markov_soccer matching_pennies_3p matrix_bos matrix_brps matrix_cd
        matrix_coordination matrix_mp matrix_pd matrix_rps matrix_rpsw matrix_sh matrix_shapleys_game mnk nim
        nine_mens_morris  oshi_zumo othello oware pathfinding pentago phantom_go phantom_ttt pig
        repeated_leduc_poker skat snake solitaire spades tic_tac_toe tiny_bridge_2p tiny_bridge_4p tiny_hanabi
        trade_comm twixt universal_poker y yacht
        """,
    )
)
"""The games in which an action has the same name in every state."""

_TRANSFORMS: Final = frozenset(
    re.findall(
        "[a-z0-9_]+",
        """
        add_noise cached_tree misere repeated_game repeated_poker start_at turn_based_simultaneous_game zerosum
        """,
    )
)
"""The games made of other games, whose actions they keep."""

_MAX_PLIES: Final = 500

_MARKS: Final = {
    "battleship": re.compile("Pl[0-9]+: "),
    "connect_four": re.compile("[xo]"),
    "dots_and_boxes": re.compile(r"P[0-9]+(?=\()"),
    "first_sealed_auction": re.compile("Player [0-9]+ bid: "),
    "gin_rummy": re.compile("Player: [0-9]+ Action: "),
    "go": re.compile("[BW] "),
    "goofspiel": re.compile(r"\[P[0-9]+\]Bid: "),
    "latent_ttt": re.compile(r"[xo](?=\()"),
    "mnk": re.compile(r"[xo](?=\()"),
    "oshi_zumo": re.compile(r"\[P[0-9]+\]Bid: "),
    "phantom_go": re.compile("[BW] "),
    "phantom_ttt": re.compile(r"[xo](?=\()"),
    "snake": re.compile("p[0-9]+:"),
    "tic_tac_toe": re.compile(r"[xo](?=\()"),
    "tiny_hanabi": re.compile("p[0-9]+"),
    "twixt": re.compile("[xo]"),
    "universal_poker": re.compile("player=[0-9]+ move="),
}
"""What in a name says only who moves, by game."""

_CHESS: Final = "(?:[A-Z]?[a-h]?[1-8]?x?[a-h][1-8](?:=?[A-Za-z])?|O-O(?:-O)?|0-0(?:-0)?|[A-Z]@[a-h][1-8]|[Pp]ass)[+#]*"

_SYNTAX: Final = {
    "amazons": r"[XO] (?:From|To|Shoot:?) \([0-9]{1,2}, [0-9]{1,2}\)",
    "antichess": _CHESS,
    "backgammon": "(?:[0-9]{1,4} - )?[0-9/*() BarOfPs]{1,60}",
    "banqi": r"(?:Flip|[A-Za-z])\([0-9],[0-9]\)(?:[-x]\([0-9],[0-9]\))?",
    "chess": _CHESS,
    "chinese_checkers": r"[0-9]{1,3}(?:->|=>)[0-9]{1,3}|[Pp]ass",
    "colored_trails": r"(?:Proposer [0-9]+|Responder): [A-Za-z0-9 ]{1,40}",
    "coop_to_1p": r"d[0-9]{1,3}->[a-z0-9]{1,20}",
    "crazyhouse": _CHESS,
    "dark_chess": _CHESS,
    "einstein_wurfelt_nicht": r"[WB][1-6]-(?:up|down|left|right|diag)\*?",
    "kriegspiel": _CHESS,
    "normal_form_extensive_game": ".{1,40} --- action = .{0,450}",
    "oh_hell": "[CDHS][2-9TJQKA]|[0-9]{1,2}",
    "quoridor": r"[a-z][0-9]{1,2}[vh]?",
    "rbc": rf"Sense [a-h][1-8]|{_CHESS}",
    "sheriff": r"[A-Za-z]{1,40}\((?:[a-z_]{1,20}=[A-Za-z0-9]{1,10})?\)",
    "shogi": r"[1-9][a-i][1-9][a-i]\+?|[A-Z]\*[1-9][a-i]",
    "social_deduction": r"[A-Z]+(?:_[A-Z]+)*(?:_[0-9]{1,2})?",
    "ultimate_tic_tac_toe": r"Choose local board [0-8]|Local board [0-8]: [xo]\([0-2],[0-2]\)",
    "xiangqi": r"[A-Za-z]\([0-9],[0-9]\)[-x]\([0-9],[0-9]\)",
}
"""What a name looks like where the state decides what it means."""


_CHESS_SIDES: Final = ("Black, the small letters", "White, the capitals")

SIDES: Final = {
    "amazons": ("X", "O"),
    "antichess": _CHESS_SIDES,
    "breakthrough": ("b", "w"),
    "checkers": ("o", "+"),
    "chess": _CHESS_SIDES,
    "clobber": ("o", "x"),
    "connect_four": ("x", "o"),
    "crazyhouse": _CHESS_SIDES,
    "dark_chess": _CHESS_SIDES,
    "dark_hex": ("x", "o"),
    "go": ("Black, X", "White, O"),
    "gomoku": ("b", "w"),
    "havannah": ("O", "@"),
    "hex": ("x", "o"),
    "hive": ("White", "Black"),
    "kriegspiel": _CHESS_SIDES,
    "latent_ttt": ("x", "o"),
    "lines_of_action": ("x", "o"),
    "mnk": ("x", "o"),
    "nine_mens_morris": ("W", "B"),
    "othello": ("Black, x", "White, o"),
    "pentago": ("O", "@"),
    "phantom_go": ("Black, X", "White, O"),
    "phantom_ttt": ("x", "o"),
    "rbc": _CHESS_SIDES,
    "shogi": ("Black, the capitals", "White, the small letters"),
    "tic_tac_toe": ("x", "o"),
    "twixt": ("x", "o"),
    "ultimate_tic_tac_toe": ("x", "o"),
    "xiangqi": ("the capitals", "the small letters"),
    "y": ("O", "@"),
}
"""What the pieces of Player 0 and Player 1 look like in OpenSpiel's texts, which do not say it themselves."""


def inner_names(text: str) -> frozenset[str]:
    """Returns the names of all games in `misere(game=tic_tac_toe())`."""
    return frozenset(re.findall(r"(?:^|=)([a-z0-9_]+)(?=\(|$)", text))


class Names(NamedTuple):
    """How a game's moves are written.

    Attributes:
        table: The names by player and action where they are the same in every state; None elsewhere.
        numbers: The actions by name, with `table`.
        folded: The names by themselves in lower case, with `table` and where no two differ in case only.
        marks: What is left out of a name.
        syntax: What a name looks like, without `table`; None where nothing is known but the moves of the state.
    """

    table: tuple[tuple[str, ...], ...] | None
    numbers: dict[str, int]
    folded: dict[str, str]
    marks: tuple[re.Pattern[str], ...]
    syntax: re.Pattern[str] | None

    def written(self, raw: str) -> str:
        """Returns OpenSpiel's name of an action as a move: in square brackets, on one line, without inner brackets."""
        for mark in self.marks:
            found = mark.match(raw)
            if found:
                raw = raw[found.end() :]
                break
        name = _plain(raw)
        return f"[{name}]" if 0 < len(name) <= MAX_MOVE_CHARS - 20 else "[]"

    def is_syntax(self, name: str, legal: tuple[str, ...]) -> bool:
        """Whether `name`, without its brackets, is a move in some state; `legal` are those of this state."""
        if self.table is not None:
            return f"[{name}]" in self.numbers or name.lower() in self.folded
        if self.syntax is not None:
            return self.syntax.fullmatch(name) is not None
        return _shape(name) in {_shape(text[1:-1]) for text in legal}


def names_of(text: str, game: Any) -> Names:
    """Returns the names of the moves of the OpenSpiel game that `text` names."""
    inner = inner_names(text)
    own = inner - _TRANSFORMS
    marks = tuple(_MARKS[name] for name in sorted(own) if name in _MARKS)
    patterns = [_SYNTAX[name] for name in sorted(own) if name in _SYNTAX]
    syntax = re.compile("|".join(patterns) + r"|.{0,80} #[0-9]{1,6}") if patterns else None
    names = Names(None, {}, {}, marks, syntax)
    if not own <= _FIXED:
        return names
    table = tuple(_names_of_player(names, game, player) for player in range(game.num_players()))
    numbers: dict[str, int] = {}
    for written in table:
        for action, name in enumerate(written):
            if numbers.setdefault(name, action) != action:
                # The same name is another action of another player, so that a name alone says nothing.
                return names
    folded = {name[1:-1].lower(): name for name in numbers}
    return Names(table, numbers, folded if len(folded) == len(numbers) else {}, marks, None)


def unique(names: list[str], actions: list[int]) -> tuple[str, ...]:
    """Returns `names`, with the number of its action in each that is there twice or is empty."""
    if len(set(names)) == len(names) and "[]" not in names:
        return tuple(names)
    return tuple(
        f"{name[:-1]} #{action}]".replace("[ ", "[") if name == "[]" or names.count(name) > 1 else name
        for name, action in zip(names, actions, strict=True)
    )


def _names_of_player(names: Names, game: Any, player: int) -> tuple[str, ...]:
    """Returns the name of every action, as it is where `player` is to move: where chance is, it is one of chance."""
    state = first_decision(game, player)
    return _one_name_each(
        [names.written(state.action_to_string(player, action)) for action in range(int(game.num_distinct_actions()))]
    )


def first_decision(game: Any, player: int) -> Any:
    """Returns OpenSpiel's state where `player` first moves when everyone, chance included, takes the first action.

    It is the first state in which anybody moves where that never happens.
    """
    state, first = game.new_initial_state(), None
    for _ in range(_MAX_PLIES):
        mover = state.current_player()
        if mover == player or state.is_terminal():
            break
        if state.is_chance_node():
            state.apply_action(next(action for action, probability in state.chance_outcomes() if probability > 0))
        else:
            first = first or state.clone()
            state.apply_action(state.legal_actions()[0])
    return state if state.current_player() == player or first is None else first


def _one_name_each(names: list[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    for action, name in enumerate(names):
        if name in seen or name == "[]":
            names[action] = f"{name[:-1]} #{action}]".replace("[ ", "[")
        seen.add(names[action])
    return tuple(names)


@lru_cache(maxsize=65536)
def _plain(raw: str) -> str:
    text = " ".join(raw.split())
    if text.startswith("[") and text.endswith("]") and not set(text[1:-1]) & set("[]"):
        text = text[1:-1]
    return text.translate(_BRACKETS).strip(" ,;")


@lru_cache(maxsize=65536)
def _shape(name: str) -> str:
    return re.sub("[0-9]+", "0", name[:MAX_MOVE_CHARS])


_BRACKETS: Final = str.maketrans({"[": "(", "]": ")", "{": "(", "}": ")"})
