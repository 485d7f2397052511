"""The share of crops with rare classes, exact and the same however a step is cut up."""

import torch

from fcn.core.labels import LabelSet
from fcn.data.transforms import TrainingTransform
from fcn.training.batches import Augmented, Plan
from fcn.training.focus import Focus
from tests.data.test_transforms import noise


class Road:
    """Ten images, of which two hold a class in one pixel."""

    labels, names = LabelSet(("road", "pole")), tuple(map(str, range(10)))

    def __len__(self):
        return 10

    def truth(self, index):
        labels = torch.zeros(60, 60, dtype=torch.uint8)
        labels[7, 50] = index in (3, 8)
        return labels

    def __getitem__(self, index):
        return noise(60, 60, index), self.truth(index)


FOCUS = {1: torch.tensor([3, 8], dtype=torch.int32)}


def test_the_share_is_exact_to_within_one_sample():
    for share in (0.0, 0.1, 1 / 3, 0.5, 0.77, 1.0):
        taken = torch.tensor([Focus(share, FOCUS).takes(number) for number in range(400)]).cumsum(0)
        assert ((taken - share * torch.arange(1, 401)).abs() < 1).all()


def test_crops_in_focus_hold_the_class_and_all_are_functions_of_the_place():
    samples = Augmented(Road(), TrainingTransform(16), 5, Focus(0.5, FOCUS))
    plan = Plan(10, 2, 4, seed=5)
    places = [place for batch in plan.batches(0) for place in batch]
    crops = [samples[place] for place in places]
    held = [1 in labels for _, labels in crops]
    assert sum(held) >= 20
    assert all(held[place.number] for place in places if samples.focus.takes(place.number))
    again = [samples[place] for batch in plan.batches(0, first_step=7) for place in batch]
    assert all(torch.equal(one[0], other[0]) for one, other in zip(crops[14:], again, strict=True))
    plain = Augmented(Road(), TrainingTransform(16), 5)
    others = [number for number in range(40) if not samples.focus.takes(number)]
    assert all(torch.equal(plain[places[number]][0], crops[number][0]) for number in others)
    two = [list(Plan(10, 1, 4, processes=2, seed=5).batches(process)) for process in (0, 1)]
    assert [a + b for a, b in zip(*two, strict=True)] == list(plan.batches(0))
