"""Which of OpenSpiel's games work through the bridge, and why the others do not: facts about version 2.0.2.

The test of the bridge compares every row with what OpenSpiel says, and plays every game that works.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class GameStatus(NamedTuple):
    """What becomes of a game of OpenSpiel.

    Attributes:
        name: OpenSpiel's short name.
        works: Whether it can be played here.
        example: What to ask for: the name, with parameters where OpenSpiel needs some; empty when it does not work.
        players: The number of seats of the example; 0 when it does not work.
        zero_sum: Whether its returns sum to 0 here.
        hidden_information: Whether a seat knows less than all.
        simultaneous: Whether its players choose at the same time, which is played turn by turn here.
        reason: Why it does not work; empty when it does.
        untested: What `check_game` cannot show of it, and why; mostly empty.
    """

    name: str
    works: bool
    example: str
    players: int
    zero_sum: bool
    hidden_information: bool
    simultaneous: bool
    reason: str
    untested: str


def game_statuses() -> tuple[GameStatus, ...]:
    """Returns what becomes of every game that OpenSpiel 2.0.2 registers, in the order of their names."""
    working = (
        GameStatus(
            _name(example), True, example, players, zero_sum, hidden, simultaneous, "", _untested(_name(example))
        )
        for example, players, zero_sum, hidden, simultaneous in _WORKING
    )
    refused = (GameStatus(name, False, "", 0, False, False, False, reason, "") for name, reason in REFUSED.items())
    return tuple(sorted((*working, *refused)))


def _name(example: str) -> str:
    return example.partition("(")[0]


def _untested(name: str) -> str:
    return _WHOLE_DECK if name in _WHOLE_DECK_GAMES else _LONG if name in _LONG_GAMES else ""


_NO_FILE: Final = "it needs a file"
_SAMPLED: Final = "it draws its own random numbers, so that its chance has no probabilities"
_MEAN_FIELD: Final = "it is a mean-field game, which has no number of players"
_FORGETS: Final = "its players forget what they have seen, which no observation here does: play "

REFUSED: Final = {
    "bridge_uncontested_bidding": _SAMPLED,
    "crossword": "its actions are structures without a list of the legal ones",
    "dark_hex_ir": f"{_FORGETS}dark_hex",
    "efg_game": _NO_FILE,
    "liars_dice_ir": f"{_FORGETS}liars_dice",
    "mfg_crowd_modelling": _MEAN_FIELD,
    "mfg_crowd_modelling_2d": _MEAN_FIELD,
    "mfg_dynamic_routing": _MEAN_FIELD,
    "mfg_garnet": _MEAN_FIELD,
    "morpion_solitaire": "OpenSpiel ends the process when it is asked for its observation",
    "negotiation": _SAMPLED,
    "nfg_game": _NO_FILE,
    "phantom_ttt_ir": f"{_FORGETS}phantom_ttt",
    "restricted_nash_response": "chance makes the moves of a player in one of its two branches, so that whose turn it"
    " is tells the other player which branch it is",
    "stones_and_gems": _SAMPLED,
    "tarok": _SAMPLED,
}
"""The games that cannot work, by name, with the reason."""

_WHOLE_DECK: Final = (
    "law 4: check_game looks for other cards that look alike by changing one card, which a deck that is dealt to the"
    " end does not allow"
)
_WHOLE_DECK_GAMES: Final = frozenset({"bridge", "hearts", "skat", "spades", "tiny_bridge_4p"})

_LONG: Final = (
    "all laws: a game takes up to thousands of moves, so that check_game takes minutes; parts of games are tested"
)
_LONG_GAMES: Final = frozenset(
    {"capture_the_flag", "chinese_checkers", "go", "laser_tag", "markov_soccer", "pathfinding", "quoridor", "rbc"}
)

_WORKING: Final = (
    # example, players, zero sum, hidden information, simultaneous
    ("2048", 1, False, False, False),
    ("add_noise(epsilon=0.5,game=kuhn_poker(),seed=1)", 2, True, True, False),
    ("amazons", 2, True, False, False),
    ("antichess", 2, True, False, False),
    ("backgammon", 2, True, False, False),
    ("banqi", 2, True, False, False),
    ("bargaining", 2, False, True, False),
    ("battleship", 2, True, True, False),
    ("blackjack", 1, False, True, False),
    ("blotto", 2, True, True, True),
    ("breakthrough", 2, True, False, False),
    ("bridge", 4, True, True, False),
    ("cached_tree(game=kuhn_poker())", 2, True, True, False),
    ("capture_the_flag", 2, True, True, True),
    ("catch", 1, False, False, False),
    ("checkers", 2, True, False, False),
    ("chess", 2, True, False, False),
    ("chinese_checkers", 2, True, False, False),
    ("cliff_walking", 1, False, False, False),
    ("clobber", 2, True, False, False),
    ("coin_game", 2, False, True, False),
    ("colored_trails", 3, False, True, False),
    ("connect_four", 2, True, False, False),
    ("coop_box_pushing", 2, False, True, True),
    ("coop_to_1p(game=tiny_hanabi())", 1, False, True, False),
    ("coordinated_mp", 2, True, True, False),
    ("crazy_eights", 5, False, True, False),
    ("crazyhouse", 2, True, False, False),
    ("cribbage", 2, False, True, False),
    ("cursor_go", 2, True, False, False),
    ("dark_chess", 2, True, True, False),
    ("dark_hex", 2, True, True, False),
    ("deep_sea", 1, False, True, False),
    ("dots_and_boxes", 2, True, False, False),
    ("dou_dizhu", 3, True, True, False),
    ("einstein_wurfelt_nicht", 2, True, False, False),
    ("euchre", 4, True, True, False),
    ("first_sealed_auction", 2, False, True, False),
    ("gin_rummy", 2, True, True, False),
    ("go", 2, True, False, False),
    ("go_fish", 2, True, True, False),
    ("gomoku", 2, True, False, False),
    ("goofspiel", 2, True, True, True),
    ("hanabi", 2, False, True, False),
    ("havannah", 2, True, False, False),
    ("hearts", 4, False, True, False),
    ("hex", 2, True, False, False),
    ("hive", 2, True, False, False),
    ("kriegspiel", 2, True, True, False),
    ("kuhn_poker", 2, True, True, False),
    ("laser_tag", 2, False, True, True),
    ("latent_ttt", 2, True, True, False),
    ("leduc_poker", 2, True, True, False),
    ("lewis_signaling", 2, False, True, False),
    ("liars_dice", 2, True, True, False),
    ("lines_of_action", 2, True, False, False),
    ("maedn", 2, True, False, False),
    ("mancala", 2, True, False, False),
    ("markov_soccer", 2, True, True, True),
    ("matching_pennies_3p", 3, False, True, True),
    ("matrix_bos", 2, False, True, True),
    ("matrix_brps", 2, True, True, True),
    ("matrix_cd", 2, False, True, True),
    ("matrix_coordination", 2, False, True, True),
    ("matrix_mp", 2, True, True, True),
    ("matrix_pd", 2, False, True, True),
    ("matrix_rps", 2, True, True, True),
    ("matrix_rpsw", 2, True, True, True),
    ("matrix_sh", 2, False, True, True),
    ("matrix_shapleys_game", 2, False, True, True),
    ("misere(game=tic_tac_toe())", 2, True, False, False),
    ("mnk", 2, True, False, False),
    ("nim", 2, True, False, False),
    ("nine_mens_morris", 2, True, False, False),
    ("normal_form_extensive_game(game=kuhn_poker())", 2, True, True, True),
    ("oh_hell", 3, False, True, False),
    ("oshi_zumo", 2, True, True, True),
    ("othello", 2, True, False, False),
    ("oware", 2, True, False, False),
    ("pathfinding", 1, False, True, True),
    ("pentago", 2, True, False, False),
    ("phantom_go", 2, True, True, False),
    ("phantom_ttt", 2, True, True, False),
    ("pig", 2, True, False, False),
    ("quoridor", 2, True, False, False),
    ("rbc", 2, True, True, False),
    ("repeated_game(num_repetitions=3,stage_game=matrix_rps())", 2, True, True, True),
    ("repeated_leduc_poker", 2, True, True, False),
    (
        "repeated_poker(max_num_hands=2,reset_stacks=True,universal_poker_game_string=universal_poker())",
        2,
        True,
        True,
        False,
    ),
    ("sheriff", 2, False, True, False),
    ("shogi", 2, True, False, False),
    ("skat", 3, True, True, False),
    ("snake", 2, False, True, True),
    ("social_deduction", 6, False, True, False),
    ("solitaire", 1, False, True, False),
    ("spades", 4, False, True, False),
    ("start_at(game=tic_tac_toe(),history=0;1)", 2, True, False, False),
    ("tic_tac_toe", 2, True, False, False),
    ("tiny_bridge_2p", 2, False, True, False),
    ("tiny_bridge_4p", 4, True, True, False),
    ("tiny_hanabi", 2, False, True, False),
    ("trade_comm", 2, False, True, False),
    ("turn_based_simultaneous_game(game=goofspiel(num_cards=3))", 2, True, True, False),
    ("twixt", 2, True, False, False),
    ("ultimate_tic_tac_toe", 2, True, False, False),
    ("universal_poker", 2, True, True, False),
    ("xiangqi", 2, True, False, False),
    ("y", 2, True, False, False),
    ("yacht", 2, True, False, False),
    ("zerosum(game=matrix_pd())", 2, True, True, True),
)
