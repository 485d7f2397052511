"""The pyramid: its rates, its branches, and batch norm behind a global pool."""

import pytest
import torch
from torch import nn

from fcn.models.aspp import ASPP, ImagePooling, rates_at
from fcn.models.layers import PooledBatchNorm


def test_rates_span_the_same_pixels_at_every_output_stride():
    assert [rates_at(stride) for stride in (8, 16, 32)] == [(12, 24, 36), (6, 12, 18), (3, 6, 9)]
    assert rates_at(16, (1, 40)) == (1, 40)
    assert min(rates_at(256)) == 1


def test_branches_are_those_that_are_asked_for():
    pyramid = ASPP(6, (2, 5), channels=4, image_pooling=False, dropout=0.0)
    assert [branch[0].dilation[0] for branch in pyramid.convs] == [1, 2, 5]
    assert pyramid.project[0].in_channels == 12
    assert pyramid(torch.randn(2, 6, 5, 9)).shape == (2, 4, 5, 9)
    with pytest.raises(ValueError, match=r"rates=\[0\] is not allowed"):
        ASPP(6, (0,))


def test_separable_branches_cost_less_and_see_as_much():
    full, separable = (ASPP(8, (3,), channels=8, separable=kind, image_pooling=False).double().eval() for kind in (False, True))
    seen = []
    for pyramid in (full, separable):
        for parameter in pyramid.parameters():
            nn.init.constant_(parameter, 0.1)
        x = torch.zeros(1, 8, 15, 15, dtype=torch.float64, requires_grad=True)
        pyramid(x + 1)[0, :, 7, 7].sum().backward()
        seen.append(x.grad.abs().sum((0, 1)) > 0)
    assert torch.equal(*seen)
    assert seen[0].sum() == 9
    weights = [
        sum(parameter.numel() for parameter in pyramid.convs[1].parameters() if parameter.ndim == 4) for pyramid in (full, separable)
    ]
    assert weights == [9 * 8 * 8, 9 * 8 + 8 * 8]


class TestPooledBatchNorm:
    def test_is_batch_norm_where_there_is_a_variance(self):
        torch.manual_seed(0)
        ours, theirs = PooledBatchNorm(3), nn.BatchNorm2d(3)
        for training in (True, False):
            ours.train(training), theirs.train(training)
            for shape in ((4, 3, 1, 1), (1, 3, 2, 2)):
                x = torch.randn(shape)
                torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
        torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0, atol=0)

    def test_takes_one_value_as_in_evaluation_and_learns_nothing_from_it(self):
        norm = PooledBatchNorm(3)
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        before = {name: value.clone() for name, value in norm.state_dict().items()}
        x = torch.randn(1, 3, 1, 1, requires_grad=True)
        y = norm(x)
        y.sum().backward()
        assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
        torch.testing.assert_close(y, norm.eval()(x))
        assert x.grad.abs().min() > 0


def test_the_pooled_branch_is_the_same_everywhere_and_trains_on_one_image():
    branch = ImagePooling(5, 4)
    y = branch(torch.randn(1, 5, 3, 7))
    assert y.shape == (1, 4, 3, 7)
    assert torch.equal(y, y[..., :1, :1].expand_as(y))
