"""Dilation: the dilated network sampled at every d-th cell is the original, in float64; and what cannot be dilated is refused by name."""

import copy
import io
import warnings
from functools import partial
from math import prod

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn import functional as F

import fcn
from fcn.models.backbones.torchvision import VGG, keep_features, stage_features
from fcn.rewrite.dilate import Reading, dilate, rewrite
from fcn.rewrite.editable import editable

warnings.filterwarnings("ignore", message=".*default weight initialization.*", category=FutureWarning)


def vary(network):
    """Batch statistics and weights that are nobody's start, so that a wrong cell shows; in float64."""
    torch.manual_seed(0)
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in ((module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 1.5), (module.weight, 0.5, 1.5)):
                if tensor is not None:
                    nn.init.uniform_(tensor, low, high)
    return network


def without_gates(network):
    """The graph with every statistic over the whole map taken of zeros: what gates say is then the same, whatever the map."""
    for node in list(network.graph.nodes):
        name = getattr(node.target, "__name__", str(node.target))
        dims = [value for value in (*node.args[1:2], node.kwargs.get("dim")) if isinstance(value, tuple | list)]
        pools = node.op == "call_module" and type(network.get_submodule(node.target)).__name__.startswith("Adaptive")
        if pools or name.startswith("adaptive") or (name in ("mean", "norm") and dims and sorted(dims[0]) in ([-2, -1], [1, 2], [2, 3])):
            with network.graph.inserting_before(node):
                node.replace_input_with(node.args[0], network.graph.call_method("mul", (node.args[0], 0.0)))
    network.recompile()
    return network


def check(network, output_stride, *sizes, channels=3):
    """Compare every feature of the dilated network, sampled, with the original's; returns how many cells one of the deepest became.

    Of ``sizes``, those are tried at which every cell has to agree: all, where no layer had to reach over the border, else those that leave
    no rest at any stride, of which there must be one.
    """
    original, dilated = without_gates(editable(network)), editable(network)
    reading = rewrite(dilated, output_stride)
    without_gates(dilated)
    assert dilated.state_dict().keys() == original.state_dict().keys()
    axes = [axis for placement in reading.placements.values() if isinstance(placement, tuple) for axis in placement]
    exact = all(axis.now.excess == axis.original.excess for axis in axes)
    tried = [size for size in sizes if exact or all(side % reading.stride() == 0 for side in size)]
    assert tried
    for size in tried:
        images = torch.randn(2, channels, *size, dtype=torch.float64)
        with torch.no_grad():
            expected, found = original(images), dilated(images)
        if isinstance(expected, torch.Tensor):
            expected, found = [expected], [found]
        for a, b, node in zip(expected, found, reading.outputs(), strict=True):
            steps = [axis.dilation for axis in reading.axes(node)]
            assert [(cells - 1) // step + 1 for cells, step in zip(b.shape[2:], steps, strict=True)] == list(a.shape[2:])
            sampled = b[(..., *(slice(None, None, step) for step in steps))]
            torch.testing.assert_close(sampled, a, rtol=1e-9, atol=1e-9 * float(a.abs().max()))
    return steps[0]


# --- random networks ---


@st.composite
def layers(draw, channels):
    kind = draw(st.sampled_from(["conv", "conv", "depthwise", "max", "average", "power"]))
    kernel, stride = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2, 2, 3, 4]))
    padding = draw(st.integers(0, kernel // 2))
    if kind in ("conv", "depthwise"):
        mode = draw(st.sampled_from(["zeros", "zeros", "valid"]))
        dilation = draw(st.integers(1, 2))
        groups = channels if kind == "depthwise" else 1
        return nn.Conv2d(channels, channels, kernel, stride, "valid" if mode == "valid" else padding, dilation, groups)
    ceil = draw(st.booleans())
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
    if kind == "average":
        divisor = draw(st.sampled_from([None, None, 3]))
        return nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=draw(st.booleans()), divisor_override=divisor)
    return nn.LPPool2d(2, kernel, stride, ceil_mode=ceil)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(layers(2), min_size=1, max_size=5), st.integers(40, 90), st.integers(40, 90), st.sampled_from([1, 2, 3, 4, 8]))
