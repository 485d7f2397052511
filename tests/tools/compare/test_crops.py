"""Which parts of which images are shown: on drawn masks, to the pixel."""

import numpy as np
import pytest
import torch

from fcn.core.labels import VOID, VOID_COLOR
from fcn.tools.compare import crops
from fcn.tools.compare.crops import choose, disputed
from tests.tools.compare.drawn import Drawn


def test_disputed_is_where_not_all_agree_and_there_is_a_truth():
    truth = torch.tensor([[0, 0, 1, VOID, VOID]], dtype=torch.uint8)
    one = torch.tensor([[0, 1, 1, 0, 0]], dtype=torch.uint8)
    other = torch.tensor([[0, 1, 2, 0, 1]], dtype=torch.uint8)
    third = torch.tensor([[1, 1, 1, 0, 0]], dtype=torch.uint8)
    assert disputed(truth, [one, other], 255).tolist() == [[False, False, True, False, False]]
    assert disputed(truth, [one, one, other, third], 255).tolist() == [[True, False, True, False, False]]
    assert not disputed(truth, [one], 255).any()


def spotted(*places):
    """A label map of 12 x 16 pixels, of which crops have 6 x 6, with class 1 in some."""
    labels = np.zeros((12, 16), np.uint8)
    for place in places:
        labels[place] = 1
    return labels


def crops_of(disputes, truths=None):
    """Of two methods that differ in some pixels of each image."""
    split = Drawn(("ground", "disk"), truths or [spotted() for _ in disputes])
    kept = {
        "bilinear": {str(index): spotted() for index in range(len(disputes))},
        "nearest": {str(index): spotted(*places) for index, places in enumerate(disputes)},
    }
    return choose(kept, split), split


def test_a_crop_is_the_same_square_of_the_image_and_of_every_map():
    truth = spotted((5, 9))
    truth[6, 10] = VOID
    (crop,), split = crops_of([[(4, 8), (6, 10), (9, 13)]], [truth])
    part = slice(4, 10), slice(8, 14)
    colors = np.array([*split.labels.colors, VOID_COLOR], np.uint8)
    expected = {"truth": truth[part], "bilinear": spotted()[part], "nearest": spotted((4, 8), (6, 10), (9, 13))[part]}
    assert crop.name == "image 0"
    np.testing.assert_array_equal(crop.image, split[0][0].numpy().transpose(1, 2, 0)[part])
    assert list(crop.maps) == list(expected)
    for name, labels in expected.items():
        np.testing.assert_array_equal(crop.maps[name], colors[np.minimum(labels, 2)])
    assert crop.disagreement == pytest.approx(2 / 36)  # the void pixel is none


def test_the_most_disputed_come_first_one_of_an_image_and_no_more_than_are_shown(monkeypatch):
    disputes = [[(0, 0)], [(0, 0), (5, 5), (11, 15)], [], [(7, 7), (7, 8), (7, 9)], [(3, 3), (4, 4)]]
    found, _ = crops_of(disputes)
    assert [crop.name for crop in found] == ["image 3", "image 1", "image 4", "image 0"]
    assert [crop.disagreement for crop in found] == pytest.approx([3 / 36, 2 / 36, 2 / 36, 1 / 36])
    monkeypatch.setattr(crops, "SHOWN", 2)
    assert [crop.name for crop in crops_of(disputes)[0]] == ["image 3", "image 1"]


def test_nothing_is_shown_where_all_agree():
    everywhere = spotted() + VOID
    assert crops_of([[], [(3, 3)]], [spotted((2, 2)), everywhere])[0] == []
    assert choose({}, Drawn(("ground", "disk"), [spotted()])) == []
