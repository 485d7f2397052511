"""Layers in words, and what is said when they are wrong."""

import pytest

from fcn.lessons.arithmetic import compose, conv, depthwise, pixel_shuffle, pointwise, pool, resize, transposed
from fcn.lessons.notation import parse_layers


def test_words_are_layers() -> None:
    assert parse_layers("conv3 s2 p1 c16, pool2 s2, conv3 d2") == [
        conv(3, 16, 3, 2, 1),
        pool(2, 2, channels=16),
        conv(16, 16, 3, dilation=2),
    ]
    assert parse_layers("conv1x5 same nobias,avgpool2,  l2pool3 s1 ceil", 4) == [
        conv(4, 4, (1, 5), padding="same", bias=False),
        pool(2, channels=4, kind="average"),
        pool(3, 1, channels=4, kind="l2", ceil_mode=True),
    ]
    assert parse_layers("separable3 c8 same, depthwise5 s2", 4) == [depthwise(4, 3, padding="same"), pointwise(4, 8), depthwise(8, 5, 2)]
    assert parse_layers("tconv4 s2 p1 c2 o1", 8) == [transposed(8, 2, 4, 2, 1, output_padding=1)]
    assert parse_layers("shuffle2, nearest2, bilinear3", 8) == [pixel_shuffle(8, 2), resize(2, 2, "nearest"), resize(2, 3)]


def test_the_web_form_on_a_line() -> None:
    steps = compose(parse_layers("conv3 s2 p1, pool2 s2, conv3 d2"), (224, 224))
    assert [step.outputs[0] for step in steps] == [112, 56, 52]
    assert [step.field[0] for step in steps] == [3, 5, 21]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("conv3, cnv3", "position 8: 'cnv3' is no layer; the layers are conv, depthwise"),
        ("conv3 x2", "position 7: 'x2' is no option; the options are sNUMBER"),
        ("conv", "position 1: 'conv' lacks its number, as in 'conv3'"),
        ("conv3,, pool2", "position 7: a layer is missing"),
        ("", "position 1: a layer is missing"),
        ("pool2 c4", "position 7: 'c4' means nothing to pool, which takes s, p, d, ceil"),
        ("conv3 s2 s3", "position 10: 's3' sets what is set already"),
        ("conv3 p1 same", "position 10: 'same' sets what is set already"),
        ("conv3 s0", "position 7: 's0' must be at least 1"),
        ("conv0", "position 1: 'conv0' has a kernel of 0"),
        ("conv3, shuffle2", "position 8: pixel shuffle by 2 needs a multiple of 4 channels, not 3"),
        ("pool2x3", "position 1: only conv takes two numbers, not pool"),
        ("conv3 g2", "position 1: 2 groups do not divide 3 channels"),
    ],
)
def test_wrong_text_is_answered_with_the_position_and_the_grammar(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="write layers as KIND NUMBER") as caught:
        parse_layers(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
