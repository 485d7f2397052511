"""The count of classes, against NumPy, and what follows from it."""

import numpy as np
import pytest
import torch

from fcn.core.labels import VOID, LabelSet
from fcn.data.balance import counted, from_state, median_frequency


class Maps:
    labels = LabelSet(("sky", "road", "pole", "car"))

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        chances = [[0.6, 0.3, 0.0, 0.0, 0.1], [0.0, 0.97, 0.03, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0, 0.0]]
        self.maps = [rng.choice([0, 1, 2, 3, VOID], (20, 30), p=chance).astype(np.uint8) for chance in chances]
        self.names = ("a", "b", "c")

    def __len__(self) -> int:
        return len(self.maps)

    def truth(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.maps[index])


def test_count_and_weights() -> None:
    split = Maps()
    balance = counted(split, progress=False)
    pixels = [sum(int((each == value).sum()) for each in split.maps) for value in range(4)]
    inside = [sum(int((each != VOID).sum()) for each in split.maps if (each == value).any()) for value in range(4)]
    assert balance.pixels.tolist() == pixels
    assert balance.inside.tolist() == inside
    assert [each.tolist() for each in balance.holders] == [[0, 2], [0, 1, 2], [1], []]
    frequency = np.array(pixels[:3]) / inside[:3]
    assert balance.weights == pytest.approx([*(np.median(frequency) / frequency), 1.0])
    assert median_frequency([0, 0], [0, 0]) == [1.0, 1.0]
    assert balance.rare == [value for value in range(3) if pixels[value] < sum(pixels) / 3]


def test_it_travels_in_a_checkpoint_and_is_checked() -> None:
    balance = counted(Maps(), progress=False)
    again = from_state(balance.state(), 4, 3, "last.pt")
    assert again.weights == balance.weights
    for state, classes, samples in ((None, 4, 3), (balance.state(), 5, 3), (balance.state(), 4, 2), ({"pixels": 3}, 4, 3)):
        with pytest.raises(ValueError, match=r"last\.pt does not hold the count of the classes of this training split"):
            from_state(state, classes, samples, "last.pt")
