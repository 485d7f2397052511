"""Faults of the machine, for one process only: disks that are small, full or read-only, in a private mount namespace (Linux, root)."""

import ctypes
import os
import resource
import shutil
from pathlib import Path
from typing import Any

from tests.faults.children import command
from tests.faults.results import left, unsound

_NEW_NAMESPACE, _READ_ONLY, _REMOUNT, _RECURSIVE, _PRIVATE = 0x20000, 1, 32, 0x4000, 0x40000


def mount(path: str, size: str, flags: int = 0) -> None:
    """An empty disk of that size in memory at ``path``, for this process and its children. OSError where the machine does not let it."""
    library = ctypes.CDLL(None, use_errno=True)
    private = flags & _REMOUNT or (
        library.unshare(_NEW_NAMESPACE) == 0 and library.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None) == 0
    )
    if not private or library.mount(b"none", path.encode(), b"tmpfs", flags, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def mountable(path: str) -> bool:
    mount(path, "64k")
    return True


def on_small_disk(place: str, disk: str, size: str, words: tuple[str, ...], again: tuple[str, ...]) -> tuple[int, str, list[str], Any]:
    """The command with its output on a disk of that size: its exit status, its standard error, the files that it left there half-written.

    again: the words of a second call once the disk is large; gives what that leaves besides (None without words).
    """
    mount(f"{place}/{disk}", size)
    status = command(place, *words)
    errors = Path(f"{place}.stderr").read_text(errors="replace")
    broken = unsound(Path(place, disk))
    if not again:
        return status, errors, broken, None
    mount(f"{place}/{disk}", "256m", _REMOUNT)
    second = command(place, *again)
    return status, errors, broken, left(Path(place, disk)) if second == 0 else Path(f"{place}.stderr").read_text(errors="replace")[-300:]


def with_small_files(place: str, disk: str, size: int, words: tuple[str, ...]) -> tuple[int, str, list[str], Any]:
    """The same where no disk can be made: no file may grow past ``size`` bytes (standard error among them)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    status = command(place, *words)
    return status, Path(f"{place}.stderr").read_text(errors="replace"), unsound(Path(place, disk)), None


def on_read_only_disk(place: str, disk: str, source: str, words: tuple[str, ...]) -> tuple[int, str, list[str], Any]:
    """The command where ``disk`` holds a copy of ``source`` and can only be read."""
    mount(f"{place}/{disk}", "256m")
    shutil.copytree(source, Path(place, disk), dirs_exist_ok=True)
    mount(f"{place}/{disk}", "256m", _REMOUNT | _READ_ONLY)
    return command(place, *words), Path(f"{place}.stderr").read_text(errors="replace"), [], None


def with_small_shared_memory(place: str, size: str, words: tuple[str, ...]) -> int:
    """The command where processes share no more than ``size`` of memory, as containers do."""
    mount("/dev/shm", size)
    return command(place, *words)
