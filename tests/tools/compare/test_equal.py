"""That trainings start equal: it holds for all up-samplers, and whatever is not equal is found and named."""

import copy
from functools import cache

import pytest
import torch

from fcn.core.registry import list_parts
from fcn.data.shapes import shapes
from fcn.data.transforms import TrainingTransform
from fcn.models.segmenter import create_model
from fcn.models.upsample import create_upsampler
from fcn.tools.compare.equal import (
    AUGMENTED,
    BACKBONE,
    DECODER,
    KINDS,
    ORDER,
    STEPS,
    cannot_be_equal,
    check_equal,
    own_names,
    start_of,
    unequal,
)
from fcn.training.batches import Augmented, Plan
from fcn.training.focus import Focus


@cache
def build(upsample, seed=0):
    torch.manual_seed(seed)
    return create_model("fcn8s", backbone="resnet18", upsample=upsample, num_classes=7)


def begin(upsample="bilinear", *, seed=0, epochs=2, order=0, flip=0.5, focus=None):
    transform = TrainingTransform(32, scale=(0.8, 1.2), flip=flip)
    samples = Augmented(shapes("train", count=8), transform, order, None if focus is None else Focus(focus, {0: torch.arange(8)}))
    return start_of(build(upsample, seed), Plan(8, 2, epochs, seed=order), samples)


@pytest.fixture(scope="module")
def bilinear():
    return begin()


def test_all_upsamplers_start_equal(bilinear):
    check_equal({"bilinear": bilinear} | {name: begin(name) for name in list_parts("upsample") if name != "bilinear"})


@pytest.mark.parametrize("name", list_parts("upsample"))
@pytest.mark.parametrize("channels", [(4, 4), (4, 3)])
def test_what_is_built_after_an_upsampler_draws_the_same_numbers(name, channels):
    torch.manual_seed(3)
    create_upsampler("bilinear")(*channels, 2)
    expected = torch.rand(5)
    torch.manual_seed(3)
    create_upsampler(name)(*channels, 2)
    assert torch.equal(torch.rand(5), expected)
    torch.manual_seed(3)
    first = create_upsampler(name)(*channels, 2).state_dict()
    torch.manual_seed(3)
    again = create_upsampler(name)(*channels, 2).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "weights of the backbone (backbone."),
        ({"order": 1}, "order of the samples differ"),
        ({"focus": 0.1}, "order of the samples differ"),
        ({"epochs": 3}, "number of steps differ"),
        ({"flip": 1.0}, "augmented samples of the first step differ"),
    ],
)
def test_what_is_not_equal_is_refused_and_named(bilinear, change, words):
    with pytest.raises(ValueError, match="bilinear-0 and nearest-0 did not start equal") as caught:
        check_equal({"bilinear-0": bilinear, "nearest-0": begin("nearest", **change)})
    assert words in str(caught.value)


def test_one_changed_weight_is_enough(bilinear):
    model = copy.deepcopy(build("nearest"))
    name = "decoder.scores.1.bias"
    with torch.no_grad():
        model.get_parameter(name)[0] += 1e-6
    start = start_of(model, Plan(8, 2, 2), Augmented(shapes("train", count=8), TrainingTransform(32, scale=(0.8, 1.2)), 0))
    with pytest.raises(ValueError, match=r"decoder\.scores\.1\.bias"):
        check_equal({"a": bilinear, "b": start})


def test_the_upsamplers_own_weights_are_told_from_the_rest():
    model = build("transposed")
    own = own_names(model)
    assert own == {name for name in model.state_dict() if name.startswith(("decoder.ups.", "decoder.last."))}
    assert len(own) == 3
    assert not own_names(build("bilinear"))


@pytest.mark.parametrize(
    ("changed", "key", "differ"),
    [
        ({"flip": 1.0}, "augment.flip", {AUGMENTED}),
        ({"epochs": 3}, "epochs", {STEPS, ORDER}),
        ({}, "loss.dice", set()),
    ],
)
def test_what_is_compared_says_what_cannot_be_equal(bilinear, changed, key, differ):
    other = begin(**changed)
    assert set(unequal(bilinear, other)) == differ == set(cannot_be_equal([key])) & set(unequal(bilinear, other))
    check_equal({"a": bilinear, "b": other}, [key])
    if changed:
        with pytest.raises(ValueError, match="did not start equal"):
            check_equal({"a": bilinear, "b": other}, ["loss.dice"])
    with pytest.raises(ValueError, match="weights of the backbone"):
        check_equal({"a": bilinear, "b": begin(seed=1, **changed)}, [key])


def test_other_models_share_the_weights_of_the_backbone_and_other_backbones_only_the_samples(bilinear):
    transform = TrainingTransform(32, scale=(0.8, 1.2))

    def start(model, backbone):
        torch.manual_seed(0)
        network = create_model(model, backbone=backbone, num_classes=7)
        return start_of(network, Plan(8, 2, 2), Augmented(shapes("train", count=8), transform, 0))

    model, backbone = start("unet", "resnet18"), start("fcn8s", "compact")
    assert set(unequal(bilinear, model, common=True)) <= {DECODER}
    check_equal({"a": bilinear, "b": model}, ["model"])
    with pytest.raises(ValueError, match="weights of the decoder"):
        check_equal({"a": bilinear, "b": model}, ["upsample"])
    check_equal({"a": bilinear, "b": backbone}, ["backbone"])
    with pytest.raises(ValueError, match="weights of the backbone"):
        check_equal({"a": bilinear, "b": backbone}, ["loss.dice"])
    assert "no name in common" in unequal(bilinear, backbone, common=True)[BACKBONE]
    assert set(unequal(bilinear, backbone)) == {BACKBONE, DECODER}
    assert set(KINDS) == set(bilinear)
