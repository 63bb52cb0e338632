"""Unpacking archives of strangers: regular files only, inside the folder, bounded."""

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from shared.errors import InputError

MAX_BYTES = 1 << 28
"""Of all files together and their headers; a model has 20 MB."""
MAX_MEMBERS = 1000
BLOCK = 1 << 16


class Bounded:
    """A file that may be read up to a limit, so that a small archive cannot become a large one."""

    def __init__(self, file, path: Path):
        self.file, self.path, self.left = file, path, MAX_BYTES

    def read(self, size: int) -> bytes:
        """Raises InputError behind the limit."""
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise InputError(f"{self.path}: unpacks to more than {MAX_BYTES} bytes; this is no model")
        return data


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz into an empty folder; owners, modes and times are ours.

    Raises InputError when the archive is damaged, is too large, or holds anything but files and folders inside it:
    absolute paths, `..`, links, devices. What was unpacked until then stays; the folder is the caller's.
    """
    try:
        with gzip.open(archive) as data, tarfile.open(fileobj=(bounded := Bounded(data, archive)), mode="r|") as tar:
            for number, member in enumerate(tar):
                if number == MAX_MEMBERS:
                    raise InputError(f"{archive}: more than {MAX_MEMBERS} files; this is no model")
                target = folder / inner_path(archive, member)
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)
            while bounded.read(BLOCK):  # the checksum of gzip stands behind the last block
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise InputError(f"{archive}: not a whole .tar.gz archive ({error}); fetch it again") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"{archive}: holds {Path(error.filename).name} twice; it is not unpacked") from None


def inner_path(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """Where a member belongs. Raises InputError unless that is a file or folder inside the archive."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name or "\\" in member.name:
        raise InputError(f"{archive}: {member.name!r} would lie outside of the model's folder; it is not unpacked")
    if not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        raise InputError(f"{archive}: {member.name!r} is a link or device; it is not unpacked")
    return path
