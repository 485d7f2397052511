"""Windows that are cropped by what the network sees, as measured: equal to one pass, or refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fcn
from fcn.core.errors import UserError
from fcn.inference.halo import SMALLEST, Halo, Pictures, measure, spans
from fcn.inference.strategies import create_strategy
from tests.inference.networks import BLOCKS, Block, PaddedUNet, Trunk
from tests.inference.stream.compare import lively


def wrapped(network):
    return fcn.wrap(lively(network).float(), mean=0.5, std=0.25).eval()


def picture(height, width):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def known(*kernels):
    """A chain of convolutions whose field follows from its kernels and strides (Araujo et al. 2019), with positive weights."""
    layers, channels = [], 3
    for kernel, stride in kernels:
        layers += [nn.Conv2d(channels, 4, kernel, stride, kernel // 2), nn.ReLU()]
        channels = 4
    total = 1
    for _, stride in kernels:
        total *= stride
    up = [nn.Upsample(scale_factor=total, mode="nearest")] if total > 1 else []
    network = nn.Sequential(*layers, *up).double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.1, 1)
    return network


@pytest.mark.parametrize(
    ("kernels", "reach", "step"),
    [([(3, 1)], 1, 1), ([(3, 1), (5, 1)], 3, 1), ([(3, 2), (3, 1)], 4, 2), ([(3, 2), (3, 2), (3, 1)], 10, 4)],
)
def test_the_halo_is_what_the_formula_says(kernels, reach, step):
    """A cell of stride s shows s pixels: the field's reach beyond its own cell is between what the formula says and a step more."""
    network = known(*kernels)

    def compute(cut):
        with torch.no_grad():
            return network(cut.double())

    image = torch.randint(0, 256, (3, 256, 256), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    halo = measure(compute, Pictures(image), 1, SMALLEST)
    assert halo.step == step
    assert reach - step < halo.pixels - step <= reach + step


@pytest.mark.parametrize("length", [1, 99, 100, 101, 350])
def test_windows_keep_every_pixel_once_and_see_enough(length):
    halo = Halo(12, 4)
    found = spans(length, 100, halo)
    assert [pixel for _, _, first, last in found for pixel in range(first, last)] == list(range(length))
    for begin, end, first, last in found:
        assert begin % halo.step == 0
        assert end - begin <= 100
        assert begin == 0 or first - begin >= halo.pixels
        assert end == length or end - last >= halo.pixels


def branching(layers, x):
    return x if x.abs().mean() > 0 else -x


TRUNKS = [lambda: Trunk(Block(branching)), lambda: Trunk(BLOCKS["reflection padding"]())]  # of the first, no graph can be read


@pytest.mark.parametrize("make", TRUNKS)
def test_windows_are_one_pass(make):
    model = wrapped(make())
    image = picture(192, 256)
    found = create_strategy("windows", overlap="exact", size=100)(model, image)
    with torch.no_grad():
        logits = model(model.normalize(image[None]))[0]
    first, second = logits.topk(2, 0).values
    assert torch.equal(found.long()[first - second > 1e-4], logits.argmax(0)[first - second > 1e-4])


@pytest.mark.parametrize("make", TRUNKS)
def test_scores_that_follow_the_size_of_the_image_are_refused(make):
    """The last resize is by no whole factor where 4 does not divide the sides."""
    message = "depend on the whole image or its size; use overlap=0.5, or an image with sides that are multiples of"
    with pytest.raises(UserError, match=message):
        create_strategy("windows", overlap="exact", size=100)(wrapped(make()), picture(200, 133))


@pytest.mark.slow
def test_a_network_that_pads_to_match_is_one_pass():
    model = wrapped(PaddedUNet())
    image = picture(201, 277)
    found = create_strategy("windows", overlap="exact", size=168)(model, image)
    assert torch.equal(found, create_strategy("whole")(model, image))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trunk(BLOCKS["squeeze and excitation"]()), "apart still change each other's scores, which windows of 100 pixels"),
        (lambda: Trunk(BLOCKS["coordinates"]()), "do not move along with the image"),
        (lambda: Trunk(nn.Conv2d(8, 8, 9, padding=32, dilation=8)), "apart still change|is too small for overlap='exact'"),
    ],
)
def test_what_windows_cannot_give_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        create_strategy("windows", overlap="exact", size=100)(wrapped(make()), picture(192, 256))


def slope():
    """A picture (3, 260, 300) that becomes brighter from one corner to the other, unlike noise."""
    places = torch.arange(260)[:, None] + torch.arange(300)
    return (places * 255 // 560).to(torch.uint8).expand(3, -1, -1)


def stretched(windows):
    """Scores of windows whose values are stretched to 0..1 first."""
    low, high = windows.float().amin((1, 2, 3), keepdim=True), windows.float().amax((1, 2, 3), keepdim=True)
    light = F.avg_pool2d((windows - low) / (high - low).clamp_min(1e-6), 31, 1, 15).mean(1, keepdim=True)
    return torch.cat([0.5 - light, light - 0.5], 1)


def of_two_minds(windows):
    blurred = F.avg_pool2d(windows.float(), 9, 1, 4).mean(1, keepdim=True) - 100
    scores = torch.cat([blurred, -blurred], 1)
    return scores if windows.float().mean() > 100 else -scores


@pytest.mark.parametrize("network", [stretched, of_two_minds])
def test_what_noise_does_not_show_the_image_does(network):
    """Each window of noise has the same mean and the same range as all of it; windows of a photograph have not."""
    with pytest.raises(UserError, match="overlap='exact' is not possible"):
        create_strategy("windows", overlap="exact", size=128)(network, slope())


def test_a_branch_that_only_bright_places_wake_is_measured():
    def network(windows):
        light = windows.float().mean(1, keepdim=True) / 255
        far = F.relu(F.avg_pool2d(light, 61, 1, 30) - 0.8) * 20
        near = F.avg_pool2d(light, 9, 1, 4) - 0.5
        return torch.cat([near - far, 0 * near], 1)

    image = (slope().int() + 90).clamp_max(255).to(torch.uint8)
    found = create_strategy("windows", overlap="exact", size=100)(network, image)
    assert torch.equal(found.long(), network(image[None])[0].argmax(0))


def test_a_function_of_a_user_is_measured_too():
    kernel = torch.ones(3, 1, 5, 5)

    def blur(cut):
        return F.conv2d(F.pad(cut.float(), (2, 2, 2, 2)), kernel, groups=3)

    image = picture(150, 170)
    found = fcn.predict(blur, image.permute(1, 2, 0).numpy(), strategy="windows", overlap="exact", size=64)
    assert torch.equal(torch.from_numpy(found).long(), blur(image[None])[0].argmax(0))


def test_the_word_is_checked():
    with pytest.raises(UserError, match=r"overlap=.?all.? is not allowed; overlap is .*, or 'exact'"):
        create_strategy("windows", overlap="all")
    with pytest.raises(UserError, match=r"overlap=1.5 is not allowed"):
        create_strategy("windows", overlap=1.5)
