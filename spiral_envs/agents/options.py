"""Options of an agent in its agent string: `kind:WHAT?name=value&name=value`.

An agent's settings are a frozen dataclass. Here its options are read from a query and written back as one, so that
every kind of agent takes them in the same way and refuses the same mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, urlencode

from spiral_envs.errors import UnknownNameError

Value: TypeAlias = float | bool | str
"""What an option can be."""


class Option(NamedTuple):
    """How one option is read.

    Attributes:
        read: From its text to its value; raises ValueError.
        form: What is expected, in words.
    """

    read: Callable[[str], Value]
    form: str


def read_options(kind: str, query: str, options: Mapping[str, Option]) -> dict[str, Value]:
    """Returns the values in `name=value&name=value`, as given: whether they are in range is for the settings to say.

    Args:
        kind: Of the agent, for messages.
        query: What follows the question mark; may be empty.
        options: Those that the kind has.

    Raises:
        UnknownNameError: There is no such option.
        ValueError: A value cannot be read, or an option is given twice.
    """
    values: dict[str, Value] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in options:
            raise UnknownNameError(f"option of the {kind} agent", name, options)
        if name in values:
            raise ValueError(f"option {name} of the {kind} agent is given twice")
        try:
            values[name] = options[name].read(text)
        except ValueError:
            raise ValueError(f"option {name} of the {kind} agent is {text!r}: expected {options[name].form}") from None
    return values


def with_options(what: str, values: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """Returns `what` with the options whose values differ from their default, as `read_options` reads them.

    Args:
        what: The agent without options.
        values: By name, in the order in which they are written.
        defaults: By name.
    """
    written = {name: _written(value) for name, value in values.items() if value != defaults[name]}
    # A path in a value stays readable.
    return f"{what}?{urlencode(written, safe='/')}" if written else what


def check_option(kind: str, name: str, value: object, is_good: bool, expected: str) -> None:
    """Refuses the value of an option that is out of its range.

    Raises:
        ValueError: It is not good.
    """
    if not is_good:
        raise ValueError(f"option {name} of the {kind} agent is {value!r}: expected {expected}")


def _written(value: object) -> str:
    # true rather than True, and 1 rather than 1.0, as one would write them.
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


def _integer(text: str) -> int:
    # int() would read "1_0", " 1" and digits of other scripts as well.
    if not _INTEGER.fullmatch(text):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    # As with int(), and float() would read "nan" as well.
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return float(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


_INTEGER: Final = re.compile("-?[0-9]{1,18}")

_NUMBER: Final = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)

INTEGER: Final = Option(_integer, "an integer")

NUMBER: Final = Option(_number, "a number")

SECONDS: Final = Option(_number, "a number of seconds")

BOOLEAN: Final = Option(_boolean, "true or false")

TEXT: Final = Option(str, "a text")
