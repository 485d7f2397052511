"""Receptive fields: the numbers of papers and of public tables, worked examples, and real networks against the probe."""

import warnings
from collections.abc import Callable
from fractions import Fraction

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from fcn.graph import read_graph
from fcn.graph.receptive_field import ReceptiveField, receptive_field, rows_to_keep
from fcn.lessons.probe import Probe


def build(name: str) -> nn.Module:
    segmentation = name.startswith(("fcn", "deeplab", "lraspp"))
    options = (
        {"weights_backbone": None} if segmentation else {"init_weights": False} if name in ("googlenet", "inception_v3", "vgg16") else {}
    )
    return torchvision.models.get_model(name, weights=None, **options)


def check(found: ReceptiveField, size: int, stride: int, layer: str | None = None) -> None:
    field = found.output if layer is None else found[layer]
    assert (field.size, field.stride) == ((size, size), (stride, stride))


class TestPublishedNumbers:
    """Long et al. 2015, table 1; Araujo et al. 2019; torchvision's own networks."""

    def test_alexnet(self) -> None:
        check(receptive_field(build("alexnet")), 355, 32)

    def test_vgg16_to_pool5_and_through_fc6_and_fc7(self) -> None:
        """The linear layers are convolutions of 7 x 7 and 1 x 1: that is what a fully convolutional network is."""
        fields = receptive_field(build("vgg16"))
        check(fields, 404, 32)
        check(fields, 212, 32, "features")
        assert fields["classifier.0"].node.maps[0].kernel == 7

    def test_googlenet_of_torchvision_with_its_7x7_window(self) -> None:
        network = build("googlenet")
        check(receptive_field(network, pool_as_window=True), 571, 32)
        assert receptive_field(network).is_global

    def test_googlenet_of_the_paper_has_5x5_branches(self) -> None:
        network = build("googlenet")
        for name, module in network.named_modules():
            if name.endswith("branch3.1.conv"):
                network.get_submodule(name.removesuffix(".conv")).conv = nn.Conv2d(
                    module.in_channels, module.out_channels, 5, padding=2, bias=False
                )
        network.maxpool4 = nn.MaxPool2d(3, 2, ceil_mode=True)
        check(receptive_field(network, pool_as_window=True), 907, 32)

    @pytest.mark.parametrize(("dilated", "stride"), [((False,) * 3, 32), ((False, True, True), 8)])
    def test_resnet50_at_any_output_stride(self, dilated: tuple[bool, ...], stride: int) -> None:
        network = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=dilated)
        check(receptive_field(network), 427, stride, "layer4")

    def test_fcn_resnet50_head(self) -> None:
        fields = receptive_field(build("fcn_resnet50"))
        check(fields, 443, 8, "classifier")
        check(fields, 443 + 8, 1)

    def test_deeplabv3_resnet50_without_image_pooling(self) -> None:
        graph = read_graph(build("deeplabv3_resnet50"))
        check(receptive_field(graph, ignore_global=True), 1019, 8, "classifier")
        fields = receptive_field(graph)
        assert fields.size == (None, None)
        assert list(fields.causes) == ["classifier.0.convs.4.0"]

    @pytest.mark.slow
    def test_inception_resnet_v2(self) -> None:
        with torch.device("meta"):
            network = timm.create_model("inception_resnet_v2", pretrained=False)
        check(receptive_field(network.to_empty(device="cpu"), 160, ignore_global=True), 3039, 32)


def test_worked_example_of_a_course() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3, 1, 1), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, 1, 1), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, 2, 1))
    fields = receptive_field(network, 64)
    assert [fields[str(place)].size[0] for place in range(5)] == [3, 4, 8, 10, 18]
    assert [fields[str(place)].stride[0] for place in range(5)] == [1, 2, 2, 4, 8]
    assert [fields[str(place)].offset[0] for place in range(5)] == [0, Fraction(1, 2), Fraction(1, 2), Fraction(3, 2), Fraction(3, 2)]
    words = "tiles need 7 pixels on each side, at multiples of 8"
    assert str(fields) == f"size 18 x 18, stride 8 x 8, offset 3/2 x 3/2; {words}"


def test_phases_of_an_up_sampler() -> None:
    fields = receptive_field(nn.Sequential(nn.Conv1d(1, 1, 3), nn.Upsample(scale_factor=4, mode="linear")), 20)
    assert fields.stride == (Fraction(1, 4),)
    assert fields.phases == (((-1, 3), (-1, 3), (0, 4), (0, 4)),)
    assert fields.offset == (Fraction(5, 8),)
    shuffled = receptive_field(nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.PixelShuffle(2)), 20)
    assert shuffled.phases[0] == ((-1, 2), (-1, 2))
    assert shuffled.offset == (Fraction(-1, 2),) * 2


