"""The person at the terminal: what is shown, what is typed, and that a typing error costs nothing."""

import io
import sys

import pytest
from rich.console import Console

from spiral_envs import MalformedMoveError, MissingExtraError, Reply, find_game, make_agent, make_match, play
from spiral_envs.agents.human import Command, Dialog, HumanAgent, PlayerQuit, read_move_for
from spiral_envs.match import View


def typing(*lines):
    """Returns a dialog with somebody who types `lines` and then leaves, and what they see."""
    pending = iter(lines)
    shown = io.StringIO()

    def read_line(prompt):
        shown.write(prompt)
        line = next(pending, None)
        if line is None:
            raise EOFError
        if isinstance(line, BaseException):
            raise line
        shown.write(f"{line}\n")
        return line

    return Dialog(Console(file=shown, width=80), read_line=read_line), shown


def flat(shown):
    """Returns what was shown on one line, without the frames."""
    return " ".join(shown.getvalue().replace("│", " ").split())


def view_of(game, *moves):
    match = make_match(game, seed=1)
    for move in moves:
        match.submit(move)
    assert match.seat_to_move is not None
    return match.view(match.seat_to_move)


TIC_TAC_TOE = view_of("tic_tac_toe_v0", "[4]", "[0]")
KUHN = view_of("kuhn_poker_v0")
NEGOTIATION = view_of("simple_negotiation_v0")
FOREIGN = View("Say what you like.", "Player 0", 0, None, 0, "", "Say what you like.", "textarena:Chat-v0")


def test_the_rules_the_position_and_the_moves_are_shown():
    dialog, shown = typing("8")
    assert HumanAgent(dialog).act([TIC_TAC_TOE]) == ["[8]"]
    text = flat(shown)
    assert "tic_tac_toe_v0: you are X" in text
    assert "three X in a row" in text
    assert "Board: O 1 2 3 X 5 6 7 8 You play X." in text
    assert "X, turn 3" in text
    assert "Legal moves: [1] [2] [3] [5] [6] [7] [8]" in text


def test_the_rules_are_shown_once_a_role():
    dialog, shown = typing("8", "8", "0")
    HumanAgent(dialog).act([TIC_TAC_TOE, TIC_TAC_TOE, view_of("tic_tac_toe_v0", "[4]")])
    assert shown.getvalue().count("you are X") == 1
    assert shown.getvalue().count("you are O") == 1


@pytest.mark.parametrize(
    ("view", "typed", "reply"),
    [
        (TIC_TAC_TOE, "8", "[8]"),
        (TIC_TAC_TOE, "[8]", "[8]"),
        (TIC_TAC_TOE, "  8  ", "[8]"),
        (TIC_TAC_TOE, "[ 8 ]", "[8]"),
        (KUHN, "bet", "[bet]"),
        (KUHN, "[BET]", "[bet]"),
        (NEGOTIATION, "offer: 3 wood -> 2 gold", "[Offer: 3 Wood -> 2 Gold]"),
    ],
)
def test_a_move_may_be_typed_as_one_likes(view, typed, reply):
    dialog, _ = typing(typed)
    assert HumanAgent(dialog).act([view]) == [reply]


@pytest.mark.parametrize(
    ("view", "typed", "said"),
    [
        (TIC_TAC_TOE, "4", "illegal move [4] in tic_tac_toe: X is there"),
        (TIC_TAC_TOE, "9", "illegal move [9] in tic_tac_toe: cells are 0 to 8"),
        (TIC_TAC_TOE, "middle", "malformed move 'middle' in tic_tac_toe: expected a cell"),
        (KUHN, "fold", "'fold' is none of the legal moves of kuhn_poker_v0"),
    ],
)
def test_a_typing_error_is_reported_and_costs_nothing(view, typed, said):
    dialog, shown = typing(typed, "", view.legal_moves[0])
    assert HumanAgent(dialog).act([view]) == [view.legal_moves[0]]
    assert f"{said}" in flat(shown)
    assert "Nothing was played: try again." in flat(shown)
    assert shown.getvalue().count("Your move (") == 3


def test_a_move_that_nobody_can_judge_is_sent_after_a_question():
    dialog, shown = typing("hello", "n", "good bye", "y")
    assert HumanAgent(dialog).act([FOREIGN]) == ["good bye"]
    assert "textarena:Chat-v0 cannot say beforehand whether that is a move" in shown.getvalue()
    assert "The game does not list the legal moves" in shown.getvalue()


def test_samples_of_legal_moves_are_no_judge():
    # Whoever lists only samples may take more, and the view says who does.
    assert NEGOTIATION.talk
    assert read_move_for(NEGOTIATION) is None
    assert read_move_for(KUHN) is not None
    assert read_move_for(KUHN._replace(talk=True)) is None
    assert read_move_for(FOREIGN._replace(legal_moves=("[hi]",))) is None
    assert read_move_for(KUHN._replace(legal_moves=())) is None
    read_move = read_move_for(TIC_TAC_TOE)
    assert read_move is not None
    with pytest.raises(MalformedMoveError):
        read_move(TIC_TAC_TOE, "x")


