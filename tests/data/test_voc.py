"""VOC 2012 and SBD on small folders of their form, and the whole way from a server to tensors."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.core.labels import VOID, voc_colors
from fcn.data import download, voc
from fcn.data.voc import VOC_LABELS, voc2012, voc2012aug
from tests.data.local_server import Server

PALETTE = [value for color in voc_colors(256) for value in color]


def values(seed: int, void: bool = True) -> np.ndarray:
    labels = np.random.default_rng(seed).integers(0, 21, (6, 8), np.uint8)
    labels[0, 0] = VOID if void else 20
    return labels


def make_voc(root: Path) -> Path:
    """train: t0 t1 (t1 also in SBD), val: v0 v1 (v0 also in SBD); s0..s2 are images without a mask of VOC's."""
    devkit = root / "VOCdevkit" / "VOC2012"
    lists = devkit / "ImageSets" / "Segmentation"
    for folder in (devkit / "JPEGImages", devkit / "SegmentationClass", lists):
        folder.mkdir(parents=True)
    for number, stem in enumerate(("t0", "t1", "v0", "v1", "s0", "s1", "s2")):
        Image.new("RGB", (8, 6), (40 * number, 0, 0)).save(devkit / "JPEGImages" / f"{stem}.jpg")
        if not stem.startswith("s"):
            mask = Image.fromarray(values(number), "P")
            mask.putpalette(PALETTE)
            mask.save(devkit / "SegmentationClass" / f"{stem}.png")
    for split, stems in (("train", "t0 t1"), ("val", "v0 v1"), ("trainval", "t0 t1 v0 v1")):
        (lists / f"{split}.txt").write_text(stems.replace(" ", "\n") + "\n")
    return devkit


def make_sbd(folder: Path) -> Path:
    savemat = pytest.importorskip("scipy.io").savemat
    for name in ("img", "cls"):
        (folder / name).mkdir(parents=True)
    for number, stem in enumerate(("s0", "s1", "s2", "t1", "v0")):
        Image.new("RGB", (8, 6)).save(folder / "img" / f"{stem}.jpg")
        savemat(folder / "cls" / f"{stem}.mat", {"GTcls": {"Segmentation": values(100 + number, void=False)}})
    (folder / "train.txt").write_text("s2\nv0\ns0\n")  # as the real one, it holds images of VOC's val
    (folder / "val.txt").write_text("t1\ns1\n")
    return folder


def pack(folder: Path, archive: Path, member: str, mode: str) -> bytes:
    with tarfile.open(archive, mode) as tar:
        tar.add(folder / member, member)
    data = archive.read_bytes()
    archive.unlink()
    return data


class TestVoc:
    def test_splits_and_values(self, tmp_path: Path) -> None:
        devkit = make_voc(tmp_path)
        for root in (tmp_path, tmp_path / "VOCdevkit", devkit):
            assert voc2012("train", root=root).names == ("t0", "t1")
            assert voc2012("trainval", root=root).names == ("t0", "t1", "v0", "v1")
        image, labels = voc2012("val", root=tmp_path)[1]
        assert image.shape == (3, 6, 8)
        assert np.array_equal(labels.numpy(), values(3))
        assert (labels == VOID).any()

    def test_labels(self) -> None:
        assert VOC_LABELS.num_classes == 21
        assert VOC_LABELS.colors[VOC_LABELS.index("person")] == (192, 128, 128)

    def test_faults(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"VOC 2012 is not in .*download=True .*2\.0 GB from https://thor"):
            voc2012("train", root=tmp_path)
        devkit = make_voc(tmp_path)
        with pytest.raises(ValueError, match="has the splits train, trainval, val, not 'trainaug'"):
            voc2012("trainaug", root=tmp_path)
        with pytest.raises(ValueError, match="test images are not public"):
            voc2012("test", root=tmp_path)
        (devkit / "SegmentationClass" / "t1.png").unlink()
        with pytest.raises(FileNotFoundError, match=r"train\.txt: there is no label map for 't1'"):
            voc2012("train", root=tmp_path)


