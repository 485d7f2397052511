"""Worker processes that read for a training or a scoring: how their tensors reach the main process, and what is said when they do not.

A DataLoader sends tensors through shared memory (``/dev/shm`` on Linux). It moves them there in a thread of the worker whose errors nobody
hears: when the memory is full, as the 64 MB of a Docker container soon are, the batch is lost and the main process waits for ever. Here the
worker itself moves them (``sent``). A tensor that finds no room goes through a pipe: slower, but of any size.
"""

import logging
import os
import pickle
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from fcn.core.errors import UserError

log = logging.getLogger(__name__)

SHARED = Path("/dev/shm")
RESERVE = 2**20  # bytes of shared memory that stay free: the semaphores of the next workers stand there too
PREFETCH = 4  # deliveries that each worker prepares
QUIET = 5.0  # seconds, of one wait for a delivery
WAITS = 120  # with nothing delivered, after which the workers are given up; counted, so that a stopped and continued process goes on

T = TypeVar("T")

# What torch asks when it takes an iterator away, and has not set yet where its workers could not be started: a traceback would be printed.
_MultiProcessingDataLoaderIter._shutdown = True


class LostWorkerError(ChildProcessError):
    """A worker is gone, or silent for good."""


def worker_loader(dataset: Dataset[Any], *, workers: int, collate: Callable[[Any], Any] | None = None, **options: Any) -> DataLoader[Any]:
    """A DataLoader whose deliveries ``delivered`` waits for.

    collate: makes a delivery (a tensor, a tuple of tensors, or an exception) of what the dataset gives; default: it is one.
    options: as of ``DataLoader``.
    """
    return DataLoader(
        dataset,
        num_workers=workers,
        worker_init_fn=one_thread,
        prefetch_factor=PREFETCH if workers else None,
        collate_fn=Sending(collate),
        timeout=QUIET if workers else 0,
        **options,
    )


def one_thread(_: int) -> None:
    """Workers share the cores with the training: one thread each. And what ends is told by the main process alone."""
    torch.set_num_threads(1)
    sys.excepthook = unless_cut_off


