"""``fcn compare``: what it leaves, a training that fails, going on after it and after a kill, and starts that are not equal."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest

from fcn.cli import compose, run
from fcn.commands import compare as command
from tests.conftest import TINY

WORDS = [*TINY, "epochs=1", "data.train_count=4", "backbone=mobilenet_v3_small"]
METHODS = ["bilinear", "transposed"]


def in_this_process(calls, folder):
    for call in calls:
        run(list(call))


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A comparison of which one training fails; that goes on in another process, and is killed; and that then goes on to its end.

    Its folder, what it left after the first part, and when the training that went well was finished."""
    folder = tmp_path_factory.mktemp("comparison") / "run"

    def one_fails(calls, jobs):
        for call in calls:
            with pytest.MonkeyPatch.context() as patch:
                if "cell=transposed-0" in call:
                    patch.setattr(command, "train", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no luck today")))
                run(list(call))

    config = compose("compare", [*WORDS, f"upsample=[{','.join(METHODS)}]", "seeds=[0]", f"output={folder}"])
    assert command.compare(config, launch=one_fails) == 1
    first = {path.name: path.read_text() for path in folder.glob("compare.*") if path.suffix != ".png"}
    times = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/result.json")}

    call = [sys.executable, "-m", "fcn", "compare", f"resume={folder}"]
    process = subprocess.Popen(call, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while process.poll() is None and not (folder / "cells" / "transposed-0" / "config.yaml").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL

    assert command.compare(compose("compare", [f"resume={folder}"]), launch=in_this_process) == 0
    return folder, first, times


def test_one_failed_training_is_named_and_the_others_are_reported(course):
    _, first, _ = course
    assert "**transposed-0 failed**: no luck today" in first["compare.md"]
    report = json.loads(first["compare.json"])
    assert report["failed"] == {"transposed-0": "no luck today"}
    assert set(report["summary"]) == {"bilinear"}


def test_going_on_repeats_nothing_that_is_finished(course):
    times = course[2]
    assert len(times) == 1
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_killed_comparison_goes_on_to_its_end(course):
    folder = course[0]
    report = json.loads((folder / "compare.json").read_text())
    assert report["failed"] == {}
    assert set(report["summary"]) == set(METHODS)
    assert not list(folder.glob("cells/*/error.txt"))
    lines = [json.loads(line) for line in (folder / "cells" / "transposed-0" / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "val"]  # of its one epoch, once


def test_what_was_scored_is_kept(course, tmp_path):
    cell = course[0] / "cells" / "transposed-0"
    assert not (cell / "last.pt").exists()
    assert run(["evaluate", f"checkpoint={cell / 'final.pt'}", f"output={tmp_path / 'out'}", "device=cpu", "workers=0"]) == 0
    scored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert scored["miou"] == json.loads((cell / "result.json").read_text())["quality"]["miou"]


def test_every_method_is_measured(course):
    report = json.loads((course[0] / "compare.json").read_text())
    for method, row in report["summary"].items():
        for key in ("miou", "boundary_iou", "band_iou", "thin_iou"):
            if key != "thin_iou" or row[key]["mean"] is not None:  # the few pictures may have no wire
                assert 0 <= row[key]["mean"] <= 1
            assert (f"{key}_difference" in row) == (method != "bilinear")
        for key in ("parameters", "multiply_adds", "images_per_second", "latency_seconds", "peak_memory"):
            assert row[key] > 0
        assert row["checkerboard_before"]["mean"] == 0
    assert report["summary"]["bilinear"]["upsampler_parameters"] == 0
    assert report["summary"]["transposed"]["miou_difference"]["verdict"] == "too few seeds"
    assert "There are too few seeds for intervals" in (course[0] / "compare.md").read_text()


class Reader(HTMLParser):
    """Checks that tags are closed in order, and gathers addresses."""

    VOID = ("meta", "img")

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.headings = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href")]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_the_page_is_one_whole_file(course):
    text = (course[0] / "report.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert not re.search(r"https?://|<script|@import|url\(", text)
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    assert all(base64.b64decode(address.partition(",")[2])[:4] == b"\x89PNG" for address in reader.addresses)
    assert len(reader.addresses) >= len(METHODS)  # the patterns at least
    assert {"Quality", "Paired difference to bilinear", "Checkerboard index", "Cost", "Settings"} <= set(reader.headings)
    assert "train_count: 4" in text


def test_starts_that_are_not_equal_give_no_report(course, capsys):
    folder = course[0]
    file = folder / "cells" / "transposed-0" / "start.json"
    kept = file.read_text()
    start = json.loads(kept)
    start["equal"]["order of the samples"] = "another"
    try:
        file.write_text(json.dumps(start))
        before = (folder / "compare.md").stat().st_mtime_ns
        assert run(["compare", f"resume={folder}"]) == 1
        assert "bilinear-0 and transposed-0 did not start equal: their order of the samples differ" in capsys.readouterr().err
        assert (folder / "compare.md").stat().st_mtime_ns == before
    finally:
        file.write_text(kept)


def test_quick_is_a_small_budget_that_words_of_the_call_outdo():
    config = compose("compare", ["quick=true"])
    assert (config.epochs, config.seeds, config.data.train_count) == (1, [0], 1500)
    config = compose("compare", ["epochs=3", "quick=true", "upsample=[nearest,bilinear]"])
    assert (config.epochs, config.seeds, config.upsample) == (3, [0], ["nearest", "bilinear"])
    assert compose("compare", ["quick=true", "data=camvid"]).seeds == [0]


def test_a_methods_settings_are_those_of_its_file():
    """Cells name a method only; what its file sets must be what its function takes by default."""
    from fcn.help import group_options
    from fcn.models.upsample import UPSAMPLERS

    for name in group_options("upsample"):
        part = compose("train", [f"upsample={name}"]).upsample
        defaults = UPSAMPLERS[name].__init__.__kwdefaults__ or {}
        assert {key: value for key, value in vars(part).items() if key != "name"} == defaults
