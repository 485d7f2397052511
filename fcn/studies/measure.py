"""Measuring: the time of alternatives, in turns within one run, and the peak memory of a call in a process of its own."""

import ctypes
import gc
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

Call = Callable[[], Any]


class Timing(NamedTuple):
    """Seconds of one call: the median over the turns, the fastest and the slowest."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the range, as a share of the median."""
        return (self.high - self.low) / 2 / self.median


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
    return {name: Timing(_median(values), min(values), max(values)) for name, values in times.items()}


class Measured(NamedTuple):
    """One call in a process of its own: what it gave, its seconds, and the most bytes it took beyond what was there before it."""

    result: Any
    seconds: float
    memory: int


def measured(make: Callable[..., Call], *arguments: Any, on_gpu: bool = False) -> Measured:
    """Make the call ``make(*arguments)`` in a process of its own, and call it once.

    What ``make`` prepares is there before and does not count. ``make`` is a function of a module; the arguments and the result can be
    pickled (tensors as arrays). on_gpu: the memory is that of tensors on the GPU, otherwise of the process. Raises RuntimeError, with its
    reason, where the call fails.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(theirs, make, arguments, torch.get_num_threads(), on_gpu), daemon=True)
    child.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        child.join()
        found = f"its process ended with exit code {child.exitcode}, maybe for lack of memory"
    child.join()
    if isinstance(found, str):
        raise RuntimeError(f"a call could not be measured: {found}")
    return Measured(*found)


def _measure(results: Connection, make: Callable[..., Call], arguments: tuple[Any, ...], threads: int, on_gpu: bool) -> None:
    try:
        torch.set_num_threads(threads)
        call = make(*arguments)
        gc.collect()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        forget_peak()
        before = torch.cuda.memory_allocated() if on_gpu else resident_peak()
        begin = time.perf_counter()
        result = call()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        peak = torch.cuda.max_memory_allocated() if on_gpu else resident_peak()
        results.send((result, seconds, peak - before))
    except Exception as error:
        results.send(f"{type(error).__name__}: {error}")


def forget_peak() -> None:
    """Let the peak of this process's memory be what it uses now, where the system can: what was freed is given back, on Linux."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def resident_peak() -> int:
    """The most memory, bytes, that this process has held in RAM. Linux counts it for the program, as VmHWM; elsewhere, ``ru_maxrss`` may
    also hold what the process that started this one had."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