class TestAugmented:
    @pytest.mark.parametrize("place", ["benchmark_RELEASE/dataset", "sbd", "VOCdevkit/SBD"])
    def test_union_without_val(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        devkit = make_voc(tmp_path)
        make_sbd(tmp_path / place)
        monkeypatch.setattr(voc, "_TRAINAUG", 5)
        for root in (tmp_path, devkit) if place != "sbd" else (tmp_path,):
            split = voc2012aug("train", root=root)
            assert split.names == ("s0", "s1", "s2", "t0", "t1")
        assert np.array_equal(split[0][1].numpy(), values(100, void=False))
        assert np.array_equal(split[4][1].numpy(), values(1))  # both have t1: VOC's mask
        assert split[4][0][0, 0, 0] > 30  # and VOC's photograph
        assert voc2012aug("val", root=tmp_path).names == ("v0", "v1")

    def test_count_is_checked(self, tmp_path: Path) -> None:
        make_voc(tmp_path)
        make_sbd(tmp_path / "sbd")
        with pytest.raises(ValueError, match="has 5 images instead of 10582"):
            voc2012aug("train", root=tmp_path)

    @pytest.mark.parametrize("lists", [("sbd/train.txt",), ("sbd/val.txt", "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt")])
    def test_a_list_that_is_missing_is_named(self, tmp_path: Path, lists: tuple[str, ...]) -> None:
        make_voc(tmp_path)
        make_sbd(tmp_path / "sbd")
        for name in lists:
            (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError, match="unpack the archives again") as error:
            voc2012aug("train", root=tmp_path)
        assert all(str(tmp_path / name) in str(error.value) for name in lists)

    def test_faults(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_voc(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"SBD is not in .*1\.4 GB"):
            voc2012aug("train", root=tmp_path)
        with pytest.raises(ValueError, match="train and val, not 'test'; the masks of VOC's test images are not public"):
            voc2012aug("test", root=tmp_path)
        monkeypatch.setattr(voc, "find_spec", lambda name: None)
        with pytest.raises(ValueError, match="pip install scipy"):
            voc2012aug("train", root=tmp_path)


def test_from_the_server_to_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    monkeypatch.setattr(voc, "_TRAINAUG", 5)
    make_voc(tmp_path / "made")
    make_sbd(tmp_path / "made" / "benchmark_RELEASE" / "dataset")
    for name, file, inside, mode in (
        ("VOC_ARCHIVE", "VOCtrainval.tar", "VOCdevkit/VOC2012", "w"),
        ("SBD_ARCHIVE", "benchmark.tgz", "benchmark_RELEASE", "w:gz"),
    ):
        data = pack(tmp_path / "made", tmp_path / file, inside, mode)
        url = server.offer(file, data, cuts=(len(data) // 3,))
        monkeypatch.setattr(voc, name, download.Archive(url, server.md5(file), len(data), inside))
    root = tmp_path / "data"
    with pytest.raises(FileNotFoundError):
        voc2012aug("train", root=root)
    assert not root.exists()  # nothing unless asked
    split = voc2012aug("train", root=root, download=True)
    assert split.names == ("s0", "s1", "s2", "t0", "t1")
    assert (split[3][1] == VOID).any()
    assert sorted(path.name for path in root.iterdir()) == ["VOCdevkit", "benchmark_RELEASE"]
    requests = len(server.requests)
    assert voc2012aug("train", root=root, download=True).names == split.names
    assert len(server.requests) == requests


def test_wrong_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    url = server.offer("VOC.tar", b"something else")
    monkeypatch.setattr(voc, "VOC_ARCHIVE", download.Archive(url, "0" * 32, 14, "VOCdevkit/VOC2012"))
    with pytest.raises(ValueError, match="checksum"):
        voc2012("train", root=tmp_path, download=True)
    with pytest.raises(FileNotFoundError):
        voc2012("train", root=tmp_path)
