"""Files that appear whole or not at all."""

import os

import pytest

from clair3.errors import InputError
from clair3.io.atomic import unfinished_in_folder, write_whole


def test_a_pipe_or_device_is_not_replaced(tmp_path):
    """As root, /dev/null could be."""
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(InputError, match="is a device or a pipe"):
        write_whole({tmp_path / "a": b"", pipe: b"text"})
    with pytest.raises(InputError, match="is a device or a pipe"), unfinished_in_folder(pipe):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"] and pipe.is_fifo()
