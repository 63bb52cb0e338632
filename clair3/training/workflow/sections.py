"""YAML files as sections of named values: each is asked for once, and a name that nobody asks for is refused."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clair3.errors import ConfigError, InputError, install_command


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the named values of a YAML or JSON file, without those that are null. Raises InputError, or ConfigError when
    PyYAML is not installed."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    try:
        if path.suffix == ".json":
            values = json.loads(text)
        else:
            import yaml

            values = yaml.safe_load(text)
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; this is no configuration") from None
    except ImportError:
        raise ConfigError(f"{path}: YAML needs PyYAML; run {install_command('train')}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({str(error).replace(chr(10), ' ')})") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(f"{path}: expected options by name, e.g. learning_rate: 0.001")
    return {name: value for name, value in values.items() if value is not None}


REQUIRED = object()


class Section:
    """The values of one mapping in a YAML file. where names it in errors: `config.yaml, samples, number 2`.

    outer: the section whose values stand for those that are missing here.
    Raises ConfigError when values is no mapping by names.
    """

    def __init__(self, values: Any, where: str, outer: "Section | None" = None):
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise ConfigError(f"{where}: expected names with values, found {shorten(values)}")
        self.values = {name: value for name, value in values.items() if value is not None}
        self.where, self.outer = where, outer
        self.asked: set[str] = set()

    def take(self, name: str, parse: Callable[[Any], Any], default: Any = REQUIRED) -> Any:
        """Return the value of a name as its parser gives it, or the default.

        Raises ConfigError when it is missing, or when the parser refuses it (ValueError with what it expects).
        """
        self.asked.add(name)
        if self.outer is not None:
            self.outer.asked.add(name)
        if name not in self.values:
            if self.outer is not None:
                return self.outer.take(name, parse, default)
            if default is REQUIRED:
                raise ConfigError(f"{self.where}: {name} is missing")
            return default
        try:
            return parse(self.values[name])
        except ValueError as error:
            raise ConfigError(f"{self.where}: {name} is {shorten(self.values[name])}; expected {error}") from None

    def finish(self) -> None:
        """Raises ConfigError for a name that nobody asked for."""
        if unknown := sorted(set(self.values) - self.asked):
            known = ", ".join(sorted(self.asked))
            raise ConfigError(f"{self.where}: unknown name {unknown[0]}; known are {known}")


def shorten(value: Any) -> str:
    """Write a value for a message, in at most 80 characters."""
    return repr(value)[:80]


def parse_text(value: Any) -> str:
    """Return a value as text; a number counts as text, too (`name: 12`). Raises ValueError."""
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int | float)
        or not str(value).isprintable()
        or value == ""
    ):
        raise ValueError("a text")
    return str(value)


def parse_texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list without repetition, or of a single text. Raises ValueError."""
    texts = tuple(map(parse_text, value if isinstance(value, list) else [value]))
    if len(set(texts)) < len(texts):
        raise ValueError("each of them once")
    return texts


def parse_flag(value: Any) -> bool:
    """Return a YAML boolean. Raises ValueError for another value."""
    if not isinstance(value, bool):
        raise ValueError("yes or no")
    return value


def whole_from(least: int) -> Callable[[Any], int]:
    """Return a parser of whole numbers that are at least `least`; the parser raises ValueError."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"a whole number from {least}")
        return value

    return read


def numbers_up_to(most: float) -> Callable[[Any], tuple[float, ...]]:
    """Return a parser of a list of different numbers in (0, most], or of one number; the parser raises ValueError."""

    def read(value: Any) -> tuple[float, ...]:
        given = value if isinstance(value, list) else [value]
        if not given or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in given):
            raise ValueError("numbers")
        if not all(0 < one <= most for one in given) or len(set(given)) < len(given):
            raise ValueError("different numbers above 0" + (f", up to {most}" if most < math.inf else ""))
        return tuple(map(float, given))

    return read


def parse_mapping(value: Any) -> dict:
    """Return a mapping as it is. Raises ValueError for another value."""
    if not isinstance(value, dict):
        raise ValueError("names with values")
    return value


def parse_list(value: Any) -> list:
    """Return a list that is not empty as it is. Raises ValueError for another value."""
    if not isinstance(value, list) or not value:
        raise ValueError("a list with at least one entry")
    return value


def parse_file(value: Any) -> Path:
    """Return the absolute path of an existing file. Raises InputError when there is none."""
    path = Path(os.path.abspath(parse_text(value)))
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path
