"""``fcn ceiling``, on the built-in pictures and on CamVid where it is there."""

import json
from pathlib import Path

import pytest

from fcn.cli.main import run

CAMVID = Path(__file__).parents[2] / "../shared/data/camvid"


def test_it_leaves_a_table_its_numbers_and_a_plot(tmp_path, capsys):
    words = ["data.train_count=3", "data.val_count=2", "splits=[train,val]", "strides=[16,4,1]", "workers=1"]
    assert run(["ceiling", *words, f"output={tmp_path / 'out'}"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ceiling.json", "ceiling.md", "ceiling.png"}
    found = json.loads((tmp_path / "out" / "ceiling.json").read_text())
    assert (found["images"], found["splits"]) == (5, ["train", "val"])
    mious = [found["strides"][stride]["miou"] for stride in ("16", "4", "1")]
    assert mious == sorted(mious)
    assert mious[-1] == 1
    assert "| wire " in (tmp_path / "out" / "ceiling.md").read_text()
    assert "shapes train, val: 5 label maps, method=shares" in capsys.readouterr().out


@pytest.mark.parametrize("strides", ["[65537]", "[32,100000000000000000000]", "[8,0]", "[]"])
def test_strides_that_are_none_are_refused_in_one_line(strides, capsys):
    assert run(["ceiling", f"strides={strides}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("strides is a list, each 1 to 65536, none twice, as [32,16,8,4]")


@pytest.mark.slow
def test_a_stride_larger_than_every_map_is_drawn_as_any_other(tmp_path):
    assert run(["ceiling", "data.val_count=2", "strides=[65536,8000,8]", f"output={tmp_path / 'out'}"]) == 0
    found = json.loads((tmp_path / "out" / "ceiling.json").read_text())["strides"]
    assert found["65536"] == found["8000"] != found["8"]
    assert (tmp_path / "out" / "ceiling.png").is_file()


def test_a_split_without_public_truth_is_refused(tmp_path, capsys):
    assert run(["ceiling", "data=voc2012", f"data.root={tmp_path}"]) == 1
    assert run(["ceiling", "data=camvid", f"data.root={tmp_path}"]) == 1
    assert "CamVid is not in" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not there")
def test_camvid_in_full(tmp_path):
    words = ["data=camvid", f"data.root={CAMVID}", "splits=[train,val,test]", "method=majority"]
    assert run(["ceiling", *words, f"output={tmp_path / 'out'}"]) == 0
    found = json.loads((tmp_path / "out" / "ceiling.json").read_text())
    assert found["images"] == 701
    mious = [found["strides"][stride]["miou"] for stride in ("32", "16", "8", "4")]
    assert mious == sorted(mious)