def test_random_networks(chain, height, width, output_stride):
    network = vary(nn.Sequential(*copy.deepcopy(chain)))
    stride = prod(layer.stride if isinstance(layer.stride, int) else layer.stride[0] for layer in chain)
    if stride % output_stride or stride > 24:
        return
    height, width = (-(-side // stride) * stride for side in (height, width))
    try:
        with torch.no_grad():
            network(torch.zeros(1, 2, height, width, dtype=torch.float64))
    except RuntimeError:  # nothing is left of the map
        return
    reached = 1
    for layer in chain:  # as much of each stride as fits
        step = layer.stride if isinstance(layer.stride, int) else layer.stride[0]
        reached *= max(part for part in range(1, step + 1) if step % part == 0 and reached * part <= output_stride)
    if reached != output_stride:
        with pytest.raises(ValueError, match=f"the strides of the layers make {reached} of it"):
            dilate(network, output_stride)
        return
    sizes = ((height, width), (height + 1, width + 2))
    assert check(network, output_stride, *sizes, channels=2) == stride // output_stride


# --- ways to write a network ---


class Functions(nn.Module):
    """Strides and pools in ``forward``, by slices, by reflecting pads, by a convolution that is called twice."""

    def __init__(self):
        super().__init__()
        self.first, self.twice = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3))
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        x = self.first(F.pad(x, (1, 1, 1, 1), mode="reflect"))
        x = self.twice(x)
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = F.relu(self.twice(x))[:, :, ::2, ::2]
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = torch.cat([self.twice(x), F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)], dim=1).chunk(2, dim=1)[0]
        x = F.conv2d(x, self.weight, None, (2, 2), (1, 1))
        return x + F.interpolate(F.adaptive_avg_pool2d(x, 1), size=x.shape[-2:]).sigmoid()


class Blurred(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.register_buffer("blur", torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])).expand(4, 1, 3, 3) / 16)

    def forward(self, x):
        x = self.conv(x)
        for _ in range(2):
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), value=0.5), self.blur, stride=2, groups=4)
        return x


@pytest.mark.parametrize("output_stride", [4, 2, 1])
def test_functions_are_dilated_like_modules(output_stride):
    assert check(vary(Functions()), output_stride, (48, 65)) == 8 // output_stride


def test_blurring_before_striding_is_a_window_like_others():
    assert check(vary(Blurred()), 1, (33, 50)) == 4


def test_a_sequence_is_dilated_along_its_one_axis():
    network = vary(nn.Sequential(nn.Conv1d(2, 4, 5, 2, 2), nn.MaxPool1d(2, 2, ceil_mode=True), nn.Conv1d(4, 4, 3, padding=2, dilation=2)))
    assert check(network, 1, (37,), channels=2) == 4


def test_a_patch_stem_keeps_the_part_of_its_stride_that_fits():
    stem = vary(nn.Conv2d(3, 4, 4, 4))
    assert check(nn.Sequential(stem, nn.Conv2d(4, 4, 3, padding=1).double()), 2, (32, 48)) == 2
    with torch.no_grad():
        assert dilate(stem, 2)(torch.zeros(1, 3, 32, 48, dtype=torch.float64)).shape == (1, 4, 16, 24)


def test_branches_that_differ_in_size_once_dilated_are_cut_to_the_smallest():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 2, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

        def forward(self, x):
            return self.c(self.a(x) + self.b(x)[:, :, 1:, 1:])

    network = vary(Branches())
    assert any(type(module).__name__ == "CropToCommon" for module in dilate(network, 1).modules())
    assert check(network, 1, (32, 48)) == 4


def test_a_map_that_is_enlarged_again_is_sampled_first():
    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.down, self.up = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Upsample(scale_factor=2)

        def forward(self, x):
            x = self.stem(x)
            low = self.down(x)
            return [x + self.up(low), low + self.down(x)]

    assert check(vary(Fused()), 2, (32, 48)) == 2


