"""What label maps hold, against counts by NumPy, and every way in which there is nothing to learn or to score."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fcn.core.labels import VOID, LabelSet
from fcn.data.census import Census, count_values, need_classes, refuse_scoring, scoring_warnings, training_warnings
from fcn.data.pairs import Pair, Pairs
from fcn.data.verify import verify

TWO = LabelSet(("ground", "road"))
THREE = LabelSet(("ground", "road", "sky"))


class Maps:
    """A split of label maps alone, one row of values each, which counts how many were read."""

    def __init__(self, labels: LabelSet, *maps: list[int]) -> None:
        self.labels, self.maps, self.read = labels, maps, 0
        self.names = tuple(map(str, range(len(maps))))

    def __len__(self) -> int:
        return len(self.maps)

    def truth(self, index: int) -> Tensor:
        self.read += 1
        return torch.tensor([self.maps[index]], dtype=torch.uint8)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        truth = self.truth(index)
        return truth.expand(3, *truth.shape), truth


def test_counts() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.choice([0, 2, VOID], (5, 7)).astype(np.uint8) for _ in range(3)]
    census = Census(THREE, of=4)
    for values in maps:
        census.add(count_values(torch.from_numpy(values), VOID))
    together = np.stack(maps)
    assert census.pixels.tolist() == [int((together == value).sum()) for value in range(256)]
    assert census.classes == [0, 2]
    assert census.void == pytest.approx((together == VOID).mean())
    assert census.summary() == f"3 label maps looked at (of 4): 2 of 3 classes occur, {100 * census.void:.1f} % of the pixels is void"
    assert census.kinds == {frozenset({0, 2, VOID}): 3}


class TestTooFewClasses:
    @pytest.mark.parametrize(
        ("labels", "maps", "message"),
        [
            (
                TWO,
                [[0, VOID, VOID, 0]] * 3,
                r"one class only, 0 \(ground\) and void \(50\.0 % .*binary masks of 0 and 255, in which 255 means road",
            ),
            (TWO, [[0, 0]], r"one class only, 0 \(ground\): a network needs two or more"),
            (TWO, [[1, VOID], [1, 1]], r"one class only, 1 \(road\) .*If the values of the masks begin at 1"),
            (THREE, [[0, VOID]], r"one class only, 0 \(ground\) and void .* a network needs two or more"),
            (TWO, [[VOID, VOID]], r"nothing but void \(255\): no pixel counts"),
            (TWO, [], r"the split is empty"),
        ],
    )
    def test_is_an_error(self, labels: LabelSet, maps: list[list[int]], message: str) -> None:
        with pytest.raises(ValueError, match=message) as error:
            need_classes(Maps(labels, *maps), 2, "the split")
        assert "the split" in str(error.value)

    def test_reading_ends_with_the_second_class(self) -> None:
        split = Maps(TWO, *[[0, 1]] * 1000)
        need_classes(split, 2, "the split")
        assert split.read == 1
        need_classes(Maps(TWO, *[[0, VOID]] * 99, [1]), 2, "the split")  # wherever it is

    def test_one_class_can_be_scored_and_none_cannot(self) -> None:
        need_classes(Maps(TWO, [0, 0]), 1, "the split")
        with pytest.raises(ValueError, match="no pixel counts"):
            need_classes(Maps(TWO, [VOID, VOID]), 1, "the split")


def looked_at(labels: LabelSet, *maps: list[int]) -> Census:
    return verify(Maps(labels, *maps), progress=False)


class TestScoring:
    def test_masks_of_0_and_255_are_refused_with_the_way_on(self) -> None:
        with pytest.raises(ValueError, match=r"write 1 in place of 255.*verify=none scores the masks as they are"):
            refuse_scoring(looked_at(TWO, [0, VOID], [0, 0]), "val")
        with pytest.raises(ValueError, match="the label maps of val hold nothing but void"):
            refuse_scoring(looked_at(THREE, [VOID, VOID]), "val")

    @pytest.mark.parametrize(("labels", "maps"), [(TWO, [[0, 0]]), (THREE, [[0, VOID]]), (TWO, [[0, VOID], [1, 0]])])
    def test_what_can_be_meant_passes(self, labels: LabelSet, maps: list[list[int]]) -> None:
        refuse_scoring(looked_at(labels, *maps), "val")


class TestWarnings:
    def test_nothing_to_say(self) -> None:
        census = looked_at(THREE, [0, 1, 2, 0, VOID], [0, 0, 0, 0, 0])
        assert [*training_warnings(census), *scoring_warnings(census)] == []

    def test_classes_that_never_occur(self) -> None:
        census = looked_at(THREE, [0, 1], [0, 0])
        assert list(training_warnings(census)) == ["no training mask holds sky: a class that does not occur cannot be learnt"]
        assert "no mask to score holds sky" in next(scoring_warnings(census))
        (warning,) = training_warnings(looked_at(THREE, [0, 1, 1, VOID]))
        assert warning.endswith("does the value 255 (25.0 % of the pixels) mean it?")

    def test_one_class_to_score_on(self) -> None:
        assert "hold ground only: a network that predicts it everywhere" in next(scoring_warnings(looked_at(THREE, [0, 0])))

    def test_much_void(self) -> None:
        assert "66.7 % of the training pixels are void" in next(training_warnings(looked_at(TWO, [0, 1, *[VOID] * 4])))

    def test_masks_of_two_conventions(self) -> None:
        (warning,) = training_warnings(looked_at(TWO, [0, 1], [0, VOID], [0, 0]))
        assert "1 of 3 masks to train on hold 255 and no 1" in warning
        assert list(training_warnings(looked_at(TWO, [0, 1, VOID], [0, VOID, 0]))) == []  # there it is void

    def test_a_class_called_void(self) -> None:
        labels = LabelSet(("Void", "road"))
        assert "Void: counted as a class" in next(training_warnings(looked_at(labels, [0, 1])))

    def test_a_sample_of_the_maps_is_said_to_be_one(self) -> None:
        census = Census(THREE, of=9)
        census.add(count_values(torch.tensor([[0, 1]], dtype=torch.uint8), VOID))
        assert "none of 1 training masks looked at (of 9) holds sky" in next(training_warnings(census))
        assert list(scoring_warnings(census)) == []


def test_masks_of_one_bit_are_0_and_1(tmp_path: Path) -> None:
    Image.new("RGB", (4, 2)).save(tmp_path / "a.jpg")
    Image.fromarray(np.array([[True, False, False, False]] * 2)).save(tmp_path / "a.png")
    split = Pairs([Pair("a", str(tmp_path / "a.jpg"), str(tmp_path / "a.png"))], TWO)
    assert verify(split, progress=False).pixels[:2].tolist() == [6, 2]
    need_classes(split, 2, "it")
