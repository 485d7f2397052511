"""Worker processes: full shared memory costs speed alone, and whatever happens to a worker is told in one sentence."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch.utils.data import get_worker_info

from fcn.cli.main import run
from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.inference.strategies import create_strategy
from fcn.models.segmenter import create_model
from fcn.training import workers
from fcn.training.batches import Augmented, Plan, scoring_loader, training_loader
from fcn.training.devices import create_accelerator
from fcn.training.evaluate import score_split
from fcn.training.workers import LostWorkerError, Piped, delivered, read_or_fault, tell_of_little_shared_memory
from tests.conftest import TINY


class Random:
    """Eight random samples of different sizes, planar and in channels-last memory."""

    labels = LabelSet(("a", "b"))
    names = tuple("abcdefgh")
    size = (20, 30)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, *self.size), generator=generator, dtype=torch.uint8)
        labels = torch.randint(0, 2, self.size, generator=generator, dtype=torch.uint8)
        return (image.permute(1, 2, 0).contiguous().permute(2, 0, 1) if index % 2 else image), labels


def as_it_is(image, labels, generator):
    return image, labels


def loaders(split, count):
    yield training_loader(Augmented(split, as_it_is, 0), Plan(8, 2, 1), workers=count)
    yield scoring_loader(split, list(range(8)), workers=count)


def test_without_room_in_shared_memory_the_same_comes_in_the_same_layout(monkeypatch, caplog):
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 0)
    for alone, piped in zip(loaders(Random(), 0), loaders(Random(), 1), strict=True):
        with caplog.at_level(logging.INFO):
            pairs = list(zip(delivered(alone), delivered(piped), strict=True))
        for expected, found in pairs:
            for one, other in zip(expected, found, strict=True):
                assert torch.equal(one, other)
                assert one.stride() == other.stride()
        (message,) = [record.getMessage() for record in caplog.records]
        assert "go through a pipe" in message
        assert "--shm-size" in message
        caplog.clear()


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0)])
def test_a_piped_tensor_keeps_its_values_and_its_layout(axes):
    tensor = torch.arange(120).view(2, 3, 4, 5).permute(axes)
    order = tuple(sorted(range(4), key=lambda axis: -tensor.stride(axis)))
    back = Piped(tensor.permute(order).contiguous().numpy(), order).tensor()
    assert torch.equal(back, tensor)
    assert back.stride() == tensor.stride()


def small_shared_memory(code):
    """Run Python code where /dev/shm has 8 MiB; skip where this user may not have it so."""
    mount = "mount -t tmpfs -o size=8m tmpfs /dev/shm"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this user cannot mount a small /dev/shm")
    environment = {**os.environ, "PYTHON": sys.executable, "CODE": code}
    call = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$PYTHON" -c "$CODE"']
    return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_batches_larger_than_the_shared_memory_arrive():
    done = small_shared_memory(
        "from tests.training.test_workers import *\n"
        "Random.size = (1000, 1500)\n"  # 12 MB a batch
        "for alone, full in zip(loaders(Random(), 0), loaders(Random(), 2)):\n"
        "    for expected, found in zip(delivered(alone), delivered(full), strict=True):\n"
        "        assert all(map(torch.equal, expected, found))\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_does_not_fit_is_said_before_the_first_step(monkeypatch, caplog):
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 64 * 2**20)
    with caplog.at_level(logging.INFO):
        tell_of_little_shared_memory(16 * 512 * 512 * 4, 2)  # 16 MiB, 4 of them by each of 2 workers
        tell_of_little_shared_memory(16 * 512 * 512 * 4, 0)
        tell_of_little_shared_memory(2 * 512 * 512 * 4, 2)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "has 64 MiB free; the batches that 2 worker processes hold ready take 128 MiB" in message
    assert "workers=0" in message


class OddError(UserError):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class BoundError(UserError):
    def __init__(self, message):
        super().__init__(message)
        self.held = lambda: None


class Failing(Random):
    def __init__(self, error):
        self.error = error

    def __getitem__(self, index):
        raise self.error


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError("there is no file x"), FileNotFoundError, "there is no file x"),
        (OddError("this", "that"), UserError, "this and that"),  # cannot be unpickled: it takes two arguments
        (BoundError("a thing with"), UserError, "a thing with"),  # cannot be pickled
        (ValueError("3 is odd"), RuntimeError, "sample 'a' cannot be read: ValueError: 3 is odd"),  # of no reader of ours
        (IndexError("7 of 3"), RuntimeError, "sample 'a' cannot be read: IndexError: 7 of 3"),
        (RuntimeError("INTERNAL ASSERT FAILED"), RuntimeError, "sample 'a' cannot be read: RuntimeError: INTERNAL ASSERT FAILED"),
    ],
)
def test_an_error_of_a_worker_is_its_sentence_alone(count, error, kind, message):
    with pytest.raises(kind, match=re.escape(message)) as caught:
        list(delivered(scoring_loader(Failing(error), [0], workers=count)))
    assert "Traceback" not in str(caught.value)
    if kind is RuntimeError:
        assert "in __getitem__" in caught.value.__notes__[0]


def test_what_is_read_is_handed_on():
    assert read_or_fault(lambda: 3, lambda: "a") == 3


class Asleep(Random):
    def __getitem__(self, index):
        time.sleep(2.5)


def test_a_silent_worker_is_given_up(monkeypatch):
    monkeypatch.setattr(workers, "QUIET", 0.2)
    monkeypatch.setattr(workers, "WAITS", 3)
    with pytest.raises(LostWorkerError, match=r"nothing came from the worker processes \(workers=1\).*give workers=0"):
        next(delivered(scoring_loader(Asleep(), [0], workers=1)))


class Deadly(Random):
    def __getitem__(self, index):
        if get_worker_info() is not None and index:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


LOST = r"a worker process that reads was (killed|ended) by the system.*memory.*workers=0"


def test_a_killed_worker_ends_a_scoring_in_one_sentence(monkeypatch):
    monkeypatch.setattr(workers, "QUIET", 0.5)  # after which it is missed even if it died before torch listened
    model = create_model("fcn8s", backbone="compact", num_classes=2)
    with pytest.raises(LostWorkerError, match=LOST):
        score_split(model, Deadly(), create_strategy("whole"), create_accelerator("cpu", "fp32"), workers=1)


def test_a_killed_worker_ends_a_training_that_says_how_it_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workers, "QUIET", 0.5)
    monkeypatch.setattr("fcn.data.transforms.TrainingTransform.__call__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    assert run(["train", *TINY, "backbone=compact", "workers=1", f"output={tmp_path / 'run'}"]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(LOST, line)
    assert f"then go on with resume={tmp_path / 'run'}" in line
