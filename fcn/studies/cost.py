"""What a network costs: parameters, multiply-adds, the time of a pass, and the memory of the process at its peak."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from fcn.geometry.graph.read import UnknownOperationError, read_graph


def multiply_adds(network: nn.Module, height: int, width: int) -> int | None:
    """Of one pass over a (height, width) image; None where the network's graph cannot be read."""
    try:
        return sum(node.macs for node in read_graph(network, (height, width)))
    except (UnknownOperationError, ValueError):
        return None


def seconds_of(work: Callable[[], Any], device: torch.device, *, most: float = 2.0, turns: int = 30) -> float:
    """The median time of ``work``, warmed up, over ``turns`` calls or as many as fit into ``most`` seconds (three at least)."""
    for _ in range(2):
        work()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 3 or (len(times) < turns and time.perf_counter() - begin < most):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return median(times)


def peak_memory(device: torch.device) -> int | None:
    """The most memory, bytes, that this process has held so far: on the GPU where it works there, else in RAM. None where it is not known.

    Linux counts it for the program (VmHWM); ``ru_maxrss`` would also hold what the process that started this one had.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(found[1]) * 1024 if found else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
