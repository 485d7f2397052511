"""Sizes, parameters and multiply-adds by formula: worked examples of lectures, and torch's own modules."""

import doctest
import itertools
from fractions import Fraction

import pytest
import torch
from torch import nn

from fcn.graph import axis
from fcn.graph.receptive_field import receptive_field
from fcn.lessons import arithmetic
from fcn.lessons.arithmetic import (
    causal,
    causal_padding,
    compose,
    conv,
    conv_size,
    depthwise,
    input_sizes,
    needed_input,
    pixel_shuffle,
    pool,
    resize,
    same_padding,
    separable,
    spatially_separable,
    transposed,
    transposed_input_size,
    transposed_size,
)


def test_worked_examples() -> None:
    ten = conv(3, 10, 5, padding=2)
    assert ten.output_sizes((32, 32)) == (32, 32)
    assert ten.parameters == 760
    assert conv(16, 32, 3).weights == 4608
    assert sum(layer.weights for layer in separable(16, 32, 3)) == 656
    assert 2 * conv(1, 1, 3).weights == 18
    assert conv(1, 1, 5).weights == 25
    assert compose([conv(1, 1, 3), conv(1, 1, 3)], (9, 9))[-1].field == compose([conv(1, 1, 5)], (9, 9))[-1].field == (5, 5)
    assert conv(3, 3, 3, bias=False).weights * 2 // 3 == sum(layer.weights for layer in spatially_separable(3, 3, 3))


@pytest.mark.parametrize(("kernel", "size"), [(3, 2), (5, 2), (7, 3)])
def test_a_pool_after_convolutions_sees_their_sum(kernel: int, size: int) -> None:
    assert compose([conv(1, 1, kernel), pool(size)], (40, 40))[-1].field == (size + kernel - 1,) * 2


def test_conv_and_pool_sizes_are_those_of_torch() -> None:
    for n, k, s, p, d in itertools.product((5, 8, 13), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2)):
        if conv_size(n, k, s, p, d) > 0:
            assert nn.Conv1d(1, 1, k, s, p, d)(torch.zeros(1, 1, n)).shape[2] == conv_size(n, k, s, p, d)
        for ceil in (False, True):
            if p <= k // 2 and conv_size(n, k, s, p, d, ceil_mode=ceil) > 0:
                found = nn.MaxPool1d(k, s, p, d, ceil_mode=ceil)(torch.zeros(1, 1, n)).shape[2]
                assert found == conv_size(n, k, s, p, d, ceil_mode=ceil), (n, k, s, p, d, ceil)


def test_transposed_sizes_are_those_of_torch_and_can_be_inverted() -> None:
    for n, k, s, p, d, extra in itertools.product((1, 4, 7), (2, 3), (1, 2, 3), (0, 1), (1, 2), (0, 1)):
        size = transposed_size(n, k, s, p, d, extra)
        if extra >= max(s, d) or size < 1:
            continue
        assert nn.ConvTranspose1d(1, 1, k, s, p, extra, dilation=d)(torch.zeros(1, 1, n)).shape[2] == size
        if extra < s:
            assert transposed_input_size(size, k, s, p, d) == (n, extra)


def test_padding_that_keeps_the_size() -> None:
    for kernel, dilation in itertools.product((1, 2, 3, 4, 7), (1, 2, 5)):
        assert conv_size(20, kernel, padding=same_padding(kernel, dilation), dilation=dilation) == 20
        assert conv_size(20, kernel, padding=causal_padding(kernel, dilation), dilation=dilation) == 20
    assert same_padding(3) == (1, 1)
    assert same_padding(4) == (1, 2)
    assert causal(4, 4, 3, dilation=4).maps((30,))[0].reads(10, 11) == (2, 11)


def test_input_sizes_are_all_that_give_the_output() -> None:
    for out, k, s, p, d in itertools.product((1, 4), (1, 3), (1, 2, 3), (0, 1), (1, 2)):
        expected = [n for n in range(1, 60) if conv_size(n, k, s, p, d) == out]
        assert list(input_sizes(out, k, s, p, d)) == expected
    layers = [conv(3, 8, 7, 2, 3), pool(3, 2, 1, channels=8), conv(8, 8, 3, 2)]
    expected = [n for n in range(1, 200) if n > 20 and compose(layers, (n, n))[-1].outputs == (5, 5)]
    assert list(needed_input(layers, (5, 5))[1]) == expected


