"""Layers as modules: what runs has the sizes, the costs and the fields that the formulas say."""

import pytest

from fcn.graph.receptive_field import receptive_field
from fcn.lessons.arithmetic import compose
from fcn.lessons.modules import as_network
from fcn.lessons.notation import parse_layers

CHAINS = [
    "conv3 s2 p1 c8, pool2 s2, conv3 d2",
    "conv1x5 same nobias, conv4 same d3 c8, depthwise5 s2 p1, separable3 c16 d2 same",
    "conv3 g3 c6, avgpool3 s2 p1 ceil, pool3 s2 p2 d2",
    "conv3 c12, pool2 s1 p2, l2pool3 s2, avgpool2 p1 ceil",
    "conv3 s2 c8, tconv4 s2 p1 c4, tconv3 s3 p2 o1 c4, shuffle2, nearest2, bilinear3",
    "conv3 s2, l2pool3 s1 p2, tconv3 s2 d2 g3",
]


@pytest.mark.parametrize("text", CHAINS)
@pytest.mark.parametrize("size", [(33, 40), (64, 31)])
def test_a_chain_is_its_formulas(text: str, size: tuple[int, int]) -> None:
    layers = parse_layers(text)
    steps, network = compose(layers, size), as_network(layers)
    fields = receptive_field(network, size)
    assert sum(tensor.numel() for tensor in network.parameters()) == sum(step.parameters for step in steps)
    for place, step in enumerate(steps):
        layer = fields[str(place)]
        assert (layer.node.sizes, layer.size, layer.stride, layer.offset) == (step.outputs, step.field, step.jump, step.start)
        if step.layer.kind in ("conv", "transposed"):
            assert fields.graph[str(place)].macs == step.macs
