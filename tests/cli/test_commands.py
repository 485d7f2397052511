"""The commands on data sets in files: the whole way from a server or a folder to scores, labels and archives."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from fcn.cli.main import run
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


def rewrite(root, stems, change):
    """Change the values of label maps."""
    for stem in stems.split():
        path = root / "masks" / f"{stem}.png"
        Image.fromarray(change(np.asarray(Image.open(path))).astype(np.uint8)).save(path)


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
        assert len(list((tmp_path / "labels").glob("*.png"))) == len(list((tmp_path / "labels").glob("*.jpg"))) == 4

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda root: Image.new("L", (20, 20)).save(root / "masks/p0.png"), "p0.jpg is 50x40 pixels, its label map"),
            (lambda root: Image.new("L", (50, 40), 7).save(root / "masks/p0.png"), "p0.png holds the value 7"),
            (lambda root: Image.new("RGB", (50, 40), "#ff00fe").save(root / "masks/p0.png"), "p0.png holds the colour #ff00fe"),
            (lambda root: cut(root / "images/p0.jpg"), "p0.jpg cannot be decoded"),
            (lambda root: (root / "images/p0.jpg").unlink(), "there is no image for 'p0'"),
            (lambda root: (root / "train.txt").write_text(""), "train.txt"),
            (lambda root: (root / "train.txt").unlink(), "not 'train'"),
            (lambda root: (root / "classes.txt").unlink(), "there is no list of classes"),
            (lambda root: (root / "classes.txt").write_text("0: ground\n1: road\n"), "classes.txt, line 1: '0: ground' looks like"),
            (lambda root: rewrite(root, "p0 p1 p2", lambda values: values | 255), "of the training split hold nothing but void"),
            (lambda root: rewrite(root, "p3", lambda values: values | 255), "of the validation split hold nothing but void"),
            (lambda root: rewrite(root, "p3", lambda values: values * 255), "in which 255 means road"),
        ],
        ids=[
            *("size", "value", "colours", "truncated", "missing", "empty", "no split", "no classes", "numbered classes"),
            *("void", "void to score", "binary to score"),
        ],
    )
    def test_faults_are_found_at_the_start_and_named(self, tmp_path, capsys, spoil, message):
        root = make_folder(tmp_path / "mine")
        spoil(root)
        assert run(["train", *FILES, "data=folder", f"data.root={root}", f"output={tmp_path / 'run'}"]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
        assert not (tmp_path / "run").exists()

    def test_both_splits_are_looked_at_before_anything_is_said(self, tmp_path, capsys):
        root = make_folder(tmp_path / "mine")
        rewrite(root, "p0 p3", lambda values: values + 7)
        assert run(["train", *FILES, "data=folder", f"data.root={root}"]) == 1
        error = capsys.readouterr().err
        assert "p0.png holds the value" in error
        assert "p3.png holds the value" in error

    @pytest.mark.parametrize(("stems", "status"), [("p0 p1 p2 p3", 1), ("p3", 1), ("", 0)])
    def test_without_verification_too_a_training_needs_two_classes_and_something_to_score(self, tmp_path, capsys, stems, status):
        root = make_folder(tmp_path / "mine")
        rewrite(root, stems, lambda values: values | 255)
        words = ["batch_size=1", "augment.crop_size=33", "data=folder", "data.verify=none", f"data.root={root}", "epochs=1"]
        assert run(["train", *FILES, *words, f"output={tmp_path / 'run'}"]) == status
        error = capsys.readouterr().err
        assert ("hold nothing but void" in error or "no pixel is 0 (ground)" in error) == bool(status)
        assert (tmp_path / "run").exists() != bool(status)

    def test_what_may_not_be_meant_is_told_and_the_scores_say_what_they_are_of(self, tmp_path, capsys):
        """A class that never occurs, a file that is passed over, a validation of one class; then scored on void and on 0 and 255."""
        root = make_folder(tmp_path / "mine", classes="ground\nroad\nsky\n")
        (root / "images" / "p9.xyz").write_text("?")
        (root / "train.txt").unlink()
        (root / "val.txt").unlink()
        for name, stems in (("train", "012"), ("val", "3")):
            for kind, suffix in (("images", "jpg"), ("masks", "png")):
                (root / name / kind).mkdir(parents=True)
                for stem in stems:
                    (root / kind / f"p{stem}.{suffix}").rename(root / name / kind / f"p{stem}.{suffix}")
        (root / "images" / "p9.xyz").rename(root / "train" / "images" / "p9.xyz")
        for kind in ("images", "masks"):
            (root / kind).rmdir()
        Image.new("L", (50, 40)).save(root / "val" / "masks" / "p3.png")
        words = [*FILES, "batch_size=1", "augment.crop_size=33", "data=folder", f"data.root={root}", f"output={tmp_path / 'run'}"]
        assert run(["train", *words]) == 0
        error = capsys.readouterr().err
        assert error.count("passed over 1 .xyz ('p9.xyz')") == 1
        assert "training split: 3 label maps: 2 of 3 classes occur, 0.0 % of the pixels is void" in error
        assert "no training mask holds sky" in error
        assert "the masks to score hold ground only" in error
        assert "the label maps hold ground only: a network that predicts it everywhere scores 100" in error
        score = ["evaluate", f"checkpoint={tmp_path / 'run' / 'best.pt'}", "device=cpu", "workers=0"]
        assert run([*score, f"output={tmp_path / 'one'}"]) == 0
        shown = capsys.readouterr()
        assert "the label maps hold ground only" in shown.out
        assert "the masks to score hold ground only" in shown.err
        Image.new("L", (50, 40), 255).save(root / "val" / "masks" / "p3.png")
        assert run([*score, f"output={tmp_path / 'void'}"]) == 1
        assert "of data=folder val hold nothing but void (255): no pixel counts" in capsys.readouterr().err
        assert not (tmp_path / "void").exists()
