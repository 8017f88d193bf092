"""The command `spiral-play`, with typed lines piped in."""

import io
import subprocess
import sys

import pytest

from spiral_envs import terminal
from spiral_envs.agents import human, minimax

TIC_TAC_TOE = ("tic_tac_toe_v0", "--seed", "3")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command with typed lines; returns its exit code, output and errors."""

    def run(*arguments, typed=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as raised:
            terminal.main(arguments)
        captured = capsys.readouterr()
        return raised.value.code, captured.out, captured.err

    return run


def lines(*typed):
    return "".join(f"{line}\n" for line in typed)


def test_a_game_is_won(run):
    code, out, err = run(*TIC_TAC_TOE, "--opponent", "first", typed=lines("4", "3", "5"))
    assert (code, err) == (0, "")
    # X has 3, 4 and 5; the first free cells are O's.
    assert "O plays [0]" in out
    assert "O plays [1]" in out
    assert "│  X X X " in out
    assert "You win." in out
    assert "X (you): +1" in out
    assert "O (first): -1" in out
    assert "Moves: X [4], O [0], X [3], O [1], X [5]" in out
    assert "Play again?" in out


def test_a_game_is_lost_from_the_second_seat(run):
    code, out, _ = run(*TIC_TAC_TOE, "--opponent", "first", "--seat", "1", typed=lines("3", "4", "6"))
    assert code == 0
    assert "you are O" in out
    assert "X plays [0]" in out
    assert "You lose." in out
    assert "O (you): -1" in out


def test_a_typing_error_costs_nothing_and_a_move_can_be_taken_back(run):
    typed = lines("undo", "foo", "9", "4", "0", "3", "undo", "undo", "0", "undo", "4", "3", "5")
    code, out, _ = run(*TIC_TAC_TOE, "--opponent", "first", typed=typed)
    assert code == 0
    assert "There is no move to take back." in out
    assert "malformed move 'foo' in tic_tac_toe: expected a cell" in out
    assert "illegal move [9] in tic_tac_toe: cells are 0 to 8" in out
    assert "illegal move [0] in tic_tac_toe: O is there" in out
    assert out.count("Your last move is taken back.") == 3
    assert "Moves: X [4], O [0], X [3], O [1], X [5]" in out


def test_moves_in_the_games_own_words_are_read_by_the_game_itself(run):
    # Hidden information: only the match can say that this is a move, and why that is none.
    typed = lines("OFFER: 3 wood->2 gold | what do you say?", "accept it", "q")
    code, out, _ = run("simple_negotiation_v0", "--seed", "1", typed=typed)
    assert code == 0
    assert "malformed move 'accept it' in simple_negotiation" in out
    assert 'Turn 1: you [Offer: 3 Wood -> 2 Gold], saying "what do you say' in out
    # What the other may have kept secret is told by nothing but the observation.
    assert "Player 1 has moved." in out
    assert "Player 1 plays" not in out


@pytest.mark.parametrize("typed", ["q\n", "", "4\nquit\n"])
def test_leaving_is_no_error(run, typed):
    code, out, err = run(*TIC_TAC_TOE, typed=typed)
    assert (code, err) == (0, "")
    assert out.endswith("You have left the game.\n")


def test_ctrl_c_exits_with_130(run, monkeypatch):
    def interrupt(prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    code, out, err = run(*TIC_TAC_TOE)
    assert (code, err) == (130, "")
    assert out.endswith("\nYou have left the game.\n")


def test_another_game_is_played_when_asked_for(run):
    typed = lines("4", "3", "5", "y", "8", "7", "6", "n")
    code, out, _ = run(*TIC_TAC_TOE, "--opponent", "first", typed=typed)
    assert code == 0
    assert out.count("You win.") == 2


def test_a_seed_repeats_a_game_and_is_told_when_it_was_drawn(run):
    first = run("kuhn_poker_v0", typed=lines("bet"))[1]
    seed = first.partition("--seed ")[2].split()[0]
    again = run("kuhn_poker_v0", "--seed", seed, typed=lines("bet"))[1]
    assert first == again


def test_the_seat_can_be_drawn(run):
    seats = {
        "X" if "you are X" in run("tic_tac_toe_v0", "--seat", "random", "--seed", str(seed))[1] else "O"
        for seed in range(8)
    }
    assert seats == {"X", "O"}


def test_two_people_share_the_terminal(run):
    code, out, _ = run(*TIC_TAC_TOE, "--opponent", "human", typed=lines("4", "0", "3", "1", "5"))
    assert code == 0
    assert "O, turn 2" in out
    assert "│ X: +1 " in out
    assert "│ O: -1 " in out
    assert "You win." not in out


def test_a_draw_is_called_one(run):
    # X: 0 1 5 6 7, O (the first free cells): 2 3 4 8.
    code, out, _ = run(*TIC_TAC_TOE, "--opponent", "human", typed=lines(0, 4, 8, 1, 7, 6, 2, 5, 3))
    assert code == 0
    assert "The game is a draw." in out
    assert terminal._verdict((0.0, 0.0), 1) == ("It is a draw.", "yellow")


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        ((2.0, 0.0, -2.0), ["You win.", "You finish behind 1 of 2 others.", "You finish behind 2 of 2 others."]),
        ((1.0, 1.0, -2.0), ["You share the first place."] * 2 + ["You finish behind 2 of 2 others."]),
        ((-1.0, 2.0, -1.0), ["You finish behind 1 of 2 others.", "You win.", "You finish behind 1 of 2 others."]),
        ((0.0, 0.0, 0.0), ["It is a draw."] * 3),
    ],
)
def test_among_three_a_return_of_0_is_no_draw(returns, said):
    assert [terminal._verdict(returns, seat)[0] for seat in range(3)] == said


def scripted(monkeypatch, *replies):
    from spiral_envs.agents import ScriptedAgent

    """Returns the options that seat an opponent who gives these replies; it is not asked beforehand."""
    pending = iter(replies)
    monkeypatch.setattr(
        terminal, "make_agent", lambda text, seed: ScriptedAgent(lambda view: next(pending), name="clumsy")
    )
    return ("--opponent", "clumsy")


def test_an_opponents_fault_is_told_and_costs_it_the_game(run, monkeypatch):
    clumsy = scripted(monkeypatch, "I do not know")
    code, out, _ = run(*TIC_TAC_TOE, *clumsy, typed=lines("4"))
    assert code == 0
    assert "The reply of O was at fault: no \\boxed{} and no bracketed move" in out
    assert "You win." in out
    assert "O forfeits: no \\boxed{}" in out


def test_an_opponents_fault_can_cost_it_its_choice_only(run, monkeypatch):
    clumsy = scripted(monkeypatch, "I do not know", "[99]")
    code, out, _ = run(*TIC_TAC_TOE, *clumsy, "--invalid-move", "random", typed=lines("4", "q"))
    assert code == 0
    assert "The reply of O was at fault" in out
    assert "O plays [" in out


def test_only_the_move_of_the_opponent_is_shown(run, monkeypatch):
    clumsy = scripted(monkeypatch, "I plan to take the corner 8 next. \\boxed{0}")
    _, out, _ = run(*TIC_TAC_TOE, *clumsy, typed=lines("4", "q"))
    assert "O plays [0]" in out
    assert "corner 8" not in out


def test_the_legal_moves_can_be_left_out(run):
    assert "Legal moves: [0]" in run(*TIC_TAC_TOE)[1]
    assert "Legal moves:" not in run(*TIC_TAC_TOE, "--no-hints")[1]


def test_where_words_are_moves_the_list_is_of_examples(run):
    code, out, _ = run(
        "truth_and_deception_v0", "--seed", "3", typed=lines("moves", "[Say: It is the second, honestly.]", "q")
    )
    assert code == 0
    assert "Legal moves" not in out
    assert out.count("Examples of moves:") == 3
    assert 'you said "It is the second, honestly."' in out


def test_the_games_and_agents_are_listed(run):
    code, out, _ = run("--list")
    assert code == 0
    for text in (
        "tic_tac_toe_v0",
        "kuhn_poker_v0",
        "hands=5",
        "three in a row",
        "Agents: random, ",
        " minimax, ",
        " greedy, ",
    ):
        assert text in out


def test_help_shows_examples(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "spiral-play tic_tac_toe_v0 --opponent minimax" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected a game: see spiral-play --list"),
        (["tictactoe"], "unknown game 'tictactoe': did you mean tic_tac_toe_v0?"),
        (["tic_tac_toe_v0", "--opponent", "minmax"], "unknown agent 'minmax': did you mean minimax?"),
        (["tic_tac_toe_v0", "--opponent", "mcts:0"], "cannot read agent 'mcts:0'"),
        (["tic_tac_toe_v0", "--opponent", "random:1"], "agent 'random' takes no argument"),
        (["kuhn_poker_v0(hands=0)"], "option hands of kuhn_poker is 0: expected an integer from 1 to 100"),
        (["tic_tac_toe_v0", "--seat", "2"], "tic_tac_toe_v0 has seats 0 to 1, not 2"),
        (["tic_tac_toe_v0", "--seat", "-1"], "argument --seat"),
        (["tic_tac_toe_v0", "--seed", "x"], "argument --seed: expected an integer from 0, got 'x'"),
        (["tic_tac_toe_v0", "--invalid-move", "win"], "argument --invalid-move: invalid choice: 'win'"),
        (["tic_tac_toe_v0", "--colour"], "unrecognized arguments: --colour"),
        (["kuhn_poker_v0", "--opponent", "minimax", "--seat", "1"], "the minimax agent cannot play kuhn_poker_v0"),
        (["kuhn_poker_v0", "--opponent", "minimax"], "the minimax agent cannot play kuhn_poker_v0"),
        (["kuhn_poker_v0", "--opponent", "minimax:4", "--seat", "random"], "the minimax agent cannot play kuhn_poker"),
        (["kuhn_poker_v0", "--opponent", "mcts:1000000"], "the mcts agent cannot play kuhn_poker_v0"),
        (["tic_tac_toe_v0", "--opponent", "cfr"], "CFR+ cannot solve tic_tac_toe_v0"),
        (["simple_negotiation_v0", "--opponent", "cfr"], "simple_negotiation_v0 cannot be solved"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_before_anything_is_shown(run, arguments, said):
    code, out, err = run(*arguments, typed=lines("[check]", "0"))
    assert (code, out) == (2, "")
    assert err.startswith(f"spiral-play: {said}")
    assert err.count("\n") == 1


def test_a_game_too_large_for_its_opponent_is_refused_before_anything_is_shown(run, monkeypatch):
    monkeypatch.setattr(minimax, "MAX_POSITIONS", 1000)
    code, out, err = run("connect_four_v0(rows=4,columns=5)", "--opponent", "minimax", typed=lines("1"))
    assert (code, out) == (2, "")
    assert "cannot search connect_four_v0(columns=5,rows=4) whole" in err
    assert run("connect_four_v0(rows=4,columns=5)", "--opponent", "minimax:2", typed=lines("1"))[0] == 0


def test_a_game_that_lists_no_moves_is_refused_by_who_needs_a_list(run):
    pytest.importorskip("textarena")
    code, out, err = run("textarena:Nim-v0", "--opponent", "random", typed=lines("[0 1]", "y"))
    assert (code, out) == (2, "")
    assert err == "spiral-play: the random agent needs a list of legal moves; textarena:Nim-v0 gave None\n"


def test_finding_out_is_cheap_and_changes_no_game(run, monkeypatch):
    # A million random games would take minutes.
    assert run(*TIC_TAC_TOE, "--opponent", "mcts:1000000", typed=lines("q"))[0] == 0
    typed = lines("4", "3", "5", "8", "0", "1", "2", "6", "7")
    whole = run(*TIC_TAC_TOE, "--opponent", "random", typed=typed)
    monkeypatch.setattr(terminal, "_COMPUTING", frozenset())
    assert run(*TIC_TAC_TOE, "--opponent", "random", typed=typed) == whole


def test_an_endpoint_is_not_asked_beforehand(run, monkeypatch):
    # Nothing listens at the discard port, and the person has left before anybody notices.
    code, out, _ = run(*TIC_TAC_TOE, "--opponent", "openai:m@http://127.0.0.1:9/v1?retries=0", typed=lines("q"))
    assert code == 0
    assert out.endswith("You have left the game.\n")


def test_an_endpoint_that_is_down_is_said_in_one_line(run, monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    # Nothing listens at the discard port.
    opponent = "openai:m@http://127.0.0.1:9/v1?retries=0"
    code, _, err = run(*TIC_TAC_TOE, "--seat", "1", "--opponent", opponent)
    assert code == 1
    assert err == "spiral-play: model 'm' at http://127.0.0.1:9/v1 gave no reply after 1 attempt: Connection error.\n"


def test_missing_packages_are_said_in_one_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, human.__name__)
    code, _, err = run(*TIC_TAC_TOE)
    assert code == 2
    assert err.startswith("spiral-play: spiral-play (no module rich.console) needs packages that are not installed")
    assert err.count("\n") == 1


def test_the_command_runs_on_its_own():
    done = subprocess.run(
        [sys.executable, "-m", "spiral_envs.terminal", *TIC_TAC_TOE, "--opponent", "minimax"],
        input=b"4\n\xff\xfe\nq\n",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert b"O plays [" in done.stdout
    assert b"malformed move" in done.stdout
    assert done.stdout.endswith(b"You have left the game.\n")