class Gate(nn.Module):
    """Stride 8, then what ``gate`` makes of it: with pools that drop cells, sizes are seldom multiples of one another."""

    def __init__(self, gate, pool=None):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), pool or nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1))
        self.conv, self.last = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.gate = gate

    def forward(self, x):
        x = self.stem(x)
        return self.last(self.gate(x, self.conv))


def gate(kernel, mode="nearest"):
    return lambda x, conv: x * F.interpolate(conv(F.avg_pool2d(x, *kernel)), size=(x.shape[-2], x.shape[-1]), mode=mode).sigmoid()


def gate_of_a_gate(x, conv):
    pooled = F.avg_pool2d(x, 2)
    inner = F.interpolate(conv(F.max_pool2d(pooled, 2)), size=pooled.shape[-2:])
    return x * F.interpolate(pooled * inner, size=x.shape[-2:])


GATES = {
    "ghost": gate((2, 2)),
    "padded": gate((5, 3, 2)),
    "four cells, nearest-exact": gate((4, 4), "nearest-exact"),
    "gate of a gate": gate_of_a_gate,
    "resize as a stride": lambda x, conv: conv(F.interpolate(x, scale_factor=0.5)),
    "enlarged, then pooled": lambda x, conv: F.avg_pool2d(conv(F.interpolate(x, scale_factor=2)), 2),
}


def assert_sampled_equals(network, output_stride, *sizes):
    """The cells of the original, at sizes that no stride divides; of a map that is longer than the original's, its first cells."""
    dilated = editable(network)
    reading = rewrite(dilated, output_stride)
    steps = [axis.dilation for axis in reading.axes(reading.outputs()[0])]
    for size in sizes:
        images = torch.randn(1, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            expected, found = network(images), dilated(images)[..., :: steps[0], :: steps[1]]
        torch.testing.assert_close(found[..., : expected.shape[2], : expected.shape[3]], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("output_stride", [8, 4, 1])
@pytest.mark.parametrize("name", GATES)
def test_what_is_pooled_and_resized_again_is_the_originals_at_any_size(name, output_stride):
    assert_sampled_equals(vary(Gate(GATES[name])), output_stride, (96, 64), (97, 75), (90, 120), (111, 85))


@pytest.mark.parametrize("name", ["ghost", "gate of a gate"])
def test_a_gate_after_a_pool_that_drops_cells_reads_the_cells_that_the_original_has(name):
    """The dilated pool reaches over the border; the gate may not, for what it reads everywhere depends on the number of cells."""
    network = vary(Gate(GATES[name], nn.MaxPool2d(2)))
    for output_stride in (8, 1):
        dilated = editable(network)
        step = rewrite(dilated, output_stride).axes(next(iter(dilated.graph.find_nodes(op="output"))).all_input_nodes[0])[0].dilation
        for size in ((111, 103), (110, 95)):
            images = torch.randn(1, 3, *size, dtype=torch.float64)
            with torch.no_grad():
                expected, found = network(images), dilated(images)[..., ::step, ::step]
            inner = (..., slice(expected.shape[2] - 2), slice(expected.shape[3] - 2))
            torch.testing.assert_close(found[inner], expected[inner], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_gate_that_may_stay_coarse_is_left_as_it_is(mode):
    """Nothing of it is dilated, so that it may interpolate."""
    assert_sampled_equals(vary(Gate(gate((2, 2), mode))), 8, (96, 64), (97, 75))


def test_a_gate_is_exported_for_any_size():
    dilated = dilate(vary(Gate(GATES["ghost"], nn.MaxPool2d(2))), 4)
    sides = {2: torch.export.Dim("h", min=64, max=200), 3: torch.export.Dim("w", min=64, max=200)}
    exported = torch.export.export(dilated, (torch.randn(1, 3, 96, 128).double(),), dynamic_shapes=(sides,)).module()
    images = torch.randn(1, 3, 75, 111).double()
    torch.testing.assert_close(exported(images), dilated(images))


# --- strides that are no power of two ---


@pytest.mark.parametrize("build", [
    lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 3), nn.ReLU()),
    lambda: nn.Sequential(nn.Conv2d(3, 4, 5, 5), nn.BatchNorm2d(4), nn.ReLU()),
    lambda: nn.Sequential(nn.Conv2d(3, 4, 6, 6), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1)),
    lambda: nn.Sequential(nn.Conv2d(3, 4, 7, 7, 3), nn.ReLU()),
    lambda: nn.Sequential(nn.Conv2d(3, 4, 11, 11, 5), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1)),
    lambda: nn.Sequential(nn.Conv2d(3, 4, 14, 14), nn.GELU()),
    lambda: nn.Sequential(nn.Conv2d(3, 4, 3, (3, 2), 1), nn.ReLU(), nn.Conv2d(4, 4, 3, (1, 3), 1)),
    lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 3, 1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU()),
    lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, 6, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 3, 1)),
])  # fmt: skip
def test_any_whole_stride_is_undone(build):
    network = vary(build())
    factor = check(network, 1, (84, 126), (210, 110), (120, 60))
    assert factor == Reading(editable(network)).judged()[0].original.stride


