"""Options in agent strings, which all kinds of agents with options share."""

import pytest

from spiral_envs import UnknownNameError
from spiral_envs.agents.options import BOOLEAN, INTEGER, NUMBER, TEXT, read_options, with_options

OPTIONS = {"heat": NUMBER, "limit": INTEGER, "polite": BOOLEAN, "style": TEXT}

DEFAULTS = {"heat": 1.0, "limit": 10, "polite": False, "style": None}


def test_options_are_read_by_their_kind():
    read = read_options("toy", "heat=.5&limit=-3&polite=true&style=a%26b+c", OPTIONS)
    assert read == {"heat": 0.5, "limit": -3, "polite": True, "style": "a&b c"}
    assert read_options("toy", "", OPTIONS) == {}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("heat=hot", "option heat of the toy agent is 'hot': expected a number"),
        ("limit=1.5", "option limit of the toy agent is '1.5': expected an integer"),
        ("limit=" + "9" * 5000, "expected an integer"),
        ("polite=1", "option polite of the toy agent is '1': expected true or false"),
        ("limit=1&limit=1", "option limit of the toy agent is given twice"),
        ("limt=1", "unknown option of the toy agent 'limt': did you mean limit"),
    ],
)
def test_what_cannot_be_read_is_refused(query, said):
    with pytest.raises(ValueError, match=said) as raised:
        read_options("toy", query, OPTIONS)
    assert isinstance(raised.value, UnknownNameError) == said.startswith("unknown")


@pytest.mark.parametrize(
    ("changed", "written"),
    [
        ({}, "what"),
        ({"heat": 0.0}, "what?heat=0"),
        ({"heat": 0.6, "limit": 20}, "what?heat=0.6&limit=20"),
        ({"heat": 1e-05, "polite": True}, "what?heat=1e-05&polite=true"),
        ({"style": "a&b/c"}, "what?style=a%26b/c"),
    ],
)
def test_what_is_written_is_read_back(changed, written):
    assert with_options("what", DEFAULTS | changed, DEFAULTS) == written
    assert read_options("toy", written.partition("?")[2], OPTIONS) == changed
