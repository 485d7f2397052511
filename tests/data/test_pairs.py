"""Pairs of files: what comes out is what was painted, and every fault is named."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcn.core.labels import VOID, LabelSet
from fcn.data.pairs import Pair, Pairs, files_by_stem, pair_up, read_list

LABELS = LabelSet(("background", "cat", "dog"))


def write(folder: Path, name: str, values: np.ndarray, size: tuple[int, int] | None = None, **options: object) -> Pair:
    image, mask = folder / f"{name}.jpg", folder / f"{name}.png"
    height, width = size or values.shape
    Image.new("RGB", (width, height), (200, 100, 50)).save(image, **options)
    Image.fromarray(values.astype(np.uint8)).save(mask)
    return Pair(name, str(image), str(mask))


def test_reads_image_and_labels(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [255, 1, 0]])
    split = Pairs([write(tmp_path, "a", values)], LABELS)
    image, labels = split[0]
    assert image.shape == (3, 2, 3)
    assert image.dtype == labels.dtype == torch.uint8
    assert labels.tolist() == values.tolist()
    assert split.names == ("a",)
    assert len(split) == 1
    assert [labels.tolist() for _, labels in split] == [values.tolist()]


def test_raw_values_are_mapped(tmp_path: Path) -> None:
    pair = write(tmp_path, "a", np.array([[10, 20, 30, 11]]))
    split = Pairs([pair], LABELS, {10: 0, 20: 1, 30: 2, 11: VOID})
    assert split[0][1].tolist() == [[0, 1, 2, VOID]]
    split[0][1][:] = 0  # a caller may write into what it got
    assert split[0][1].tolist() == [[0, 1, 2, VOID]]


def test_strange_value_is_named(tmp_path: Path) -> None:
    split = Pairs([write(tmp_path, "a", np.array([[0, 1], [255, 7]]))], LABELS)
    with pytest.raises(ValueError, match=r"a\.png holds the value 7 \(first in row 1, column 1\).*allowed are 0 to 2, 255"):
        split[0]


@pytest.mark.parametrize(
    ("values", "classes", "looks_like"),
    [
        ([0, 128], "a b", r"binary mask of 0 and 128: give values=\{0: 'a', 128: 'b'\}"),
        ([0, 254, 255], "a b", r"binary mask of 0 and 254"),
        ([0, 1, 2], "a b", r"Values up to 2 need 3 classes"),
        ([1, 2, 3], "a b c", r"Values up to 3 need 4 classes: is the line of value 0 .* missing"),
        (list(range(0, 250, 5)), "a b", r"holds 50 different values: was it resized with interpolation"),
        ([0, 7], "a b c", r"the list of classes$"),
    ],
)
def test_what_a_map_of_strange_values_looks_like(tmp_path: Path, values: list[int], classes: str, looks_like: str) -> None:
    split = Pairs([write(tmp_path, "a", np.array([values]))], LabelSet(tuple(classes.split())))
    with pytest.raises(ValueError, match=looks_like):
        split[0]


def test_sizes_that_differ_are_named(tmp_path: Path) -> None:
    split = Pairs([write(tmp_path, "a", np.zeros((4, 6)), size=(4, 5))], LABELS)
    with pytest.raises(ValueError, match=r"a\.jpg is 5x4 pixels, its label map .*a\.png 6x4") as error:
        split[0]
    assert "EXIF" not in str(error.value)


def test_mask_of_a_turned_photograph(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = write(tmp_path, "stored", np.zeros((4, 6)), exif=exif)
    shown = write(tmp_path, "shown", np.zeros((6, 4)), size=(4, 6), exif=exif)
    split = Pairs([stored, shown], LABELS)
    with pytest.raises(ValueError, match="EXIF orientation; turn the label map too"):
        split[0]
    assert split[1][0].shape == (3, 6, 4)


def test_names_are_unique() -> None:
    with pytest.raises(ValueError, match="more than once: 'a'"):
        Pairs([Pair("a", "x", "y"), Pair("b", "x", "y"), Pair("a", "x", "y")], LABELS)


@pytest.mark.parametrize("values", [{0: 3}, {65536: 0}, {-1: 0}])
def test_impossible_values_are_refused(values: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="raw values 0 to 65535"):
        Pairs([], LABELS, values)


def test_pickles_small(tmp_path: Path) -> None:
    split = Pairs([write(tmp_path, "a", np.array([[1]]))] + [Pair(str(i), f"i/{i}", f"m/{i}") for i in range(20_000)], LABELS)
    data = pickle.dumps(split)
    assert len(data) < 3e6
    assert pickle.loads(data)[0][1].tolist() == [[1]]


def test_list(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("\ufeffa\r\n\r\n b \r\n", encoding="utf-8")
    assert read_list(path) == ["a", "b"]
    path.write_text("\n \n")
    with pytest.raises(ValueError, match=r"train\.txt lists nothing"):
        read_list(path)
    path.write_text("a\nb\na\n")
    with pytest.raises(ValueError, match=r"train\.txt lists more than once: 'a'"):
        read_list(path)
    path.write_text("a\0\nb\0\n")
    with pytest.raises(ValueError, match=r"train\.txt holds NUL bytes"):
        read_list(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*train\.txt"):
        read_list(path)


def test_files_by_stem(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.x.png", "notes.txt", ".hidden.png", "c.tif"):
        (tmp_path / name).touch()
    assert list(files_by_stem(tmp_path).items()) == [
        (stem, str(tmp_path / name)) for stem, name in (("a.x", "a.x.png"), ("b", "b.JPG"), ("c", "c.tif"))
    ]
    (tmp_path / "b.png").touch()
    with pytest.raises(ValueError, match=r"holds both b\.JPG and b\.png"):
        files_by_stem(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        files_by_stem(tmp_path / "nowhere")


def test_missing_files_are_named() -> None:
    files = {"a": "d/a.png", "b": "d/b.png"}
    assert pair_up(["b"], files, files, source="x")[0] == Pair("b", "d/b.png", "d/b.png")
    with pytest.raises(FileNotFoundError, match=r"list.txt: there is no image for 'c', 'd' \(looked in d\)"):
        pair_up(["a", "c", "d"], files, files, source="list.txt")
    with pytest.raises(FileNotFoundError, match=r"no label map for 'a' \(looked in an empty folder\)"):
        pair_up(["a"], files, {}, source="list.txt")
    with pytest.raises(FileNotFoundError, match="stems are listed without suffix"):
        pair_up(["a.png"], files, files, source="list.txt")