# --- families ---


def trunk(name):
    """A torchvision classifier up to its deepest feature, all features handed out."""
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network = torchvision.models.get_model(name, weights=None, **extra)
    if name.startswith("vgg"):
        return VGG(network, classifier=name == "vgg11" and len(network.classifier) == 0)
    graph = editable(network)
    keep_features(graph, stage_features(graph, Reading(graph)))
    return graph


QUICK = [
    "convnext_tiny",
    "mobilenet_v3_small",
    "resnet18",
    "squeezenet1_1",
]
SLOW = [
    "alexnet",
    "densenet121",
    "googlenet",
    "shufflenet_v2_x0_5",
    "vgg11_bn",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet50",
    "resnext50_32x4d",
    "squeezenet1_0",
    "vgg16",
    "wide_resnet50_2",
]


@pytest.mark.parametrize("name", QUICK)
def test_families(name):
    check(vary(trunk(name)), 8, (96, 64), (97, 75))


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [16, 4, 2, 1])
@pytest.mark.parametrize("name", QUICK + SLOW)
def test_families_at_every_output_stride(name, output_stride):
    network = vary(trunk(name))
    if Reading(editable(network)).stride() > output_stride:  # SqueezeNet's is 16
        check(network, output_stride, (96, 128), (101, 79))


SMP = """
    resnet18 resnext50_32x4d timm-resnest14d timm-res2net50_26w_4s timm-regnetx_002 timm-regnety_002 timm-gernet_s se_resnext50_32x4d
    timm-skresnet18 densenet121 inceptionresnetv2 inceptionv4 efficientnet-b0 mobilenet_v2 xception timm-efficientnet-b0
    timm-tf_efficientnet_lite0 timm-mobilenetv3_small_075 dpn68 vgg11_bn mobileone_s0
"""
TIMM = """
    resnet10t resnetblur50 resnetaa50 resnetv2_50 mobilenetv4_conv_small tf_efficientnetv2_b0 tf_mixnet_s convnext_atto convnextv2_atto
    regnetz_005 nf_resnet26 nfnet_l0 ghostnet_100 ghostnetv2_100 rexnet_100 vovnet39a cspresnet50 darknetaa53 fastvit_t8 repvgg_a0
    repghostnet_050 tresnet_m selecsls42 xception41 hgnetv2_b0 inception_next_tiny starnet_s1 repvit_m0_9 mambaout_femto dla34
    hrnet_w18_small inception_v3
"""
BRISK = ["efficientnet-b0", "tu-resnet10t"]


def encoder(name):
    import segmentation_models_pytorch as smp

    network = smp.encoders.get_encoder(name, weights=None)
    graph = editable(network)
    nodes = Reading(graph).outputs()
    keep_features(graph, [node for node, channels in zip(nodes, network.out_channels, strict=True) if channels > 3])
    return graph