def test_a_long_list_is_cut_and_can_be_seen_whole():
    dialog, shown = typing("moves", "Offer: 10 Gold -> 20 Wood")
    assert HumanAgent(dialog).act([NEGOTIATION]) == ["[Offer: 10 Gold -> 20 Wood]"]
    before, _, after = shown.getvalue().partition("moves\n")
    assert "more: type moves to see them all" in shown.getvalue()
    assert "[Offer: 10 Gold -> 20 Wood]" not in before
    # Words of one's own are moves too.
    assert "Legal moves" not in shown.getvalue()
    assert after.startswith("Examples of moves:")
    assert "[Offer: 10 Gold -> 20 Wood]" in after
    assert len(before.partition("Examples of moves:")[2].splitlines()) <= 5


def test_words_that_are_not_listed_are_no_mistake():
    dialog, shown = typing("what about a loan?", "y")
    assert HumanAgent(dialog).act([NEGOTIATION]) == ["what about a loan?"]
    assert "Nothing was played" not in shown.getvalue()


def test_hints_can_be_off_but_moves_still_asked_for():
    shown = io.StringIO()
    lines = iter(["moves", "8"])
    dialog = Dialog(Console(file=shown, width=80), read_line=lambda prompt: next(lines), list_moves=False)
    assert HumanAgent(dialog).act([TIC_TAC_TOE]) == ["[8]"]
    assert shown.getvalue().count("Legal moves:") == 1
    assert "Legal moves:\n[1]  [2]  [3]  [5]  [6]  [7]  [8]" in shown.getvalue()


@pytest.mark.parametrize("line", ["q", "Q", "quit", "exit"])
def test_leaving_ends_the_program_in_good_order(line):
    dialog, shown = typing(line)
    with pytest.raises(PlayerQuit) as raised:
        HumanAgent(dialog).act([TIC_TAC_TOE])
    assert raised.value.code == 0
    assert shown.getvalue().endswith("You have left the game.\n")


def test_the_end_of_the_input_is_leaving_too():
    dialog, shown = typing()
    with pytest.raises(SystemExit):
        HumanAgent(dialog).act([TIC_TAC_TOE])
    assert shown.getvalue().endswith("\nYou have left the game.\n")


def test_ctrl_c_stays_an_interrupt():
    dialog, _ = typing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        HumanAgent(dialog).act([TIC_TAC_TOE])


def test_commands_are_no_moves():
    dialog, shown = typing("?", "rules", "undo", "8")
    assert HumanAgent(dialog).act([TIC_TAC_TOE]) == ["[8]"]
    text = flat(shown)
    assert "to list all legal moves" in text
    assert text.count("three X in a row") == 2
    assert "There is no move to take back." in text


def test_a_move_named_like_a_command_is_a_move():
    view = TIC_TAC_TOE._replace(legal_moves=("[q]", "[undo]"))
    dialog, _ = typing("q", "undo")
    agent = HumanAgent(dialog)
    assert [agent.act([view]), agent.act([view])] == [["[q]"], ["[undo]"]]


def test_undo_is_offered_where_it_is_possible():
    dialog, _ = typing("undo")
    assert dialog.ask(TIC_TAC_TOE, None, can_undo=True) is Command.UNDO


def test_lines_that_are_new_are_bold_and_roles_have_colours():
    shown = io.StringIO()
    console = Console(file=shown, width=80, force_terminal=True, color_system="standard", highlight=False)
    dialog = Dialog(console, read_line=lambda prompt: "")
    dialog.show(view_of("tic_tac_toe_v0"), roles=("X", "O"))
    assert "\x1b[1m" not in shown.getvalue().partition("Board")[2].partition("You play")[0]
    dialog.show(TIC_TAC_TOE, roles=("X", "O"))
    after = shown.getvalue().rpartition("Board:")[2]
    # O took cell 0, X has the middle; the last row is as it was.
    assert "\x1b[1;35mO\x1b[0m\x1b[1m 1 2" in after
    assert "\x1b[1;32mX\x1b[0m" in after
    assert "\x1b[1m 6 7 8" not in after


def test_nothing_shown_can_write_elsewhere_on_the_terminal():
    evil = "\x1b[2J\x1b]0;title\x07\rgotcha \ud800"
    dialog, shown = typing("1")
    view = TIC_TAC_TOE._replace(rules=evil, observation=evil, legal_moves=(evil, "[1]"), role="X\x1b[2J")
    HumanAgent(dialog).act([view])
    dialog.say(evil)
    assert not set(shown.getvalue()) & set("\x1b\x07\r")


def test_input_that_is_no_text_is_a_typing_error():
    dialog, _ = typing("\ud800", "\x1b[A", "8")
    assert HumanAgent(dialog).act([TIC_TAC_TOE]) == ["[8]"]


def test_whole_games_are_played():
    dialog, _ = typing(*(["x", *"012345678"] * 9))
    agents = [HumanAgent(dialog), make_agent("first")]
    (episode,) = play([make_match("tic_tac_toe_v0", seed=0)], agents)
    assert episode.outcome.fault is None
    assert episode.agents == ("human", "first")
    assert not any(isinstance(turn.response, Reply) for turn in episode.turns)


def test_standard_input_is_read_and_shown(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("foo\n8\n"))
    assert make_agent("human").act([TIC_TAC_TOE]) == ["[8]"]
    assert "Your move (? for help): foo\nmalformed move 'foo'" in capsys.readouterr().out


def test_the_game_of_a_view_need_not_be_known():
    assert read_move_for(TIC_TAC_TOE._replace(game="my_own_game_v7")) is None
    assert find_game(TIC_TAC_TOE.game).perfect_information


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "spiral_envs.agents.human")
    with pytest.raises(MissingExtraError, match=r"the human agent .*pip install 'spiral-selfplay\[agents\]'"):
        make_agent("human")
