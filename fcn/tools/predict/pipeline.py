"""Reading, computing and writing side by side.

While some items are computed, other threads read the next ones and write the last results. The calling thread alone hands out work and
takes it back, in the order of the items. So an error is met in that order too, and what is held in memory is bounded.
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


class Skipped(NamedTuple):
    """Why nothing is computed of an item."""

    reason: str


class Apart(NamedTuple):
    """Small items are computed in threads of their own, several at once; the others by the calling thread.

    size: up to which an item is small.
    threads: number of these threads.
    begin: called in each of them first.
    """

    size: int
    threads: int
    begin: Callable[[], None]


Going = Future["Skipped | Future[None]"]  # what an item's computing gives: its writing


def side_by_side(
    items: Iterable[T],
    *,
    size: Callable[[T], int],
    read: Callable[[T], A],
    compute: Callable[[T, A], B | Skipped],
    write: Callable[[T, B], None],
    threads: int,
    ahead: int,
    room: int,
    apart: Apart | None = None,
) -> Iterator[Skipped | None]:
    """For each item, in order, None when it was computed and written, or why it was not.

    size: what an item takes of the room, asked before it is read.
    read: called in a thread.
    compute: called with an item and what was read of it.
    write: called in a thread with an item and its result.
    threads: number of threads that read and write.
    ahead: largest number of items that are read before they are computed, and of results that wait to be written.
    room: sum of the sizes that are held at once, from the reading to the end of the writing. An item that is larger is held alone.
    apart: what is computed in threads of its own; default: nothing.

    What one of the functions raises is raised here, after what the threads were doing.
    """
    pool = ThreadPoolExecutor(threads)
    computing = ThreadPoolExecutor(apart.threads, initializer=apart.begin) if apart else None
    coming: deque[Coming[T, A]] = deque()
    going: deque[tuple[int, Going]] = deque()
    most = ahead + (apart.threads if apart else 0)
    sized = ((item, size(item)) for item in items)
    following = next(sized, None)
    held = 0

    def finish(item: T, reading: "Future[A]") -> "Skipped | Future[None]":
        """Nothing of what was read or computed is kept here."""
        result = compute(item, reading.result())
        return result if isinstance(result, Skipped) else pool.submit(write, item, result)

    def started(item: T, taken: int, reading: "Future[A]") -> Going:
        if computing is not None and apart is not None and taken <= apart.size:
            return computing.submit(finish, item, reading)
        done: Going = Future()
        done.set_result(finish(item, reading))
        return done

    try:
        while coming or going or following is not None:
            while following is not None and len(coming) < ahead and (held + following[1] <= room or not (coming or going)):
                held += following[1]
                coming.append(Coming(*following, pool.submit(read, following[0])))
                following = next(sized, None)
            if coming:
                item, taken, reading = coming.popleft()
                try:
                    going.append((taken, started(item, taken, reading)))
                except Exception:
                    yield from map(_outcome, [computed for _, computed in going])
                    raise
                del item, reading
            while going and (not coming or len(going) > most or _is_done(going[0][1])):
                freed, computed = going.popleft()
                outcome = _outcome(computed)
                held -= freed
                yield outcome
    finally:
        for each in (computing, pool):
            if each is not None:
                each.shutdown(cancel_futures=True)


def _outcome(computed: Going) -> Skipped | None:
    """What became of an item, when it is written."""
    writing = computed.result()
    if isinstance(writing, Skipped):
        return writing
    writing.result()
    return None


def _is_done(computed: Going) -> bool:
    if not computed.done() or computed.exception() is not None:
        return computed.done()
    writing = computed.result()
    return isinstance(writing, Skipped) or writing.done()