@pytest.mark.parametrize("name", BRISK)
def test_encoders(name):
    check(vary(encoder(name)), 8, (64, 96))


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [16, 4])
@pytest.mark.parametrize("name", SMP.split() + [f"tu-{name}" for name in TIMM.split()])
def test_encoders_at_two_output_strides(name, output_stride):
    check(vary(encoder(name)), output_stride, (96, 128))


def test_gates_see_the_dilated_map():
    """Not zeroed, the gates of the dilated network are means over more cells: close to the original's, and not equal."""
    network = vary(trunk("mobilenet_v3_small"))
    images = torch.randn(1, 3, 128, 128, dtype=torch.float64)
    with torch.no_grad():
        difference = (dilate(network, 8)(images)[-1][..., ::4, ::4] - network(images)[-1]).abs().max()
    assert 1e-6 < difference < 0.5 * network(images)[-1].abs().max()


# --- against torchvision's own dilation ---


def test_equals_torchvisions_dilated_resnet():
    network = vary(torchvision.models.resnet50())
    theirs = vary(torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True]))
    theirs.load_state_dict(network.state_dict())
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(dilate(network, 8)(images), theirs(images), rtol=1e-9, atol=1e-9)


def test_dilate_first_equals_torchvisions_dilated_mobilenet():
    network = vary(torchvision.models.mobilenet_v3_large())
    theirs = vary(torchvision.models.mobilenet_v3_large(dilated=True))
    theirs.load_state_dict(network.state_dict())
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(dilate(network, 16, dilate_first=True)(images), theirs(images), rtol=1e-9, atol=1e-9)
        assert (dilate(network, 16)(images) - theirs(images)).abs().max() > 1e-5


# --- what comes back, and what is refused ---


def test_the_network_passed_in_is_left_as_it_was():
    network = torchvision.models.resnet18().train()
    network.layer1.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    dilated = fcn.dilate(network, 8)
    assert network.layer4[0].conv1.stride == (2, 2)
    assert network.layer4[1].conv1.dilation == (1, 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert dilated.training
    assert dilated.state_dict().keys() == before.keys()
    assert {name for name, parameter in dilated.named_parameters() if not parameter.requires_grad} == {
        name for name, _ in network.named_parameters() if name.startswith("layer1.")
    }
    own = dilate(network, 32)
    assert own is not network
    assert own.layer4.get_submodule("0").conv1.stride == (2, 2)


@pytest.mark.parametrize("name", ["googlenet", "tu-tf_mixnet_s"])
def test_a_dilated_network_can_be_copied_stored_and_laid_out_anew(name):
    dilated = dilate(vary(encoder(name) if name.startswith("tu-") else trunk(name)), 8)
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = dilated(images)[-1]
        for again in (copy.deepcopy(dilated), stored(dilated), dilated.to(memory_format=torch.channels_last)):
            torch.testing.assert_close(again(images)[-1], expected)


def stored(network):
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_a_dilated_network_can_be_exported_for_any_size():
    dilated = dilate(vary(trunk("squeezenet1_1")), 8).float()
    sides = {2: torch.export.Dim("h", min=2, max=20) * 8, 3: torch.export.Dim("w", min=2, max=20) * 8}
    exported = torch.export.export(dilated, (torch.randn(1, 3, 96, 128),), dynamic_shapes=(sides,)).module()
    images = torch.randn(1, 3, 64, 152)
    torch.testing.assert_close(exported(images)[-1], dilated(images)[-1], rtol=1e-4, atol=1e-4)


def test_impossible_output_strides_are_answered_with_the_possible_ones():
    network = torchvision.models.resnet18()
    for wrong in (64, 3, 0, -8):
        with pytest.raises(ValueError, match=rf"output_stride={wrong} is not possible: the network has stride 32, and can have 1, 2, 4, 8"):
            dilate(network, wrong)
    with pytest.raises(ValueError, match="output_stride=2 is not possible: the network has stride 3, and can have 1, 3"):
        dilate(nn.Sequential(nn.Conv2d(3, 4, 3, 3), nn.ReLU()), 2)
    with pytest.raises(ValueError, match="output_stride=1 is not possible: the network has stride 1/2, and no whole number divides it"):
        dilate(nn.Sequential(nn.ConvTranspose2d(3, 4, 2, 2)), 1)
    with pytest.raises(ValueError, match="output_stride=3 is not possible: the strides of the layers make 2 of it"):
        dilate(nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 3, 3)), 3)


