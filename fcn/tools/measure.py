"""Measuring: the time of alternatives, in turns within one run; with their peak memory, each in a process of its own."""

import ctypes
import gc
import multiprocessing
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch

Call = Callable[[], Any]


class Timing(NamedTuple):
    """Seconds of one call, in all turns."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def low(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float | None:
        """Half the distance between the quartiles, as a share of the median; None for one turn."""
        if len(self.seconds) == 1:
            return None
        low, middle, high = quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / middle


def time_in_turns(
    calls: Mapping[str, Call], *, turns: int = 5, warm: int = 1, most: float = 60.0, on_gpu: bool = False
) -> dict[str, Timing]:
    """The time of each call. They are called one after the other, again and again, so that a machine that slows down slows all alike.

    warm: turns that are not counted; most: seconds after which no further turn is begun; on_gpu: wait for it.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    for turn in range(warm + turns):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if on_gpu:
                torch.cuda.synchronize()
            if turn >= warm:
                times[name].append(time.perf_counter() - start)
        if turn >= warm and time.perf_counter() - begin > most:
            break
    return {name: Timing(tuple(values)) for name, values in times.items()}


class Measured(NamedTuple):
    """A call in a process of its own: its times, and the most bytes it took beyond what was there before it, where the system tells."""

    timing: Timing
    memory: int | None


Called = tuple[float, int | None]  # seconds, bytes
Maker = tuple[Callable[..., Call], Sequence[Any]]  # a function of a module that makes a call, and its arguments, which can be pickled


def measured(
    makers: Mapping[str, Maker], *, turns: int = 3, least: float = 2.0, most: float = 60.0, on_gpu: bool = False
) -> dict[str, Measured | RuntimeError]:
    """The time and the peak memory of each call, every one made and called in a process of its own, one after the other, in turns.

    What a maker prepares is not measured.

    least: keep adding repeats until this much time has passed (seconds). The first repeat is then a warm-up, and is not counted.
    most: start no further repeat after this much time (seconds), even with fewer than ``turns``.
    on_gpu: measure the memory of tensors on the GPU, else that of the process.

    A call that fails has its error in place of its figures.
    """
    workers = {name: _Worker(make, arguments, on_gpu) for name, (make, arguments) in makers.items()}
    found: dict[str, list[Called]] = {name: [] for name in workers}
    failed: dict[str, RuntimeError] = {}

    def for_each(act: Callable[[str], Any]) -> None:
        for name in [name for name in workers if name not in failed]:
            try:
                act(name)
            except RuntimeError as error:
                failed[name] = error

    try:
        for_each(lambda name: workers[name].answer())  # that it is made
        begin = time.perf_counter()
        gone, turn = 0.0, 0
        while (turn < turns and gone < most) or (turns > 1 and gone < least):
            for_each(lambda name: found[name].append(workers[name].call()))
            gone, turn = time.perf_counter() - begin, turn + 1
    finally:
        for worker in workers.values():
            worker.end()
    warm = 1 if turn > turns else 0
    return {
        name: failed[name]
        if name in failed
        else Measured(
            Timing(tuple(seconds for seconds, _ in each[warm:])), max((peak for _, peak in each if peak is not None), default=None)
        )
        for name, each in found.items()
    }


def fresh() -> Any:
    """How processes are started that hold nothing of this one: where the system can, from one that has imported torch once for all."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torchvision"])
    return context


class _Worker:
    """A process that makes a call and calls it whenever it is asked to."""

    def __init__(self, make: Callable[..., Call], arguments: Sequence[Any], on_gpu: bool) -> None:
        context = fresh()
        self.ours, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, make, arguments, torch.get_num_threads(), on_gpu), daemon=True)
        self.process.start()
        theirs.close()

    def call(self) -> Called:
        """Seconds and peak memory of one call. Raises RuntimeError where it fails."""
        with suppress(OSError):
            self.ours.send(None)
        found: Called = self.answer()
        return found

    def answer(self) -> Any:
        """Wait for what the process says next: that the call is made, or what it took. Raises RuntimeError where it failed."""
        try:
            found = self.ours.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            found = f"its process ended with exit code {self.process.exitcode}, maybe for lack of memory"
        if isinstance(found, str):
            raise RuntimeError(f"could not be measured: {found}")
        return found

    def end(self) -> None:
        self.ours.close()
        self.process.join(10)
        self.process.kill()


def _work(parent: Connection, make: Callable[..., Call], arguments: Sequence[Any], threads: int, on_gpu: bool) -> None:
    try:
        torch.set_num_threads(threads)
        call = make(*arguments)
        parent.send(())
        while True:
            parent.recv()
            parent.send(_once(call, on_gpu))
    except (EOFError, BrokenPipeError):  # the other side has ended
        return
    except Exception as error:
        with suppress(OSError):
            parent.send(f"{type(error).__name__}: {error}")


def _once(call: Call, on_gpu: bool) -> Called:
    gc.collect()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    forgotten = forget_peak()
    before = torch.cuda.memory_allocated() if on_gpu else resident_peak()
    begin = time.perf_counter()
    call()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    peak = torch.cuda.max_memory_allocated() if on_gpu else resident_peak()
    return seconds, peak - before if on_gpu or forgotten else None


def forget_peak() -> bool:
    """Let the peak of this process's memory be what it uses now, with what was freed given back; whether the system can (Linux does)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident_peak() -> int:
    """The most memory, bytes, that this process has held in RAM. Linux counts it for the program, as VmHWM; elsewhere, ``ru_maxrss`` may
    also hold what the process that started this one had."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    if found:
        return int(found[1]) * 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
