"""The files that are damaged, and the table at the end."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from tests.faults.children import attempt, command, cpu_seconds
from tests.faults.outcomes import ELSE, REFUSED, RIGHT, SEED, TOLD, Outcome
from tests.faults.subjects import TRAIN, save_subjects

os.environ["OMP_NUM_THREADS"] = "1"  # of the children


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    """A finished training, which writes the same bytes wherever it runs: its folder is named relative to the present one."""
    base = tmp_path_factory.mktemp("run")
    ended = attempt(command, str(base), *TRAIN, "output=run", cpu=120)
    assert ended.value == 0, ended
    return base / "run"


@pytest.fixture(scope="session")
def originals(tmp_path_factory, run_folder) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    save_subjects(folder, run_folder)
    return folder


@pytest.fixture
def place(tmp_path) -> Iterator[Path]:
    """A folder that is removed at the end: a thousand copies of checkpoints would fill a disk."""
    folder = tmp_path / "place"
    folder.mkdir()
    yield folder
    rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def judged(record_property):
    """``judged(kind, outcome)`` puts an outcome into the table, and fails the test where it is none that may be."""

    def judge(kind: str, outcome: Outcome) -> None:
        record_property("fault", [kind, outcome.what, outcome.words])
        if outcome.what == ELSE:
            pytest.fail(outcome.words, pytrace=False)

    return judge


KNOWN = (RIGHT, TOLD, REFUSED, ELSE)
_seconds: list[float] = []  # of the CPU, of each process that ran tests


def pytest_sessionfinish(session) -> None:
    used = os.times()
    seconds = cpu_seconds() + used.user + used.system
    if hasattr(session.config, "workeroutput"):  # of pytest-xdist
        session.config.workeroutput["seconds"] = seconds
    else:
        _seconds.append(seconds)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    _seconds.append(getattr(node, "workeroutput", {}).get("seconds", 0.0))


def pytest_terminal_summary(terminalreporter) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    hidden: Counter[str] = Counter()
    wrong, skipped = [], []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if not (isinstance(report, pytest.TestReport) and report.nodeid.startswith("tests/faults/")):
                continue
            if report.skipped:
                skipped.append(f"{report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else ''}")
            for name, value in report.user_properties if report.when == "call" else []:
                if name == "fault":
                    kind, what, words = value
                    counts[kind][what if what in KNOWN else "undetectable"] += 1
                    hidden[what] += what not in KNOWN
                    if what == ELSE:
                        wrong.append(f"{words}\n    FCN_FAULTS_SEED={SEED} .venv/bin/python -m pytest -m faults '{report.nodeid}'")
    if not counts or "not faults" in terminalreporter.config.option.markexpr:
        return
    columns = (RIGHT, TOLD, REFUSED, "undetectable", ELSE)
    write = terminalreporter.write_line
    terminalreporter.section(f"faults, seed {SEED}")
    write(f"{'':24}{''.join(f'{column:>15}' for column in (*columns, 'all'))}")
    for kind, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        write(f"{kind:24}{''.join(f'{count[column]:15}' for column in columns)}{count.total():15}")
    write(f"{sum(_seconds):.0f} seconds of the CPU, those of the children included")
    for name, count in hidden.most_common():
        if count:
            write(f"    undetectable, {name}: {count}")
    for text in skipped:
        write(f"skipped: {text}")
    for text in wrong:
        write(f"anything else: {text}")