def test_offsets_tell_how_far_a_skip_is_off() -> None:
    """Pooling moves cells by half a pixel, bilinear up-sampling moves them back; an even kernel does not."""
    level = nn.Sequential(nn.AvgPool1d(2), nn.Conv1d(1, 1, 3, padding=1), nn.Upsample(scale_factor=2, mode="linear"))
    assert receptive_field(level, 16).offset == (0,)
    assert receptive_field(nn.Sequential(nn.Conv1d(1, 1, 1, 2), nn.Upsample(scale_factor=2, mode="linear")), 16).offset == (
        Fraction(-1, 2),
    )


class Gated(nn.Module):
    """Two convolutions, a squeeze-and-excitation gate between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.second = (
            nn.Conv2d(3, 4, 3),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1)),
            nn.Conv2d(4, 4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.second(y * self.gate(y).sigmoid())


def test_global_says_who_and_can_be_ignored() -> None:
    fields = receptive_field(Gated(), 32)
    assert fields.is_global
    assert fields.causes == {"gate.0": "pools all 30 x 30 cells to 1 x 1"}
    assert str(fields).startswith("global: gate.0 pools all 30 x 30 cells to 1 x 1; tiles are never exact")
    assert fields["first"].size == (3, 3)
    assert fields.interval((5, 5)) == ((0, 32), (0, 32))
    ignored = receptive_field(Gated(), 32, ignore_global=True)
    assert ignored.size == (5, 5)
    assert ignored.interval((5, 6)) == ((5, 10), (6, 11))


def test_a_resize_to_any_size_is_global_but_bounded() -> None:
    class Resized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(self.conv(x), x.shape[2], mode="linear")

    assert receptive_field(Resized(), 32).size == (5,)
    fields = receptive_field(Resized(), 33)
    assert fields.size == (None,)
    assert "resize from 17 to 33 is not by a whole factor" in str(fields)
    bound = receptive_field(Resized(), 33, ignore_global=True)
    assert bound.size == (7,)
    assert bound.intervals() == fields.intervals() == [Probe(Resized(), 33).interval((cell,))[0] for cell in range(33)]


def test_rows_to_keep_of_a_chain_and_of_a_skip() -> None:
    chain = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, 2, padding=2, dilation=2))
    graph = read_graph(chain, 40)
    assert [rows_to_keep(graph)[name] for name in (graph.input.name, graph["0"].name)] == [2, 3]

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slow = nn.Conv1d(1, 1, 9, padding=4)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.slow(x)

    graph = read_graph(Skip(), 40)
    assert rows_to_keep(graph)[graph.input.name] == 8
    assert rows_to_keep(graph, band=10)[graph.input.name] == 8


def test_large_sizes_cost_nothing() -> None:
    fields = receptive_field(nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.MaxPool2d(3, 2, 1)), 16384)
    assert fields.interval((4095, 0)) == ((16375, 16384), (0, 6))


NETWORKS = [
    ("resnet18", "layer4", (150, 33)),
    ("squeezenet1_1", None, (65, 40)),
    ("mobilenet_v3_small", "features.4", (64, 33)),
    pytest.param("shufflenet_v2_x0_5", "conv5", (110, 33), marks=pytest.mark.slow),
    pytest.param("lraspp_mobilenet_v3_large", None, (64, 48), marks=pytest.mark.slow),  # lraspp of our own: test_project_models.py
]


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    NETWORKS,
    ids=["resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "lraspp_mobilenet_v3_large"],
)
def test_torchvision_networks_agree_with_the_probe(name: str, layer: str | None, size: tuple[int, int]) -> None:
    agree(build(name), layer, size)


def test_an_architecture_of_smp_agrees_with_the_probe() -> None:
    agree(smp.create_model("pspnet", encoder_name="resnet18", encoder_weights=None), None, (64, 32))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["FPN", "Unet", "UnetPlusPlus", "MAnet", "Linknet", "DeepLabV3", "DeepLabV3Plus", "UPerNet", "PAN"])
def test_more_smp_architectures_agree_with_the_probe(name: str) -> None:
    agree(smp.create_model(name.lower(), encoder_name="resnet18", encoder_weights=None), None, (128, 128))


def agree(network: nn.Module, layer: str | None, size: tuple[int, int]) -> None:
    """Both methods, at the borders and for some phases in the middle."""
    fields, probe = receptive_field(network, size, output=layer), Probe(network, size, layer=layer)
    assert probe.sizes == fields.node.sizes
    height, width = probe.sizes
    rows = sorted({0, 1, height // 2, height // 2 + 1, height - 1} & set(range(height)))
    for cell in [(row, width // 2) for row in rows] + [(height // 2, 0), (height // 2, width - 1)]:
        expected = probe.interval(cell)
        assert fields.interval(cell) == expected
        assert probe.interval(cell, "nan") == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models))
def test_every_classifier_of_torchvision_is_read(name: str) -> None:
    if name.startswith(("vit", "swin", "maxvit")):
        pytest.skip("transformers are large; three of them are read elsewhere")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        network = build(name)
        fields = receptive_field(network, 299 if name == "inception_v3" else None, ignore_global=True)
    stride = 16 if "squeezenet" in name else 32
    assert fields.stride == (stride, stride)
    assert not fields.is_global


class Ending(nn.Module):
    """Two strided layers, and an end: a function of their result and the image."""

    def __init__(self, end: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.layers, self.end = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.layers(x), x)


def with_places(y: Tensor, x: Tensor) -> Tensor:
    return y + torch.linspace(-1, 1, y.shape[3])


ENDS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int | None]] = {
    "none": (lambda y, x: y, 1),
    "by a factor": (lambda y, x: F.interpolate(y, scale_factor=4.0)[..., : x.shape[2], : x.shape[3]], 1),
    "with a constant": (lambda y, x: y + torch.zeros(y.shape[2:]), 1),
    "to the image's size": (lambda y, x: F.interpolate(y, x.shape[2:], mode="bilinear"), 4),
    "with its place": (with_places, None),
    "to a number of cells": (lambda y, x: F.adaptive_avg_pool2d(y, 56), None),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_the_sides_of_an_image_in_tiles_have_to_be(name: str) -> None:
    """224 pixels make 56 cells, at which none of these shows that it follows the size."""
    end, sides = ENDS[name]
    fields = receptive_field(Ending(end), 224)
    assert fields.sides == sides
    assert (fields.tiles is None) == (sides is None)
    assert ("whose sides are multiples of 4" in str(fields)) == (sides == 4)


@pytest.mark.parametrize(("height", "width", "equal"), [(96, 128, True), (97, 131, False)])
def test_an_image_in_tiles_by_what_is_said(height: int, width: int, equal: bool) -> None:
    network = Ending(ENDS["to the image's size"][0]).double()
    halo, step = receptive_field(network).tiles or (0, 0)
    halo = -(-halo // step) * step
    image = torch.rand(1, 3, height, width, dtype=torch.float64)
    with torch.no_grad():
        whole = network(image)
        inside = network(image[:, :, 32 - halo : 48 + halo, 32 - halo : 48 + halo])[:, :, halo : halo + 16, halo : halo + 16]
    assert torch.allclose(inside, whole[:, :, 32:48, 32:48], atol=1e-12) == equal


@pytest.mark.parametrize("strided", [1, 2])
def test_tiles_with_what_they_need_give_the_whole(strided: int) -> None:
    """The oracle is the network itself: tiles with less differ, tiles with as much as is said do not."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, strided, 1), nn.Conv2d(4, 4, 5, strided, 2), nn.MaxPool2d(3, strided, 1), nn.Conv2d(4, 4, 3, 1, 2, 2)]
    network = nn.Sequential(*layers, nn.Upsample(scale_factor=strided**3, mode="nearest")).double()
    needed, step = receptive_field(network, 128).tiles or (0, 0)
    assert step == strided**3
    image = torch.rand(1, 1, 128, 128, dtype=torch.float64)
    with torch.no_grad():
        whole = network(image)[..., 64:72, 64:72]
        tile = [
            network(image[..., 64 - halo : 72 + halo, 64 - halo : 72 + halo])[..., halo : 8 + halo, halo : 8 + halo] for halo in (8, 48)
        ]
        enough = -(-needed // step) * step
        exact = network(image[..., 64 - enough : 72 + enough, 64 - enough : 72 + enough])[..., enough : 8 + enough, enough : 8 + enough]
    assert torch.allclose(exact, whole, atol=1e-12)
    assert torch.allclose(tile[1], whole, atol=1e-12)
    assert needed <= 8 or not torch.allclose(tile[0], whole, atol=1e-12)
