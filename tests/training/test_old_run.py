"""A run of version 0.1.0 that was cut in its last epoch: what it left loads, labels, is scored and goes on as it did then.

``old_run`` was written by that version: ``last.pt`` (compressed; its weights were rounded to bfloat16 to make it small), ``config.yaml``,
and ``labels.png``, its labels of ``picture.png``.
"""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcn
from fcn.cli.main import run

OLD = Path(__file__).parent / "old_run"


@pytest.fixture
def old_run(tmp_path):
    (tmp_path / "last.pt").write_bytes(lzma.decompress((OLD / "last.pt.xz").read_bytes()))
    (tmp_path / "config.yaml").write_text((OLD / "config.yaml").read_text())
    return tmp_path


@pytest.mark.parametrize("strategy", ["whole", "stream"])
def test_its_network_gives_the_labels_that_it_gave_then(strategy, old_run):
    model = fcn.load(old_run / "last.pt")
    assert model.labels.names == ("background", "disk", "ring", "triangle", "rectangle", "star", "wire")
    expected = np.array(Image.open(OLD / "labels.png"))
    assert len(np.unique(expected)) > 2
    assert (fcn.predict(model, OLD / "picture.png", strategy=strategy) != expected).mean() < 1e-4  # rounding, on another machine


def test_it_is_scored_as_then(old_run):
    assert run(["evaluate", f"checkpoint={old_run / 'last.pt'}", "device=cpu", "workers=0", f"output={old_run / 'scores'}"]) == 0
    found = json.loads((old_run / "scores" / "metrics.json").read_text())
    assert found["miou"] == pytest.approx(0.14274, abs=1e-4)
    assert found["protocol"]["images"] == 4


def test_it_goes_on(old_run, capfd):
    assert run(["train", f"resume={old_run}", "device=cpu"]) == 0
    told = capfd.readouterr().err
    (lacking,) = (line for line in told.splitlines() if "config.yaml has no augment.blur, " in line)
    assert ", data.verify, " in lacking
    assert lacking.endswith("; the default is used")
    assert "best.pt is missing; the best of the epochs to come takes its place" in told
    lines = [json.loads(line) for line in (old_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "val"] == [48]
    assert fcn.load(old_run / "best.pt").labels == fcn.load(old_run / "last.pt").labels
