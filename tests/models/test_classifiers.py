"""Classifiers by name, and the size of image that each was made for."""

import pytest
import torch

from fcn.models.classifiers import create_classifier


@pytest.mark.parametrize(
    ("name", "size"),
    [("compact", 32), ("torchvision/squeezenet1_1", 224), ("torchvision/efficientnet_b1", 240), ("timm/test_resnet", 160)],
)
def test_a_classifier_runs_at_its_size(name: str, size: int) -> None:
    network, found = create_classifier(name)
    assert found == size
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 3, size, size)).dim() == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet50", "classifier=resnet50 is not known; write compact, or torchvision/NAME or timm/NAME"),
        ("torchvision/resnet5O", "classifier=torchvision/resnet5O is not known; did you mean resnet50"),
        ("timm/resnet5O", "classifier=timm/resnet5O is not known; did you mean resnet50"),
        ("torchvision/fcn_resnet50", "classifier=torchvision/fcn_resnet50 is not known"),
    ],
)
def test_what_does_not_exist_is_answered_with_what_does(name: str, words: str) -> None:
    with pytest.raises(ValueError, match="is not known") as caught:
        create_classifier(name)
    assert words in str(caught.value)
