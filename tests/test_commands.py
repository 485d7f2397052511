"""The commands on data sets in files: the whole way from a server or a folder to scores, labels and archives."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from fcn.cli import run
from fcn.data import voc
from tests.conftest import TINY
from tests.data.test_voc import make_voc, pack

FILES = tuple(word for word in TINY if not word.startswith("data."))  # the settings of a tiny run, on any data set


def make_folder(root, count=4, classes="ground\nroad\n"):
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(root / "images" / f"p{index}.jpg")
        Image.fromarray(rng.integers(0, 2, (40, 50), dtype=np.uint8)).save(root / "masks" / f"p{index}.png")
    (root / "classes.txt").write_text(classes)
    (root / "train.txt").write_text("".join(f"p{index}\n" for index in range(count - 1)))
    (root / "val.txt").write_text(f"p{count - 1}\n")
    return root


def cut(path):
    """Leave the first 300 bytes of a file."""
    path.write_bytes(path.read_bytes()[:300])


class TestVoc:
    def test_from_the_server_to_the_submission(self, tmp_path, server, monkeypatch):
        """Downloaded, trained on, scored, and packed for the VOC server, on a folder of VOC's form."""
        devkit = make_voc(tmp_path / "source")
        (devkit / "ImageSets" / "Segmentation" / "test.txt").write_text("s0\ns1\n")
        data = pack(tmp_path / "source", tmp_path / "voc.tar", "VOCdevkit", "w")
        url = server.offer("voc.tar", data)
        monkeypatch.setattr(voc, "VOC_ARCHIVE", voc.VOC_ARCHIVE._replace(url=url, md5=server.md5("voc.tar"), size=len(data)))
        root = f"data.root={tmp_path / 'root'}"
        assert run(["train", *FILES, "data=voc2012", root, f"output={tmp_path / 'none'}"]) == 1  # nothing comes unasked
        assert not server.requests
        assert run(["train", *FILES, "data=voc2012", root, "data.download=true", f"output={tmp_path / 'run'}"]) == 0
        best = f"checkpoint={tmp_path / 'run' / 'best.pt'}"
        assert run(["evaluate", best, f"output={tmp_path / 'val'}", "device=cpu", "workers=0"]) == 0
        scored = json.loads((tmp_path / "val" / "metrics.json").read_text())
        assert np.sum(scored["confusion"]) == 2 * (6 * 8 - 1)  # all but one void pixel of each mask
        words = [best, "data=voc2012", root, "split=test", "submission=true", "device=cpu", "workers=0"]
        assert run(["evaluate", *words, f"output={tmp_path / 'test'}"]) == 0
        with tarfile.open(tmp_path / "test" / "results.tgz") as tar:
            assert [name for name in sorted(tar.getnames()) if name.endswith(".png")] == [
                f"results/VOC2012/Segmentation/comp6_test_cls/{stem}.png" for stem in ("s0", "s1")
            ]
            with Image.open(tar.extractfile("results/VOC2012/Segmentation/comp6_test_cls/s0.png")) as labels:
                assert (labels.mode, labels.size) == ("P", (8, 6))
                assert np.asarray(labels).max() <= 20


class TestFolder:
    def test_trains_scores_and_labels(self, tmp_path):
        root = make_folder(tmp_path / "mine")
        assert (
            run(["train", *FILES, "batch_size=1", "augment.crop_size=33", "data=folder", f"data.root={root}", f"output={tmp_path / 'run'}"])
            == 0
        )
        words = [f"checkpoint={tmp_path / 'run' / 'best.pt'}", f"input={root / 'images'}", "device=cpu"]
        assert run(["predict", *words, f"output={tmp_path / 'labels'}"]) == 0
        assert len(list((tmp_path / "labels").glob("*.png"))) == 8

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda root: Image.new("L", (20, 20)).save(root / "masks/p0.png"), "p0.jpg is 50x40 pixels, its label map"),
            (lambda root: Image.new("L", (50, 40), 7).save(root / "masks/p0.png"), "p0.png holds the value 7"),
            (lambda root: Image.new("RGB", (50, 40)).save(root / "masks/p0.png"), "p0.png holds colours (RGB) where class indices"),
            (lambda root: cut(root / "images/p0.jpg"), "p0.jpg cannot be decoded"),
            (lambda root: (root / "images/p0.jpg").unlink(), "there is no image for 'p0'"),
            (lambda root: (root / "train.txt").write_text(""), "train.txt"),
            (lambda root: (root / "train.txt").unlink(), "not 'train'"),
            (lambda root: (root / "classes.txt").unlink(), "there is no list of classes"),
        ],
        ids=["size", "value", "colours", "truncated", "missing", "empty", "no split", "no classes"],
    )
    def test_faults_are_found_at_the_start_and_named(self, tmp_path, capsys, spoil, message):
        root = make_folder(tmp_path / "mine")
        spoil(root)
        assert run(["train", *FILES, "data=folder", f"data.root={root}", f"output={tmp_path / 'run'}"]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
        assert not (tmp_path / "run").exists()
