"""Files that appear whole or not at all: written beside their place, and put there when they are complete."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shared.errors import InputError, unwritable


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Where to write a file; when the with-block ends well, it takes its place. Otherwise what was there stays.

    Raises InputError for an OSError in the block; other exceptions pass through.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise InputError(unwritable(path, error)) from None
    finally:
        partial.unlink(missing_ok=True)


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files, which appear when all are complete, or none does. Raises InputError when one cannot be written."""
    with ExitStack() as all_complete:
        for path, content in contents.items():
            partial = all_complete.enter_context(unfinished(path))
            try:
                partial.write_bytes(content)
            except OSError as error:
                raise InputError(unwritable(path, error)) from None


@contextmanager
def unfinished_in_folder(path: Path) -> Iterator[Path]:
    """A file of the same name in a hidden folder beside path, for what writes further files there, as indexers do.

    The caller moves what is complete; the folder goes in the end.
    """
    folder = unfinished_folder(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unfinished_folder(path: Path) -> Path:
    """The hidden folder of unfinished_in_folder; only a killed run leaves it."""
    return path.with_name(f".unfinished_{path.name}")