class Then(nn.Module):
    """A stem of stride 4, then one more operation."""

    def __init__(self, last):
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 4, 4, 4), last

    def forward(self, x):
        x = self.stem(x)
        return self.last(x)


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.ones(1, 4, 7, 7))

    def forward(self, x):
        return x + F.interpolate(self.places, size=x.shape[-2:])


def attend(x):
    tokens = x.flatten(2)
    return x + (tokens @ torch.softmax(tokens.transpose(1, 2) @ tokens, -1)).view(x.shape)


@pytest.mark.parametrize(("last", "reason"), [
    (nn.ConvTranspose2d(4, 4, 2, 2), "last cannot be dilated: it is not known to leave every cell in its place"),
    (nn.AdaptiveAvgPool2d(6), "last cannot be dilated: it pools the whole map to 6 x 6 cells"),
    (nn.Upsample(scale_factor=2, mode="bilinear"), "last cannot be dilated: it interpolates a map whose stride has become dilation"),
    (nn.PixelUnshuffle(2), "last cannot be dilated: it is not known to leave every cell in its place"),
    (nn.MaxPool2d(2, return_indices=True), "last cannot be dilated: it returns the places of its maxima"),
    (partial(torch.roll, shifts=1, dims=2), "roll cannot be dilated: it is not known to leave every cell in its place"),
    (partial(F.softmax, dim=3), "softmax cannot be dilated: it works along a spatial axis"),
    (lambda x: x[:, :, :3], "getitem cannot be dilated: it takes a part of the map"),
    (lambda x: x.sum((2, 3)), "sum cannot be dilated: it sums over the whole map"),
    (lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), "pad cannot be dilated: it pads with the opposite border"),
    (lambda x: x.mean(3), "cells are mixed in mean"),
    (lambda x: x * x.shape[-1], "mul cannot be dilated: it computes with the size of a map whose stride has become dilation"),
    (lambda x: x / (x.size(2) * x.size(3)), "truediv cannot be dilated: it computes with the size of a map"),
    (Positions(), r"last \(add\) cannot be dilated: last \(interpolate\) makes a value for each"),
    (lambda x: x + torch.arange(x.shape[-1]).view(1, 1, 1, -1), "add cannot be dilated: view makes a value for each place"),
    (lambda x: F.interpolate(x, size=(x.shape[2] // 2, x.shape[3])), "interpolate cannot be dilated: its size is computed from that of a"),
    (lambda x: x * F.interpolate(F.avg_pool2d(x, 2), size=x.shape[-2:], mode="bilinear"), "interpolate cannot be dilated: it interpolates"),
    (attend, "view cannot be dilated: cells are mixed in matmul"),
])  # fmt: skip
def test_what_cannot_be_dilated_is_refused_by_name(last, reason):
    with pytest.raises(ValueError, match=reason):
        dilate(Then(last), 1)


def test_a_refusal_names_the_layer_by_its_path_and_the_operation_beside_it():
    with pytest.raises(fcn.NotDilatable) as refused:
        dilate(Then(Positions()), 1)
    assert (refused.value.layer, refused.value.operation) == ("last", "add")
    with pytest.raises(fcn.NotDilatable) as refused:
        dilate(Then(lambda x: x * x.shape[-1]), 1)
    assert (refused.value.layer, refused.value.operation) == ("", "mul")


def test_strides_that_no_window_makes_are_refused():
    with pytest.raises(ValueError, match="0 cannot be dilated: it makes a stride of 4 in a way that cannot be undone"):
        dilate(nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 4, 3, 2, 1)), 2)
    assert isinstance(dilate(nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 4, 3, 2, 1)), 4), fx.GraphModule)
