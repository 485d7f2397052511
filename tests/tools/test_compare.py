"""``fcn compare``: what it leaves, a training that fails, going on after it and after a cut, and starts that are not equal."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
import torch

from fcn.cli.composing import compose
from fcn.cli.main import run
from fcn.tools.compare import run as command
from fcn.tools.compare import training as cells
from fcn.tools.compare.equal import DECODER, KINDS
from fcn.tools.compare.report import at_once
from fcn.tools.train.run import run as train
from tests.conftest import TINY

WORDS = [*TINY, "epochs=12", "validate_every=12", "data.train_count=4"]
METHODS = ["bilinear", "transposed"]


def in_this_process(calls, folder):
    for call in calls:
        run(list(call))


@pytest.fixture(scope="module")
def one_thread():
    """As the processes that tests start have: what is added up in another order differs in its last digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def course(tmp_path_factory, one_thread):
    """A comparison of which one training fails; that goes on in another process, is cut, with the training that it was at; and that then
    goes on to its end.

    Its folder, what it left after the first part, when the training that went well was finished, and the checkpoint of the one that was
    cut."""
    folder = tmp_path_factory.mktemp("comparison") / "run"

    def one_fails(calls, jobs):
        for call in calls:
            with pytest.MonkeyPatch.context() as patch:
                if "cell=transposed-0" in call:
                    patch.setattr(cells, "train", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no luck today")))
                run(list(call))

    config = compose("compare", [*WORDS, f"upsample=[{','.join(METHODS)}]", "seeds=[0]", f"output={folder}"])
    assert command.run(config, launch=one_fails) == 1
    first = {path.name: path.read_text() for path in folder.glob("compare.*") if path.suffix != ".png"}
    times = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/result.json")}

    checkpoint = folder / "cells" / "transposed-0" / "last.pt"
    call = [sys.executable, "-m", "fcn", "compare", f"resume={folder}", "save_seconds=0"]
    process = subprocess.Popen(call, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while process.poll() is None and not (checkpoint.exists() and torch.load(checkpoint, weights_only=True)["training"]["step"]):
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM
    cut = torch.load(checkpoint, weights_only=True)

    assert command.run(compose("compare", [f"resume={folder}"]), launch=in_this_process) == 0
    return folder, first, times, cut


def copy_settings(folder, to):
    for name in ("config.yaml", "compared.yaml"):
        shutil.copy(folder / name, to)
    shutil.copytree(folder / "variants", to / "variants")


def test_one_failed_training_is_named_and_the_others_are_reported(course):
    first = course[1]
    assert "**transposed-0 failed**: no luck today" in first["compare.md"]
    report = json.loads(first["compare.json"])
    assert report["failed"] == {"transposed-0": "no luck today"}
    assert set(report["summary"]) == {"bilinear"}


def test_going_on_repeats_nothing_that_is_finished(course):
    times = course[2]
    assert len(times) == 1
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_what_was_cut_goes_on_as_if_it_had_not_been(course, tmp_path):
    folder, cut = course[0], course[3]
    report = json.loads((folder / "compare.json").read_text())
    assert report["failed"] == {}
    assert set(report["summary"]) == set(METHODS)
    assert not list(folder.glob("cells/*/error.txt"))
    assert 0 < cut["training"]["step"] < 24
    copy_settings(folder, tmp_path)
    assert run(["compare", f"resume={tmp_path}", "cell=transposed-0"]) == 0
    ended, uncut = (torch.load(path / "cells" / "transposed-0" / "final.pt", weights_only=True)["weights"] for path in (folder, tmp_path))
    assert ended.keys() == uncut.keys()
    assert all(torch.equal(ended[name], uncut[name]) for name in ended)


def test_what_was_scored_is_kept(course, tmp_path):
    cell = course[0] / "cells" / "transposed-0"
    assert not (cell / "last.pt").exists()
    assert run(["evaluate", f"checkpoint={cell / 'final.pt'}", f"output={tmp_path / 'out'}", "device=cpu", "workers=0"]) == 0
    scored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert scored["miou"] == json.loads((cell / "result.json").read_text())["scored"]["transposed"]["quality"]["miou"]


def test_every_method_is_measured(course):
    report = json.loads((course[0] / "compare.json").read_text())
    for method, row in report["summary"].items():
        for key in ("miou", "boundary_iou", "band_iou", "thin_iou"):
            if key != "thin_iou" or row[key]["mean"] is not None:  # the few pictures may have no wire
                assert 0 <= row[key]["mean"] <= 1
            assert (f"{key}_difference" in row) == (method != "bilinear")
        for key in ("parameters", "multiply_adds", "images_per_second", "latency_seconds"):
            assert row[key] > 0
        assert (row["peak_memory"] or 0) > 0 if method == "bilinear" else row["peak_memory"] is None  # of a whole training only
        assert row["checkerboard_before"]["mean"] < 1e-9
    assert report["summary"]["bilinear"]["upsampler_parameters"] == 0
    assert report["summary"]["transposed"]["miou_difference"]["verdict"] == "too few seeds"
    assert "There are too few seeds for intervals" in (course[0] / "compare.md").read_text()


class Reader(HTMLParser):
    """Checks that tags are closed in order, and gathers addresses."""

    VOID = ("meta", "img", "wbr")

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


def test_a_comparison_can_be_added_to_and_not_taken_from(course, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(course[0], folder)
    assert run(["compare", f"resume={folder}", "seeds=[1]"]) == 2
    assert "seeds leaves out 0, with which this comparison began; it can be added to, as seeds=[0,1]" in capsys.readouterr().err
    before = (folder / "cells" / "bilinear-0" / "result.json").stat().st_mtime_ns
    begun = []
    config = compose("compare", [f"resume={folder}", "upsample=[bilinear,transposed,nearest]"])
    assert command.run(config, launch=lambda calls, jobs: begun.extend(calls)) == 1
    assert [call[2] for call in begun] == ["cell=nearest-0"]
    assert compose("compare", [f"resume={folder}", "cell=nearest-0"]).compared == {"upsample": ["bilinear", "transposed", "nearest"]}
    assert json.loads((folder / "compare.json").read_text())["failed"] == {"nearest-0": "it was not begun"}
    assert (folder / "cells" / "bilinear-0" / "result.json").stat().st_mtime_ns == before


def test_a_way_of_scoring_that_was_added_later_is_not_left_out_in_silence(course, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(course[0], folder)
    file = folder / "cells" / "bilinear-0" / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "scored": {}}))  # as if bilinear was added
    assert run(["compare", f"resume={folder}"]) == 1
    assert (
        "bilinear: added when its training was scored already; remove"
        in json.loads((folder / "compare.json").read_text())["failed"]["bilinear-0"]
    )


def unequal(folder, cell):
    """Let a cell have begun with another order of the samples; returns what its file held."""
    file = folder / "cells" / cell / "start.json"
    kept = file.read_text()
    start = json.loads(kept)
    start["equal"]["order of the samples"] = "another"
    file.write_text(json.dumps(start))
    return file, kept


def test_a_finished_training_that_did_not_start_equal_is_left_out(course):
    folder = course[0]
    file, kept = unequal(folder, "transposed-0")
    try:
        assert run(["compare", f"resume={folder}"]) == 1
        report = json.loads((folder / "compare.json").read_text())
        assert "bilinear-0 and transposed-0 did not start equal: their order of the samples differ" in report["failed"]["transposed-0"]
        assert set(report["summary"]) == {"bilinear"}
    finally:
        file.write_text(kept)
        assert run(["compare", f"resume={folder}"]) == 0


def test_a_training_that_does_not_start_equal_does_not_start(course, tmp_path, capsys):
    copy_settings(course[0], tmp_path)
    shutil.copytree(course[0] / "cells" / "bilinear-0", tmp_path / "cells" / "bilinear-0")
    unequal(tmp_path, "bilinear-0")
    assert run(["compare", f"resume={tmp_path}", "cell=transposed-0"]) == 1
    assert "did not start equal" in capsys.readouterr().err
    cell = tmp_path / "cells" / "transposed-0"
    assert "did not start equal" in (cell / "error.txt").read_text()
    assert not (cell / "start.json").exists()
    assert not (cell / "metrics.jsonl").exists()


@pytest.mark.slow
def test_a_grid_of_a_model_and_a_way_of_scoring(tmp_path, one_thread, monkeypatch):
    """Two trainings serve four variants; their decoders cannot start equal, and all else does."""
    folder, trained = tmp_path / "run", []
    monkeypatch.setattr(cells, "train", lambda config, **more: (trained.append(config.model.name), train(config, **more))[1])
    words = [word for word in TINY if not word.startswith("model=")]
    words += [
        "epochs=1",
        "data.train_count=4",
        "model=[fcn8s,unet]",
        "inference.flip=[false,true]",
        "seeds=[3]",
        "model.align=true",
        f"output={folder}",
    ]
    assert command.run(compose("compare", words), launch=in_this_process) == 0
    assert trained == ["fcn8s", "unet"]
    assert sorted(path.name for path in (folder / "cells").iterdir() if path.is_dir()) == ["fcn8s-3", "unet-3"]
    report = json.loads((folder / "compare.json").read_text())
    assert list(report["summary"]) == [f"{model},inference.flip={flip}" for model in ("fcn8s", "unet") for flip in ("false", "true")]
    assert report["baseline"] == "fcn8s,inference.flip=false"
    assert report["equal"] == dict.fromkeys(KINDS, True) | {DECODER: False}
    text = (folder / "compare.md").read_text()
    assert "Not equal, and cannot be: weights of the decoder (model is compared)." in text
    assert "## mIoU as a grid" in text
    assert "Checkerboard" not in text
    for name, cell in report["cells"].items():
        assert (folder / "cells" / cell["cell"] / cell["files"]["kept"]).is_file(), name
    scored = [{**cell["quality"], "latency": cell["cost"]["latency_seconds"]} for cell in report["cells"].values()]
    assert len({one["latency"] for one in scored}) == 4
    again = compose("compare", [f"resume={folder}", "cell=unet-3"])
    assert list(again.variants) == ["unet,inference.flip=false", "unet,inference.flip=true"]
    assert [variant.inference.flip for variant in again.variants.values()] == [False, True]
    assert again.variants["unet,inference.flip=true"].model.name == "unet"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["backbone=resnte18"], "backbone=resnte18 is not known"),
        (["model=smp", "backbone=resnet18"], "arrives at the image's size by itself"),
        (["backbone.weights=nowhere.pth"], "there is no file"),
        (["thin=[wir]"], "wir"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(words, answer, tmp_path, capsys):
    call = ["compare", *TINY, *words, "upsample=[bilinear,transposed]", f"output={tmp_path / 'out'}"]
    assert run(call) in (1, 2)
    assert answer in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_process_that_dies_without_a_word_is_told_apart(tmp_path):
    words = tmp_path / "cell.log"
    words.write_text("begun\nfcn: no luck\n\n")
    assert cells.last_words(1, words) == "fcn: no luck"
    assert "SIGKILL; perhaps there was too little memory" in cells.last_words(-9, words)
    assert cells.last_words(-15, words) == "it was ended by SIGTERM"
    words.write_text("")
    assert cells.last_words(3, words) == "it ended with status 3"


def test_trainings_at_the_same_time_are_noticed_on_one_machine_only():
    first, after, beside = ({"host": "a", "began": began, "seconds": 10} for began in (0, 10, 5))
    assert not at_once({"first": first, "after": after})
    assert at_once({"after": after, "beside": beside, "first": first})
    assert not at_once({"first": first, "beside": beside | {"host": "b"}})


@pytest.mark.slow
def test_quick_is_a_small_budget_that_words_of_the_call_outdo():
    config = compose("compare", ["quick=true"])
    settings = config.settings
    assert (settings.epochs, settings.seeds, settings.data.train_count) == (1, [0], 1500)
    config = compose("compare", ["epochs=3", "quick=true", "upsample=[nearest,bilinear]"])
    assert (config.settings.epochs, config.settings.seeds, config.compared) == (3, [0], {"upsample": ["nearest", "bilinear"]})
    assert compose("compare", ["quick=true", "data=camvid"]).settings.seeds == [0]
