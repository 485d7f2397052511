"""What the machine does to a run: a reading process is lost, the disk is full or read-only, processes may share little memory."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from shutil import copytree

import psutil
import pytest

from tests.faults import machine
from tests.faults.children import Ended, attempt, begin, command, finish
from tests.faults.outcomes import ELSE, REFUSED, RIGHT, SEED, Outcome, of_command
from tests.faults.results import left, said, unsound
from tests.faults.subjects import TRAIN, save_data
from tests.faults.test_kills import PREDICTION

pytestmark = pytest.mark.faults
READERS = (*TRAIN, "data.train_count=32", "augment.crop_size=64", "batch_size=4", "workers=2", "save_seconds=0")
EVALUATION = ("evaluate", "checkpoint=run/best.pt", "data.val_count=60", "data=shapes", "device=cpu", "workers=2", "output=out")
DISK = "disk"


@pytest.fixture(scope="session")
def mounts(tmp_path_factory) -> None:
    ended = attempt(machine.mountable, str(tmp_path_factory.mktemp("mount")))
    if ended.how != "gave":
        pytest.skip(f"this machine does not let a process mount a disk of its own ({ended.text})")


@pytest.mark.parametrize("number", range(4))
def test_a_lost_reader_ends_a_training_which_goes_on(number: int, place: Path, judged) -> None:
    rng = Random(f"{SEED} reader {number}")
    ended = with_a_lost_reader(place, (*READERS, "output=out"), rng)
    outcome = one_line(ended, place, "")
    if outcome.what != ELSE:
        assert attempt(command, str(place), "train", "resume=out", "workers=0", cpu=90).value == 0, said(place)
        whole = attempt(command, str(place), *READERS, "workers=0", "output=whole", cpu=90)
        assert whole.value == 0, said(place)
        if left(place / "out") != left(place / "whole"):
            outcome = Outcome(ELSE, "another end after going on")
    judged("lost reader", outcome)


@pytest.mark.parametrize("number", range(2))
def test_a_lost_reader_ends_a_scoring(number: int, place: Path, run_folder: Path, judged) -> None:
    copytree(run_folder, place / "run")
    judged("lost reader", one_line(with_a_lost_reader(place, EVALUATION, Random(f"{SEED} scorer {number}")), place, ""))


def with_a_lost_reader(place: Path, words: tuple[str, ...], rng: Random) -> Ended:
    """Kills one of the reading processes of a call, soon after it was started."""
    process, receiver = begin(command, str(place), *words, cpu=90)
    parent = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and parent.is_running() and not receiver.poll():
        readers = parent.children()
        if readers:
            time.sleep(0.2 * rng.random())
            with suppress(ProcessLookupError):
                os.kill(rng.choice(readers).pid, signal.SIGKILL)
                break
        time.sleep(0.002)
    return finish(process, receiver, 120)


def one_line(ended: Ended, place: Path, name: str) -> Outcome:
    if ended.how != "gave":
        return Outcome(ELSE, f"{ended.how}: {ended.error} {ended.text[:300]}")
    errors = Path(f"{place}.stderr").read_text(errors="replace")
    return of_command(ended.value, errors, name, same=True, hidden=None, broken=unsound(place / "out"))


@pytest.mark.parametrize("size", ["64k", "1m", "2m", "5m", "7m"])
def test_a_training_on_a_full_disk_goes_on_once_there_is_space(size: str, mounts, place: Path, judged) -> None:
    (place / DISK).mkdir()
    words = (*TRAIN, f"output={DISK}")
    ended = attempt(machine.on_small_disk, str(place), DISK, size, words, ("train", f"resume={DISK}"), cpu=120)
    whole = attempt(command, str(place), *TRAIN, "output=whole", cpu=90)
    assert whole.value == 0, said(place)
    judged("full disk", on_a_disk(ended, left(place / "whole")))


@pytest.mark.parametrize("size", ["4k", "40k", "120k"])
def test_a_prediction_on_a_full_disk(size: str, mounts, place: Path, run_folder: Path, judged) -> None:
    (place / DISK).mkdir()
    copytree(run_folder, place / "run")
    save_data(place / "data")
    words = (*PREDICTION, "input=data/images", f"output={DISK}")
    judged("full disk", on_a_disk(attempt(machine.on_small_disk, str(place), DISK, size, words, (), cpu=60), None))


@pytest.mark.parametrize("size", [20_000, 1_000_000, 3_000_000])
def test_a_training_whose_files_may_not_grow(size: int, place: Path, judged) -> None:
    (place / DISK).mkdir()
    ended = attempt(machine.with_small_files, str(place), DISK, size, (*TRAIN, f"output={DISK}"), cpu=60)
    judged("full disk", on_a_disk(ended, None))


def test_a_read_only_place_is_refused(mounts, place: Path, run_folder: Path, judged) -> None:
    (place / DISK).mkdir()
    for words in (
        (*TRAIN, f"output={DISK}/new"),
        ("train", f"resume={DISK}"),
        ("predict", f"checkpoint={DISK}/best.pt", f"input={DISK}/samples.png", f"output={DISK}/new", "device=cpu"),
        ("evaluate", f"checkpoint={DISK}/best.pt", f"output={DISK}/new", "device=cpu", "workers=0"),
    ):
        judged("read-only place", on_a_disk(attempt(machine.on_read_only_disk, str(place), DISK, str(run_folder), words, cpu=60), None))


def test_a_checkpoint_is_read_from_a_read_only_place(mounts, place: Path, run_folder: Path, judged) -> None:
    (place / DISK).mkdir()
    words = ("evaluate", f"checkpoint={DISK}/best.pt", "output=out", "device=cpu", "workers=0")
    ended = attempt(machine.on_read_only_disk, str(place), DISK, str(run_folder), words, cpu=60)
    fine = ended.how == "gave" and ended.value[0] == 0
    judged("read-only place", Outcome(RIGHT) if fine else Outcome(ELSE, f"{ended}"))


def on_a_disk(ended: Ended, whole: object) -> Outcome:
    """whole: what the second call, with space, is to leave; None where there was none."""
    if ended.how != "gave":
        return Outcome(ELSE, f"{ended.how}: {ended.error} {ended.text[:300]}")
    status, errors, broken, found = ended.value
    outcome = of_command(status, errors, DISK, same=True, hidden=None, broken=broken)
    if outcome.what == REFUSED and found != whole:
        return Outcome(ELSE, f"refused ({outcome.words}), then with space: {found if isinstance(found, str) else 'another end'}")
    return outcome


@pytest.mark.parametrize("size", ["64k", "1m", "64m"])
def test_little_shared_memory(size: str, mounts, place: Path, judged) -> None:
    words = (*READERS, "augment.crop_size=128", "batch_size=8", "epochs=1", "output=out")
    ended = attempt(machine.with_small_shared_memory, str(place), size, words, cpu=90, patience=120)
    judged("little shared memory", one_line(ended, place, ""))


@pytest.mark.parametrize("size", ["64k", "1m"])
def test_little_shared_memory_for_scoring(size: str, mounts, place: Path, run_folder: Path, judged) -> None:
    copytree(run_folder, place / "run")
    ended = attempt(machine.with_small_shared_memory, str(place), size, EVALUATION, cpu=90, patience=120)
    judged("little shared memory", one_line(ended, place, ""))
