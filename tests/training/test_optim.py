"""Optimizers and rates: which parameter gets which rate and decay, and the schedules' formulas."""

import math

import pytest
import torch
from torch import nn

from fcn.core.registry import list_parts
from fcn.models.segmenter import create_model
from fcn.training.optim import create_optimizer, create_schedule, set_rate


@pytest.fixture(scope="module")
def model():
    return create_model("fcn8s", backbone="resnet18", upsample="pixelshuffle", num_classes=3, aux=True)


@pytest.mark.parametrize("name", list_parts("optim"))
def test_every_parameter_is_in_one_group_with_its_rate_and_decay(model, name):
    optimizer = create_optimizer(name, model, lr=0.1, head_lr_factor=10, weight_decay=0.01)
    place = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    assert len(place) == sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    norms = {id(p) for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    for key, parameter in model.named_parameters():
        group = place[id(parameter)]
        assert group["lr"] == pytest.approx(1.0 if key.startswith(("decoder", "auxiliary")) else 0.1)
        bare = key.endswith("bias") or id(parameter) in norms
        assert group["weight_decay"] == (0.0 if bare else 0.01)


def test_without_decay_nothing_decays(model):
    optimizer = create_optimizer("sgd", model, lr=0.1, head_lr_factor=1, weight_decay=0.0)
    assert all(group["weight_decay"] == 0 for group in optimizer.param_groups)


@pytest.mark.parametrize(("name", "middle"), [("poly", 0.5**0.9), ("cosine", 0.5), ("constant", 1.0)])
def test_schedules_begin_at_the_peak_and_pass_the_middle(name, middle):
    factor = create_schedule(name, 100, warmup=0)
    assert factor(0) == 1.0
    assert factor(50) == pytest.approx(middle)
    assert all(0 < factor(step) <= 1 for step in range(100))


def test_warmup_rises_linearly_to_the_peak():
    factor = create_schedule("poly", 100, warmup=0.1, power=1.0)
    assert [factor(step) for step in range(10)] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factor(10) == 1.0
    assert factor(55) == pytest.approx(0.5)
    assert math.isclose(create_schedule("poly", 1, warmup=0.5)(0), 1.0)


def test_set_rate_scales_every_group(model):
    optimizer = create_optimizer("adamw", model, lr=0.1, head_lr_factor=10, weight_decay=0.01)
    assert set_rate(optimizer, 0.5) == pytest.approx(0.05)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([0.05, 0.5])


def test_wrong_words_are_answered(model):
    with pytest.raises(ValueError, match="optim=adam is not known; did you mean adamw"):
        create_optimizer("adam", model, lr=0.1, head_lr_factor=1, weight_decay=0)
    with pytest.raises(ValueError, match="schedule=cosine has no option 'power'"):
        create_schedule("cosine", 10, power=2)
    assert isinstance(create_optimizer("sgd", model, lr=0.1, head_lr_factor=1, weight_decay=0, nesterov=True), torch.optim.SGD)
