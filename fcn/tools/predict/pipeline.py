"""Reading, computing and writing side by side.

While the calling thread computes, other threads read the next items and write the last results. The calling thread alone hands out work
and takes it back, in the order of the items. So an error is met in that order too, and what is held in memory is bounded.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")  # an item, as a path
A = TypeVar("A")  # what is read of it
B = TypeVar("B")  # what is computed of that


class Coming(NamedTuple, Generic[T, A]):
    """An item that is being read."""

    item: T
    size: int
    read: "Future[A]"


def side_by_side(
    items: Iterable[T],
    *,
    size: Callable[[T], int],
    read: Callable[[T], A],
    compute: Callable[[T, A], B | None],
    write: Callable[[T, B], None],
    threads: int,
    ahead: int,
    room: int,
) -> Iterator[bool]:
    """For each item, in order, whether something was computed and written.

    size: what an item takes of the room, asked before it is read.
    read: called in a thread.
    compute: called here with an item and what was read of it; returns None for what is not written.
    write: called in a thread with an item and its result.
    threads: number of threads that read and write.
    ahead: largest number of items that are read before they are computed, and of results that wait to be written.
    room: sum of the sizes that are held at once, from the reading to the end of the writing. An item that is larger is held alone.

    What one of the functions raises is raised here, after what the threads were doing.
    """
    pool = ThreadPoolExecutor(threads)
    coming: deque[Coming[T, A]] = deque()
    going: deque[tuple[int, Future[None] | None]] = deque()  # the size, and the writing if there is one
    sized = ((item, size(item)) for item in items)
    following = next(sized, None)
    held = 0
    try:
        while coming or going or following is not None:
            while following is not None and len(coming) < ahead and (held + following[1] <= room or not (coming or going)):
                held += following[1]
                coming.append(Coming(*following, pool.submit(read, following[0])))
                following = next(sized, None)
            if coming:
                going.append(_computed(coming.popleft(), compute, write, pool))
            while going and (not coming or len(going) > ahead or going[0][1] is None or going[0][1].done()):
                freed, writing = going.popleft()
                if writing is not None:
                    writing.result()
                held -= freed
                yield writing is not None
    finally:
        pool.shutdown(cancel_futures=True)


def _computed(
    coming: Coming[T, A], compute: Callable[[T, A], B | None], write: Callable[[T, B], None], pool: ThreadPoolExecutor
) -> tuple[int, "Future[None] | None"]:
    """Compute something of what was read, and have it written. Nothing of it is kept here."""
    result = compute(coming.item, coming.read.result())
    return coming.size, None if result is None else pool.submit(write, coming.item, result)