def unless_cut_off(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A worker's hook for errors: the thread that hands its tensors over calls it where the other end of a connection is gone."""
    if not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


# --- in the worker ---


@dataclass(frozen=True)
class Piped:
    """A tensor that goes through the pipe: its values in the order of its memory, and which of its axes each of theirs is."""

    values: NDArray[Any]
    axes: tuple[int, ...]

    def tensor(self) -> Tensor:
        """The tensor, in the memory layout that it had."""
        return torch.from_numpy(self.values).permute(*np.argsort(self.axes).tolist())


class Sending:
    """``collate``, and then ``sent``: an object, since workers that are not forked need to unpickle it."""

    def __init__(self, collate: Callable[[Any], Any] | None) -> None:
        self.collate = collate

    def __call__(self, found: Any) -> Any:
        return sent(found if self.collate is None else self.collate(found))


def sent(delivery: Any) -> Any:
    """A delivery as it leaves a worker: its tensors in shared memory, or ``Piped``. Outside of a worker: the delivery itself."""
    if get_worker_info() is None or isinstance(delivery, Exception):
        return delivery
    return moved(delivery) if isinstance(delivery, Tensor) else tuple(map(moved, delivery))


def moved(tensor: Tensor) -> Tensor | Piped:
    if free_shared_memory() >= tensor.untyped_storage().nbytes() + RESERVE:
        with suppress(RuntimeError):  # another process was faster, or too many files are open
            return tensor.share_memory_()
    axes = tuple(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
    return Piped(tensor.permute(axes).contiguous().numpy(), axes)


def free_shared_memory() -> float:
    """Bytes; infinite where the system has no such folder, and memory is the only limit."""
    return shutil.disk_usage(SHARED).free if SHARED.is_dir() else float("inf")


def read_or_fault(read: Callable[[], T], sample: Callable[[], str]) -> T | Exception:
    """What ``read`` gives, or the error that it raises, fit to be sent from one process to another.

    A user's mistake (UserError, OSError) stays as it is. Any other error becomes a RuntimeError that names the ``sample`` and carries the
    traceback as a note.
    """
    try:
        return read()
    except (UserError, OSError) as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an error of a kind that cannot be pickled would be lost on its way
            return (OSError if isinstance(error, OSError) else UserError)(str(error))
        return error
    except Exception as error:
        fault = RuntimeError(f"{sample()} cannot be read: {type(error).__name__}: {error}")
        fault.add_note(traceback.format_exc())
        return fault


# --- in the main process ---


def delivered(loader: DataLoader[Any]) -> Iterator[Any]:
    """The deliveries of a ``worker_loader``. An error that a worker met is raised here, without that worker's traceback.

    Raises LostWorkerError where nothing comes for ten minutes though the workers run, and OSError where they cannot be started.
    """
    workers = loader.num_workers
    try:
        iterator = iter(loader)
    except OSError as error:
        raise OSError(
            f"workers={workers}: the worker processes cannot be started ({error.strerror or error}); "
            f"give workers=0, which reads in the process itself, or free memory and {SHARED}"
        ) from error
    piped = False
    try:
        while True:
            try:
                delivery = next_of(iterator, workers)
            except StopIteration:
                return
            if isinstance(delivery, Exception):
                raise delivery
            parts = delivery if isinstance(delivery, tuple | list) else (delivery,)
            if not piped and any(isinstance(part, Piped) for part in parts):
                piped = True
                log.info("%s is full: batches that do not fit go through a pipe, which is slower; %s", SHARED, mend())
            parts = tuple(part.tensor() if isinstance(part, Piped) else part for part in parts)
            yield parts if isinstance(delivery, tuple | list) else parts[0]
    finally:
        del iterator  # which ends the workers: not kept by the traceback of an error


def next_of(iterator: Iterator[T], workers: int) -> T:
    for _ in range(WAITS):
        try:
            return next(iterator)
        except RuntimeError as error:
            if not str(error).startswith("DataLoader timed out"):
                raise
    raise LostWorkerError(
        f"nothing came from the worker processes (workers={workers}) for {WAITS * QUIET / 60:g} minutes, though they run; perhaps the "
        f"storage does not answer; give workers=0, which shows what it waits for"
    )


@contextmanager
def telling_of_lost_workers(workers: int, then: str = "") -> Iterator[None]:
    """Within it, the death of a worker, which torch raises wherever the main process is just then, becomes a LostWorkerError in one
    sentence. then: what to do after the cause is mended."""
    try:
        yield
    except LostWorkerError as error:
        raise LostWorkerError(f"{error}{then}") from error
    except RuntimeError as error:
        reason = cause_of_death(error)
        if reason is None:
            raise
        raise LostWorkerError(
            f"a worker process that reads was {reason}, most often because memory ran out; give fewer workers than {workers} (workers=0 "
            f"reads in the process itself), smaller batches, or more memory{then}"
        ) from error


def cause_of_death(error: BaseException | None) -> str | None:
    """How a worker ended, of torch's error that says so; None for another error."""
    found = None
    while error is not None:
        text = str(error)
        if text.startswith("DataLoader worker (pid"):
            signal = re.search(r"killed by signal: ([^.]*)", text)
            if signal:
                return f"killed by the system (signal: {signal[1].strip()})"
            found = "ended by the system"
        error = error.__cause__ or error.__context__
    return found


def tell_of_little_shared_memory(batch_bytes: int, workers: int) -> None:
    """Say, before the first step, that the workers' batches do not fit into what is free of shared memory, and what to do."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of this machine
    needed = batch_bytes * PREFETCH * workers * processes
    free = free_shared_memory()
    if needed > free - RESERVE:
        log.info(
            "%s has %.0f MiB free; the batches that %d worker processes hold ready take %.0f MiB. "
            "Batches that do not fit go through a pipe, which is slower; %s",
            SHARED,
            free / 2**20,
            workers * processes,
            needed / 2**20,
            mend(),
        )


def mend() -> str:
    return "give workers=0, fewer workers or smaller batches, or a container more shared memory (docker run --shm-size=2g)"
