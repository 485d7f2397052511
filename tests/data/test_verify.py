"""Verification finds every kind of fault, all of them in one message."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fcn.core.labels import VOID, LabelSet
from fcn.data import verify as module
from fcn.data.pairs import Pair, Pairs
from fcn.data.survey import survey
from fcn.data.verify import verify

LABELS = LabelSet(("background", "thing"))


def pairs(folder: Path, count: int) -> Pairs:
    for index in range(count):
        Image.new("RGB", (4, 3)).save(folder / f"{index}.jpg")
        Image.fromarray(np.array([[0, 1, VOID, 0]] * 3, np.uint8)).save(folder / f"{index}.png")
    return Pairs((Pair(str(i), str(folder / f"{i}.jpg"), str(folder / f"{i}.png")) for i in range(count)), LABELS)


def test_good_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = pairs(tmp_path, 7)
    assert verify(split).samples == verify(split, "all").samples == 7
    assert verify(split, "none").samples == 0
    assert verify(split, progress=False).samples == 7
    assert capsys.readouterr().err == ""


def test_every_fault_is_named(tmp_path: Path) -> None:
    split = pairs(tmp_path, 12)
    (tmp_path / "1.jpg").unlink()
    (tmp_path / "3.png").unlink()
    (tmp_path / "4.jpg").write_bytes((tmp_path / "4.jpg").read_bytes()[:300])
    Image.new("RGB", (5, 3)).save(tmp_path / "6.jpg")
    Image.new("RGB", (4, 3), "pink").save(tmp_path / "8.png")
    for index in (9, 10, 11):
        Image.fromarray(np.full((3, 4), 7, np.uint8)).save(tmp_path / f"{index}.png")
    with pytest.raises(ValueError, match="8 of 12 samples cannot be used") as error:
        verify(split, progress=False)
    lines = str(error.value).splitlines()
    for line, words in zip(
        lines[1:],
        (
            r"no file .*1.jpg .*'3'",
            "4.jpg cannot be decoded",
            "6.jpg is 5x3",
            "8.png holds the colour",
            r"9.png .*the value 7 .*'10', '11'",
        ),
        strict=True,
    ):
        assert all(word in line for word in words.split(" .*")), (line, words)
    for name in ("1.jpg", "3.png", "4.jpg", "6.jpg", "8.png"):
        (tmp_path / name).unlink(missing_ok=True)
    pairs(tmp_path, 9)
    with pytest.raises(ValueError, match="3 of 12 samples") as error:
        verify(split, "all", progress=False)
    assert str(error.value).count("holds the value 7") == 1
    assert "(the same with '10', '11')" in str(error.value)
    assert verify(split, "none").samples == 0


class Drawn:
    """A split without files."""

    labels = LABELS
    names = tuple(str(i) for i in range(1203))

    def __init__(self, wrong: dict[int, tuple[Tensor, Tensor]]) -> None:
        self.wrong = wrong
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.read.append(index)
        return self.wrong.get(index, (torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8)))


def test_large_split_is_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAMPLE", 50)
    split = Drawn({})
    assert verify(split, progress=False).samples == 50
    read = sorted(split.read)
    assert len(set(read)) == 50
    assert set(np.diff(read)) <= {24, 25}
    assert verify(split, "all", progress=False).samples == 1203


def test_splits_without_files() -> None:
    image, labels = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8)
    split = Drawn(
        {1: (image.float(), labels), 2: (image, labels.long()), 3: (image, labels[:1]), 4: (image, labels + 2), 5: (image, labels + VOID)}
    )
    with pytest.raises(ValueError, match="4 of 1203") as error:
        verify(split, "all", progress=False)
    for line, words in zip(
        str(error.value).splitlines()[1:],
        ("1: the image is torch.float32", "2: the label map is torch.int64", "(1, 2)", "neither"),
        strict=True,
    ):
        assert words in line
    found = survey(split, "train", most=0, progress=False)
    assert (found.faulty, found.census.samples, len(found.faults)) == (4, 1199, 4)


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="auto, all, none, not 'some'"):
        verify(pairs(tmp_path, 1), "some")
    with pytest.raises(ValueError, match="the split is empty"):
        verify(Pairs([], LABELS), "none")
