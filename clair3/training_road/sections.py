"""The file of a training road as sections of named values: each is asked for once, what nobody asks for is refused."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.errors import ConfigError, InputError

REQUIRED = object()


class Section:
    """The values of one mapping in a file. where names it in errors: `road.yaml, samples, number 2`.

    outer: the section whose values stand for those that are missing here.
    Raises ConfigError when values is no mapping by names.
    """

    def __init__(self, values: Any, where: str, outer: "Section | None" = None):
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise ConfigError(f"{where}: expected names with values, found {shown(values)}")
        self.values = {name: value for name, value in values.items() if value is not None}
        self.where, self.outer = where, outer
        self.asked: set[str] = set()

    def take(self, name: str, reader: Callable[[Any], Any], default: Any = REQUIRED) -> Any:
        """The value of a name as its reader gives it, or the default.

        Raises ConfigError when it is missing, or when the reader refuses it (ValueError with what it expects).
        """
        self.asked.add(name)
        if self.outer is not None:
            self.outer.asked.add(name)
        if name not in self.values:
            if self.outer is not None:
                return self.outer.take(name, reader, default)
            if default is REQUIRED:
                raise ConfigError(f"{self.where}: {name} is missing")
            return default
        try:
            return reader(self.values[name])
        except ValueError as error:
            raise ConfigError(f"{self.where}: {name} is {shown(self.values[name])}; expected {error}") from None

    def finish(self) -> None:
        """Raises ConfigError for a name that nobody asked for."""
        if unknown := sorted(set(self.values) - self.asked):
            known = ", ".join(sorted(self.asked))
            raise ConfigError(f"{self.where}: unknown name {unknown[0]}; known are {known}")


def shown(value: Any) -> str:
    return repr(value)[:80]


def text(value: Any) -> str:
    """A text; a number is one too (`name: 12`)."""
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int | float)
        or not str(value).isprintable()
        or value == ""
    ):
        raise ValueError("a text")
    return str(value)


def texts(value: Any) -> tuple[str, ...]:
    """A list of different texts, or one alone."""
    found = tuple(map(text, value if isinstance(value, list) else [value]))
    if len(set(found)) < len(found):
        raise ValueError("each of them once")
    return found


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("yes or no")
    return value


def whole(least: int) -> Callable[[Any], int]:
    """Reads a whole number from `least` on."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"a whole number from {least}")
        return value

    return read


def numbers(most: float) -> Callable[[Any], tuple[float, ...]]:
    """Reads a list of different numbers above 0 and up to `most`, or one alone."""

    def read(value: Any) -> tuple[float, ...]:
        found = value if isinstance(value, list) else [value]
        if not found or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in found):
            raise ValueError("numbers")
        if not all(0 < one <= most for one in found) or len(set(found)) < len(found):
            raise ValueError("different numbers above 0" + (f", up to {most}" if most < math.inf else ""))
        return tuple(map(float, found))

    return read


def mapping(value: Any) -> dict:
    if not isinstance(value, dict):
        raise ValueError("names with values")
    return value


def listing(value: Any) -> list:
    if not isinstance(value, list) or not value:
        raise ValueError("a list with at least one entry")
    return value


def existing(value: Any) -> Path:
    """The absolute path of a file that is there. Raises InputError when it is not."""
    path = Path(os.path.abspath(text(value)))
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path