MODULES = [
    (conv(6, 4, 3, 2, 1, groups=2), nn.Conv2d(6, 4, 3, 2, 1, groups=2)),
    (conv(6, 4, (1, 5), padding="same", bias=False), nn.Conv2d(6, 4, (1, 5), padding="same", bias=False)),
    (depthwise(6, 3, dilation=2), nn.Conv2d(6, 6, 3, dilation=2, groups=6)),
    (transposed(6, 4, 4, 2, 1), nn.ConvTranspose2d(6, 4, 4, 2, 1)),
    (pool(3, 2, 1, channels=6, ceil_mode=True), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    (pool(2, channels=6, kind="l2"), nn.LPPool2d(2, 2)),
    (pool(3, 1, channels=6, kind="average"), nn.AvgPool2d(3, 1)),
    (resize(6, 3), nn.Upsample(scale_factor=3, mode="bilinear")),
    (resize(6, 2, "nearest"), nn.Upsample(scale_factor=2)),
]


@pytest.mark.parametrize(("layer", "module"), MODULES, ids=[str(module) for _, module in MODULES])
def test_layers_agree_with_modules(layer: arithmetic.Layer, module: nn.Module) -> None:
    output = module(torch.zeros(1, 6, 11, 14))
    assert layer.output_sizes((11, 14)) == output.shape[2:]
    assert layer.out_channels == output.shape[1]
    assert layer.parameters == sum(tensor.numel() for tensor in module.parameters())


def test_composition_and_graph_are_two_ways_to_the_same_table() -> None:
    """Fields, jumps, starts, sizes, parameters and multiply-adds of all these layers in a row."""
    layers = [
        (conv(6, 8, 3, 2, 1, groups=2), nn.Conv2d(6, 8, 3, 2, 1, groups=2)),
        (pool(3, 2, 1, channels=8, ceil_mode=True), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
        (depthwise(8, 3, padding=2, dilation=2), nn.Conv2d(8, 8, 3, 1, 2, 2, groups=8)),
        (transposed(8, 4, 4, 2, 1), nn.ConvTranspose2d(8, 4, 4, 2, 1)),
        (pixel_shuffle(4, 2), nn.PixelShuffle(2)),
        (resize(1, 3), nn.Upsample(scale_factor=3, mode="bilinear")),
        (conv(1, 2, (1, 5)), nn.Conv2d(1, 2, (1, 5))),
    ]
    steps = compose([layer for layer, _ in layers], (30, 37))
    fields = receptive_field(nn.Sequential(*(module for _, module in layers)), (30, 37))
    for place, step in enumerate(steps):
        found = fields[str(place)]
        assert (found.size, found.stride, found.offset) == (step.field, step.jump, step.start)
        assert (found.node.sizes, found.node.parameters) == (step.outputs, step.parameters)
        assert found.node.macs == (step.macs if step.parameters else 0)


def test_examples_in_the_documentation() -> None:
    for module in (arithmetic, axis):
        assert doctest.testmod(module).failed == 0


def test_pixel_shuffle_trades_channels_for_size() -> None:
    layer = pixel_shuffle(18, 3)
    assert nn.PixelShuffle(3)(torch.zeros(1, 18, 4, 5)).shape == (1, layer.out_channels, *layer.output_sizes((4, 5)))
    assert layer.macs((4, 5)) == 0


def test_multiply_adds() -> None:
    assert conv(3, 10, 5, padding=2).macs((32, 32)) == 32 * 32 * 10 * 75
    assert transposed(4, 2, 4, 2, 1).macs((8, 8)) == 64 * 4 * 2 * 16
    assert sum(layer.macs((10, 10)) for layer in separable(16, 32, 3, padding="same")) == 100 * 656
    assert resize(3, 2).macs((4, 4)) == 64 * 3 * 4
    assert pool(2, channels=3).macs((4, 4)) == 0
    assert pool(2, channels=3, kind="average").macs((4, 4)) == 4 * 4 * 3


def test_composition_follows_the_recursion() -> None:
    """``size += (k - 1) d jump; start += ((k - 1) d / 2 - p) jump; jump *= s``."""
    settings = [(7, 2, 3, 1), (3, 2, 1, 1), (3, 1, 2, 2), (2, 2, 0, 1), (5, 1, 0, 3)]
    steps = compose([conv(1, 1, k, s, p, d) for k, s, p, d in settings], (300, 200))
    size, jump, start = 1, 1, Fraction(0)
    for (k, s, p, d), step in zip(settings, steps, strict=True):
        size, start, jump = size + (k - 1) * d * jump, start + (Fraction((k - 1) * d, 2) - p) * jump, jump * s
        assert (step.field, step.start, step.jump) == ((size,) * 2, (start,) * 2, (jump,) * 2)


def test_up_sampling_makes_the_jump_smaller() -> None:
    steps = compose([conv(4, 4, 3, 2, 1), transposed(4, 4, 4, 2, 1), resize(4, 2)], (16, 16))
    assert [step.jump[0] for step in steps] == [2, 1, Fraction(1, 2)]
    assert steps[-1].outputs == (32, 32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: conv(3, 4, 3, groups=2), "2 groups do not divide 3 channels in and 4 out"),
        (lambda: conv(3, 4, 5).output_sizes((4, 9)), "gives no cells from 4 x 9"),
        (lambda: pixel_shuffle(6, 2), "multiple of 4 channels, not 6"),
        (lambda: pool(2, kind="mean"), "no pool 'mean'; the pools are max, average, l2"),  # type: ignore[arg-type]
        (lambda: compose([conv(3, 4, 3), conv(8, 4, 3)], (9, 9)), r"layer 2 \(conv\) takes 8 channels, but 4 arrive"),
        (lambda: needed_input([resize(3, 2)], (4,)), "input size of a bilinear is not sought"),
    ],
)
def test_what_does_not_fit_is_refused(call: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()  # type: ignore[operator]
