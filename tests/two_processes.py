"""A command as two processes that work together, forked (quick) or started by torchrun."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.children import begin, finish, one_of_two


def forked(folder, words):
    """Whether the command goes well as two processes, and what both say."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = [folder / f"process{rank}" for rank in range(2)]
    for place in places:
        place.mkdir(exist_ok=True)
    first, second = (begin(one_of_two, rank, port, str(place), *words) for rank, place in enumerate(places))
    ends = [finish(*second)]
    ends.append(finish(*first, patience=180 if ends[0].value == 0 else 1))  # who waits for one that failed is ended, as by torchrun
    return all(end.value == 0 for end in ends), "".join(
        Path(f"{place}.{name}").read_text() for name in ("stderr", "stdout") for place in places
    )


def by_torchrun(folder, words):
    done = subprocess.run(torchrun(words), env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    return done.returncode == 0, done.stderr + done.stdout


def torchrun(words):
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fcn", *words]


TWO_PROCESSES = [forked, pytest.param(by_torchrun, marks=pytest.mark.slow)]
