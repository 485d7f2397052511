"""What many tests share: a tiny run of the real command, and its words."""

import gc
from collections.abc import Iterator

import psutil
import pytest

from fcn.cli.main import run
from tests.data.local_server import Server

TINY = (
    "model=fcn8s",
    "backbone=compact",
    "data.train_count=8",
    "data.val_count=3",
    "epochs=2",
    "batch_size=2",
    "augment.crop_size=32",
    "workers=0",
    "device=cpu",
    "precision=fp32",
)


gc.set_threshold(5_000, 20, 20)  # networks that are read as graphs are many small objects, of which few are garbage: 3 % of the time


GROWTH = 2**30  # bytes that a process may grow by before it looks for garbage: a graph in a cycle holds its network's weights
_held = [psutil.Process().memory_info().rss]


def pytest_runtest_logfinish() -> None:
    if psutil.Process().memory_info().rss > _held[0] + GROWTH:
        gc.collect()
        _held[0] = psutil.Process().memory_info().rss


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The folder of a finished training of a few steps."""
    folder = tmp_path_factory.mktemp("run") / "train"
    assert run(["train", *TINY, f"output={folder}"]) == 0
    return folder


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server on this machine."""
    with Server() as running:
        yield running
