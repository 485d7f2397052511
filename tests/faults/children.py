"""Every attempt runs in a process of its own, with bounds on its time and memory, so that nothing that it does can hurt the others.

A server process imports the toolkit once and is forked for each attempt (multiprocessing's "forkserver"): 20 ms instead of 3 s.
"""

import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psutil

MEMORY = 1 << 30  # bytes that an attempt may take on top of the imports
PATIENCE = 180.0  # seconds on the clock, for what waits without end; what computes without end meets its CPU seconds first

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["pytest", "tests.faults.imported"])


@dataclass(frozen=True)
class Ended:
    """How an attempt ended. how: "gave", "raised", "died" (by a signal) or "hung"."""

    how: str
    value: Any = None  # what it gave
    error: str = ""  # the name of the exception's type
    asked: bool = False  # whether that is a kind that tells of bad input: ValueError, OSError, or the command line's own
    text: str = ""  # the exception's words, or the signal
    hungry: bool = False  # whether memory ran out on the way
    told: tuple[str, ...] = ()  # the warnings on the way
    grown: int = 0  # bytes that its resident memory grew by at the most
    seconds: float = 0.0  # of the CPU


def attempt(function: Callable[..., Any], *arguments: Any, cpu: int = 20, memory: int = MEMORY, patience: float = PATIENCE) -> Ended:
    """What becomes of ``function(*arguments)``; both travel by pickle. cpu: seconds."""
    process, receiver = begin(function, *arguments, cpu=cpu, memory=memory)
    return finish(process, receiver, patience)


def begin(function: Callable[..., Any], *arguments: Any, cpu: int = 60, memory: int = MEMORY) -> tuple[ForkServerProcess, Connection]:
    receiver, sender = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=child, args=(sender, cpu, memory, function, arguments))
    process.start()
    sender.close()
    return process, receiver


def finish(process: ForkServerProcess, receiver: Connection, patience: float = PATIENCE) -> Ended:
    try:
        ended = receiver.recv() if receiver.poll(patience) else Ended("hung", text=f"no end after {patience:.0f} s")
    except EOFError:
        process.join(10)
        number = -(process.exitcode or 0)
        name = signal.Signals(number).name if number > 0 else f"exit status {process.exitcode}"
        ended = Ended("hung", text="its CPU seconds ran out") if number == signal.SIGXCPU else Ended("died", text=name)
    kill(process)
    receiver.close()
    return ended


def kill(process: ForkServerProcess) -> None:
    """End it, and the processes that it started."""
    if process.pid is not None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
    process.join()


def child(sender: Connection, cpu: int, memory: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.setpgrp()
    multiprocessing.set_start_method("fork", force=True)  # Linux's own, for the processes that read; here it was this server's
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
    resource.setrlimit(resource.RLIMIT_AS, (virtual_memory() + memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = Warnings(logging.WARNING)
    logging.getLogger("fcn").addHandler(told)
    try:
        ended: dict[str, Any] = {"how": "gave", "value": function(*arguments)}
    except BaseException as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        asked = bool(kinds & {"ValueError", "OSError", "WrongCallError"})
        ended = {"how": "raised", "error": type(error).__name__, "asked": asked, "text": str(error), "hungry": ran_out(error)}
    used = resource.getrusage(resource.RUSAGE_SELF)
    sender.send(Ended(**ended, told=tuple(told.lines), grown=1024 * (used.ru_maxrss - start), seconds=used.ru_utime + used.ru_stime))


class Warnings(logging.Handler):
    """Keeps the warnings of the toolkit's log."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def cpu_seconds() -> float:
    """Seconds of the CPU that all attempts of this process have taken so far: of the server, and of what it forked and has waited for."""
    times = [process.cpu_times() for process in psutil.Process().children()]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def virtual_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def ran_out(error: BaseException | None) -> bool:
    """Whether an exception is of lack of memory, or was raised upon one."""
    while error is not None:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "Cannot allocate memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def command(folder: str, *words: str) -> int:
    """``fcn WORDS`` in ``folder``; what it says goes to the files ``stdout`` and ``stderr`` beside the folder. Gives the exit status."""
    from fcn.cli.main import run

    os.chdir(folder)
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        stream.flush()
        descriptor = os.open(f"{folder}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1 if name == "stdout" else 2)
        os.close(descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    try:
        return run(list(words))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def one_of_two(rank: int, port: int, folder: str, *words: str) -> int:
    """``command`` as one of two processes that work together, told what torchrun tells them. port: where they meet."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    return command(folder, *words)


def killed_at(operation: int, folder: str, output: str, words: tuple[str, ...]) -> int:
    """``command`` that is killed at that file operation (open, rename, remove, make a folder) on something in ``output``; gives, where it
    comes to its end before, how many there were."""
    done = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and output in str(arguments[0]):
            done += 1
            if done == operation:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)

    sys.addaudithook(count)
    status = command(folder, *words)
    if status:
        raise RuntimeError(f"exit status {status}")
    return done
