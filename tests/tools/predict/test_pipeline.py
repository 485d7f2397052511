"""Reading, computing and writing side by side: order, errors, what is held."""

import threading

import pytest

from fcn.tools.predict.pipeline import Apart, Skipped, side_by_side


def run(count, **given):
    """What is written, item by item, of 0 to ``count - 1``, and what the pipeline says of each."""
    written = []
    return list(run_lazily(count, written, **given)), written


def run_lazily(count, written=None, **given):
    written = [] if written is None else written
    words = {
        "size": lambda item: 1,
        "read": lambda item: item,
        "compute": lambda item, value: 10 * value,
        "write": lambda item, result: written.append((item, result)),
        "threads": 2,
        "ahead": 3,
        "room": 100,
    } | given
    return side_by_side(range(count), **words)


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("ahead", [1, 3, 30])
@pytest.mark.parametrize("room", [0, 1, 5, 1000])
def test_everything_once_and_computed_in_order(threads, ahead, room):
    computed = []

    def compute(item, value):
        computed.append(item)
        return 10 * value

    said, written = run(17, compute=compute, threads=threads, ahead=ahead, room=room)
    assert said == [None] * 17
    assert computed == list(range(17))
    assert sorted(written) == [(item, 10 * item) for item in range(17)]


def test_reading_and_writing_go_on_while_something_is_computed():
    """The second item is read, and the first one written, before the second is computed; else this would wait for ever."""
    read, written = [threading.Event() for _ in range(3)], threading.Event()

    def compute(item, _):
        assert item == 2 or read[item + 1].wait(20)
        assert item == 0 or written.wait(20)
        return 0

    said, _ = run(3, read=lambda item: read[item].set(), compute=compute, write=lambda *_: written.set())
    assert said == [None] * 3


@pytest.mark.parametrize("apart", [None, Apart(1, 3, int)])
@pytest.mark.parametrize(("room", "most"), [(0, 1), (4, 4), (7, 7)])
def test_what_is_held_is_bounded(room, most, apart):
    lock, held, seen = threading.Lock(), set(), []

    def read(item):
        with lock:
            held.add(item)
            seen.append(len(held))
        return item

    def write(item, result):
        with lock:
            held.discard(item)

    run(40, read=read, write=write, ahead=50, room=room, apart=apart)
    assert max(seen) <= most


def test_a_large_item_is_held_alone():
    alone = []
    held = set()

    def read(item):
        held.add(item)
        alone.append(item != 5 or held == {5})
        return item

    run(9, size=lambda item: 50 if item == 5 else 1, read=read, write=lambda item, _: held.discard(item), room=10)
    assert all(alone)


@pytest.mark.parametrize("apart", [None, Apart(1, 3, int)])
def test_what_has_no_result_is_not_written(apart):
    said, written = run(5, compute=lambda item, value: Skipped(f"no {item}") if item in (1, 4) else 7, apart=apart)
    assert said == [None, ("no 1",), None, None, ("no 4",)]
    assert sorted(item for item, _ in written) == [0, 2, 3]


def test_small_items_are_computed_at_once_and_others_here():
    """Three small ones wait for each other, else this would not end; what is larger is computed by the calling thread."""
    together, here, begun = threading.Barrier(3, timeout=20), {}, []

    def compute(item, value):
        here[item] = threading.current_thread() is threading.main_thread()
        if not here[item]:
            together.wait()
        return 10 * value

    apart = Apart(1, 3, lambda: begun.append(threading.get_ident()))
    said, written = run(14, size=lambda item: 9 if item % 7 == 3 else 1, compute=compute, apart=apart)
    assert said == [None] * 14
    assert sorted(written) == [(item, 10 * item) for item in range(14)]
    assert [item for item in here if here[item]] == [3, 10]
    assert len(set(begun)) == 3


@pytest.mark.parametrize("apart", [None, Apart(1, 3, int)])
@pytest.mark.parametrize("where", ["read", "compute", "write"])
def test_an_error_in_the_middle_ends_it_after_what_was_before(where, apart):
    def broken(item, *_):
        if item == 4:
            raise OSError("the disk is full")
        return 0

    written = []
    given = {"write": lambda item, _: written.append(item), "apart": apart} | {where: broken}
    with pytest.raises(OSError, match="the disk is full"):
        run(100, **given)
    assert set(written) <= set(range(4 if where != "write" and apart is None else 15))


def test_an_error_here_comes_after_what_threads_do_with_items_before():
    def compute(item, value):
        if item == 4:
            raise OSError("the disk is full")
        return Skipped("no 2") if item == 2 else 0

    outcomes = []
    with pytest.raises(OSError, match="the disk is full"):
        outcomes.extend(run_lazily(9, size=lambda item: 9 if item == 4 else 1, compute=compute, apart=Apart(1, 3, int), ahead=6))
    assert outcomes == [None, None, ("no 2",), None]


def test_of_several_errors_the_first_item_s_is_met():
    def broken(item):
        if item in (3, 4):
            raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 3"):
        run(9, read=broken, compute=lambda *_: 0, ahead=9)
