"""Files that appear whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from shared.errors import InputError, unwritable


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files under temporary names beside their own; they appear when all are complete, or none does.

    Raises InputError when one cannot be written.
    """
    unfinished = {path: path.with_name(f"{path.name}.tmp") for path in contents}
    try:
        for path, content in contents.items():
            unfinished[path].write_bytes(content)
        for path in contents:
            unfinished[path].replace(path)
    except OSError as error:
        raise InputError(unwritable(path, error)) from None
    finally:
        for file in unfinished.values():
            file.unlink(missing_ok=True)
