"""The rules of `spiral_envs.extraction`, one by one, in the order of its docstring."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spiral_envs import Fault, make_match
from spiral_envs.extraction import MAX_MOVE_CHARS, Rule, drop_reasoning, extract, unbracketed


def is_digit(token):
    return token[1:-1].isdigit()


def read(reply):
    return extract(reply, is_digit)


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ("<think>a</think>b", "b"),
        ("a<think>b</think>c<think>d</think>e", "ace"),
        ("reasoning without its opening tag</think>b", "b"),
        ("a</think>b<think>c</think>d", "bd"),
        ("<think>never closed", "<think>never closed"),
        ("a<think>b</think>c<think>never closed", "ac<think>never closed"),
        ("no tags", "no tags"),
        ("", ""),
        ("<think></think>", ""),
    ],
)
def test_closed_reasoning_is_dropped(reply, kept):
    assert drop_reasoning(reply) == kept


def test_a_box_inside_the_reasoning_is_no_answer():
    assert read("<think>\\boxed{1}</think>[2]") == (Rule.BRACKETED, "[2]", "")
    assert read("\\boxed{1}</think>\\boxed{2}") == (Rule.BOXED, "2", "")
    assert read("<think>\\boxed{1} [2]</think>").rule is Rule.NONE


def test_a_box_in_reasoning_that_never_closed_is_read():
    assert read("<think>\\boxed{1}") == (Rule.BOXED, "1", "")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("\\boxed{4}", "4"),
        ("\\boxed{[4]}", "[4]"),
        ("\\boxed{1} no, \\boxed{2}", "2"),
        ("\\boxed{ [4] }", "[4]"),
        ("$\\boxed{4}$ is my move.", "4"),
        ("\\boxed{\\text{4}}", "\\text{4}"),
        ("\\boxed{a{b}c}", "a{b}c"),
        ("\\boxed{anything else}", "anything else"),
        ("\\boxed{\n4\n}", "4"),
    ],
)
def test_the_last_box_is_the_answer(reply, answer):
    assert read(reply) == (Rule.BOXED, answer, "")


def test_a_box_wins_over_brackets_wherever_they_stand():
    assert read("[1] \\boxed{2} [3]") == (Rule.BOXED, "2", "")


def test_the_inner_one_of_nested_boxes_is_the_last():
    assert read("\\boxed{\\boxed{4}}") == (Rule.BOXED, "4", "")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("\\boxed{1} \\boxed{2", "the last \\boxed{ is not closed"),
        ("[1] \\boxed{", "the last \\boxed{ is not closed"),
        ("\\boxed{", "the last \\boxed{ is not closed"),
        ("\\boxed{a{b}", "the last \\boxed{ is not closed"),
        ("[1] \\boxed{}", "empty \\boxed{}"),
        ("\\boxed{  }", "empty \\boxed{}"),
        ("\\boxed{" + "1" * (MAX_MOVE_CHARS + 1) + "}", "the last \\boxed{} is too long"),
        ("\\boxed{{}" + "1" * (MAX_MOVE_CHARS + 1) + "}", "the last \\boxed{} is too long"),
        ("\\boxed{" + "1" * (MAX_MOVE_CHARS + 1), "the last \\boxed{ is not closed"),
        ("\\boxed{{}" + "1" * (MAX_MOVE_CHARS + 1), "the last \\boxed{ is not closed"),
    ],
)
def test_a_broken_last_box_is_malformed_whatever_stands_before_it(reply, reason):
    assert read(reply) == (Rule.NONE, "", reason)


def test_the_longest_answer_is_still_read():
    longest = "1" * MAX_MOVE_CHARS
    assert read(f"\\boxed{{{longest}}}").text == longest


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("[4]", "[4]"),
        # TextArena reads the first bracket: "not [0] but [4]" plays 0 there.
        ("not [0] but [4]", "[4]"),
        ("[4] is better than [sic]", "[4]"),
        ("[4] and then [", "[4]"),
        ("[4] and then ]", "[4]"),
        ("[[4]]", "[4]"),
        ("[4]]]]", "[4]"),
        ("[[[4]", "[4]"),
        ("[3][4][x]", "[4]"),
        ("[1] [2] [x] [y]", "[2]"),
        ("[x [4] y]", "[4]"),
        ("[4 [x]", None),
        ("[x]", None),
    ],
)
def test_without_a_box_the_last_bracket_in_move_syntax_is_the_answer(reply, answer):
    assert read(reply) == (
        (Rule.BRACKETED, answer, "") if answer else (Rule.NONE, "", "no \\boxed{} and no bracketed move")
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty reply"),
        (" \n\t", "empty reply"),
        ("<think>I would play [4]</think>", "no text after the reasoning"),
        ("<think>a</think> \n", "no text after the reasoning"),
        ("four", "no \\boxed{} and no bracketed move"),
        ("boxed{4}", "no \\boxed{} and no bracketed move"),
        ("\\Boxed{4}", "no \\boxed{} and no bracketed move"),
        ("（4）", "no \\boxed{} and no bracketed move"),
    ],
)
def test_otherwise_the_reply_is_malformed_for_a_reason(reply, reason):
    assert read(reply) == (Rule.NONE, "", reason)


@pytest.mark.parametrize(
    ("text", "bare"), [("[4]", "4"), (" [ 4 ] ", "4"), ("4", "4"), ("[[4]]", "[4]"), ("[4", "[4"), ("[]", ""), ("", "")]
)
def test_one_pair_of_brackets_comes_off(text, bare):
    assert unbracketed(text) == bare


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece",
    ["[", "]", "[]", "][", "[4", "[x]", "\\boxed{", "\\boxed{}", "\\boxed{4", "{", "}", "<think>", "</think>",
     "<think></think>", "</think><think>", "\\boxed{[", "𝟜", "\ud800", "\x00"],
)  # fmt: skip
def test_a_million_hostile_characters_are_read_in_linear_time(piece):
    # Quadratic work on a million characters would take hours.
    reply = piece * (1_000_000 // len(piece))
    read(reply)
    assert read(reply + "</think>\\boxed{4}").text == "4"


@example("\\boxed{[<think></think>[}")
@given(st.lists(st.sampled_from(["[", "]", "{", "}", "\\boxed{", "<think>", "</think>", "4", "x", " "])).map("".join))
def test_no_reply_raises_and_what_is_found_stood_in_it(reply):
    answer = read(reply)
    # A dropped block of reasoning may have stood in the middle of it.
    rest = iter(reply)
    assert all(letter in rest for letter in answer.text)
    assert answer.text in reply or "<think>" in reply
    assert (answer.rule is Rule.NONE) == bool(answer.reason)
    assert (answer.rule is Rule.NONE) == (not answer.text)


@pytest.mark.parametrize("game", ["tic_tac_toe_v0", "kuhn_poker_v0", "simple_negotiation_v0"])
def test_every_legal_move_plays_as_its_own_text_and_in_a_box_with_or_without_brackets(game):
    for text in make_match(game, seed=5).view(0).legal_moves or ():
        for reply, rule in (
            (text, Rule.OWN_TEXT),
            (f"  {text}\n", Rule.OWN_TEXT),
            (f"\\boxed{{{text}}}", Rule.BOXED),
            (f"\\boxed{{{text[1:-1]}}}", Rule.BOXED),
            (f"<think>Not [0].</think>I play {text}.", Rule.BRACKETED),
        ):
            match = make_match(game, seed=5)
            match.submit(reply)
            assert (match.turns[0].move, match.turns[0].rule, match.turns[0].fault) == (text, rule, None)


def test_a_bare_move_without_brackets_or_box_is_malformed():
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit("4")
    assert match.turns[0].fault is Fault.MALFORMED


def test_an_illegal_last_bracket_counts_and_no_earlier_one_stands_in_for_it():
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit("[4]")
    match.submit("[0] or rather [4]")
    assert (match.turns[1].rule, match.turns[1].fault) == (Rule.BRACKETED, Fault.ILLEGAL)


@pytest.mark.parametrize(
    ("reply", "move"),
    [
        ("[Say: I believe [Fact 1] is true]", "[Say: I believe Fact 1 is true]"),
        ("I think so. [Say: look at [this] one] Done.", "[Say: look at this one]"),
        ("[Say: it is [not [Fact 2] at all]]", "[Say: it is not Fact 2 at all]"),
    ],
)
def test_brackets_inside_a_token_are_words_of_its_own(reply, move):
    match = make_match("truth_and_deception_v0", seed=0)

    match.submit(reply)

    assert match.turns[0].move == move


def test_a_remark_with_brackets_does_not_play_what_stands_in_them():
    match = make_match("simple_negotiation_v0", seed=0)
    match.submit("[Offer: 1 Wood -> 1 Gold]")

    match.submit("[Accept | I could also [Deny] it]")

    assert match.turns[1].move == "[Accept | I could also Deny it]"


def test_an_outer_pair_that_is_no_move_leaves_the_inner_one():
    match = make_match("tic_tac_toe_v0", seed=0)

    match.submit("[so I play [4]]")

    assert match.turns[0].move == "[4]"
