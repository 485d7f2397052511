"""Files and folders that are either whole or not there: written under a temporary name, synced to the disk, then renamed.

A rename within one folder is atomic (POSIX ``rename``, Windows ``MoveFileEx``). A reader of the final name sees the old file or the new
one, even if the process is killed or the power fails in between.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{8}\.part(\.[^.]*)?")

_FULL = ("the disk is full", "free some space there or choose another folder")
_FORBIDDEN = ("this user may not write there", "choose another folder or change its permissions")
_NO_FOLDER = ("a part of its path is a file, not a folder", "choose another folder")
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("this user's share of the disk is full", _FULL[1]),
    errno.EFBIG: ("it grew past the largest size a file may have here", "choose another folder or raise the limit"),
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: ("the disk is read-only", "choose another folder"),
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.ENOTEMPTY: ("a folder of that name holds something already", "choose another name or remove the folder"),
    errno.ENOENT: ("its folder cannot be made, or was removed meanwhile", "choose another folder"),
    errno.EISDIR: ("a folder has that name", "choose another name or remove the folder"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EIO: ("the disk reports an error", "check it or choose another folder"),
}


@contextmanager
def written(path: str | Path) -> Iterator[Path]:
    """A temporary file in the folder of ``path`` to write to. On success it is synced and renamed to ``path``; else it is removed.

        with written("labels.png") as temporary:
            picture.save(temporary)

    The temporary name is hidden and keeps the suffix, for writers that read the format from it. The folder is made where it is missing;
    a link is followed. Several processes may write the same path: the last one wins. A process that is killed leaves its temporary file
    behind, see ``remove_unfinished``.

    Raises OSError with one sentence (the file, why, what to do) where the file cannot be written. An exception of the body that has
    nothing to do with the file is passed on. ``torch.save`` hides the reason when it opens the file itself: give it an opened one,
    ``with written(path) as temporary, open(temporary, "wb") as file: torch.save(state, file)``.
    """
    target = Path(os.path.realpath(path))
    temporary = temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise explained(error, path) from error
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        cause = _cause(error, temporary)
        if cause is None:
            raise
        raise explained(cause, path) from error
    with suppress(OSError):  # the rename itself reaches the disk; not every system opens folders
        _sync(target.parent)


@contextmanager
def written_folder(path: str | Path) -> Iterator[Path]:
    """As ``written``, for a folder: a temporary one, whose files are synced and which is renamed to ``path`` on success, else removed.

    Raises OSError with one sentence where it cannot be written, or where ``path`` is there already.
    """
    target = Path(os.path.realpath(path))
    temporary = temporary_name(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for place, _, names in os.walk(temporary):
            for name in names:
                _sync(Path(place, name))
            _sync(Path(place))
        os.rename(temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        cause = _cause(error, temporary, below=True)
        if cause is None:
            raise
        raise explained(cause, path) from error


def temporary_name(target: Path) -> Path:
    """A new hidden name in the folder of ``target``, with its suffix, that ``remove_unfinished`` knows."""
    return target.with_name(f".{target.stem[:40]}.{secrets.token_hex(4)}.part{target.suffix[:20]}")


def remove_unfinished(folder: str | Path) -> None:
    """Remove temporary files and folders of killed processes in ``folder``. Only its owner may call this: what is being written goes as
    well."""
    for path in Path(folder).iterdir():
        if unfinished(path) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif unfinished(path):
            path.unlink(missing_ok=True)


def unfinished(path: Path) -> bool:
    """Whether ``path`` has one of the temporary names of ``written``."""
    return _UNFINISHED.fullmatch(path.name) is not None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cause(error: BaseException | None, temporary: Path, *, below: bool = False) -> OSError | None:
    """The failure to write ``temporary``, or what is below it, among ``error`` and its causes; None if there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _REASONS:
            place = Path(str(error.filename or temporary))
            if place == temporary or (below and temporary in place.parents):
                return error
        error = error.__cause__ or error.__context__
    return None


def explained(error: OSError, path: str | Path) -> OSError:
    """A failure to write ``path`` in one sentence: the file, why, what to do."""
    reason, mend = _REASONS.get(error.errno or 0, (error.strerror or str(error), "choose another folder"))
    return type(error)(f"cannot write {path}: {reason}; {mend}")
