"""What goes wrong with the files of rasters, in one sentence each."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from fcn.core.errors import UserError
from fcn.core.names import first_line

AT_EACH_READ = 16  # files of a raster whose size is looked at after each read; more of them only where something is raised


class UnreadableError(UserError):
    """A file that one reader cannot open, and another one may."""


@contextmanager
def opening(path: str) -> Iterator[None]:
    """Whatever a library raises in here becomes an ``UnreadableError`` that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a damaged file raises whatever its parser meets
        raise UnreadableError(f"{path} cannot be opened ({first_line(error)}): replace the file") from error


@contextmanager
def closed_on_error(file: Any) -> Iterator[None]:
    """Closes the file if anything is raised in here."""
    try:
        yield
    except BaseException:
        file.close()
        raise


class Watched:
    """A file while its pixels are read: what is raised on the way becomes one sentence, and so does a change of the file.

    with watched: ...

    files: others that hold pixels of it.
    """

    def __init__(self, path: str, files: Iterable[str] = ()) -> None:
        self.path, self.closed = path, False
        self.sizes = {file: size_of(file) for file in (path, *files)}

    def close(self) -> None:
        """From now on nothing can be read."""
        self.closed = True

    def __enter__(self) -> None:
        if self.closed:
            raise UserError(f"{self.path} is closed already; label it within its with block, or open it again")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError) or (error is not None and not isinstance(error, Exception)):
            return
        for file, size in islice(self.sizes.items(), AT_EACH_READ if error is None else None):
            now = size_of(file)
            if now != size:
                raise UserError(
                    f"{file} had {size:,} bytes when it was opened and has {now:,} now: let it be written to its end, and start again"
                ) from error
        if isinstance(error, MemoryError):
            return
        if error is not None:
            raise UserError(
                f"{self.path} is damaged or was cut off ({first_line(error.__cause__ or error)}): copy or download it again"
            ) from error


def size_of(path: str) -> int:
    """The bytes of a file; 0 for a folder, and for what is no file of this machine."""
    try:
        return os.path.getsize(path) if os.path.isfile(path) else 0
    except OSError:
        return 0
