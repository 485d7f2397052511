"""Readers with the faults that the suite is there to find, so that it is known to find them."""

import time
from pathlib import Path


def right(path: Path) -> str:
    return "content"


def refused(path: Path) -> str:
    raise ValueError(f"{path} is damaged: copy it again")


def silent(path: Path) -> str:
    return "other content"


def unnamed(path: Path) -> str:
    raise ValueError("the file is damaged")


def two_lines(path: Path) -> str:
    raise ValueError(f"{path} is damaged:\ncopy it again")


def other_kind(path: Path) -> str:
    raise KeyError(str(path))


def hangs(path: Path) -> str:
    while True:
        pass


def waits(path: Path) -> str:
    time.sleep(1000)
    return "content"


def hungry(path: Path) -> str:
    try:
        return f"{len(bytearray(2**34))}"
    except MemoryError as error:
        raise ValueError(f"{path} cannot be read") from error


def large(path: Path) -> str:
    held = bytearray(700 << 20)
    held[::4096] = bytes([1]) * len(held[::4096])
    return "content"


def dies(path: Path) -> str:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)
    return "content"
