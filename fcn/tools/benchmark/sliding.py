"""A classifier in sliding windows, one by one and in batches, against the network unrolled over the image, and dilated for a finer step.

Windows are independent and cost the same, so that some of them are timed, spread evenly over the image, and the time is scaled up to all.
Agreement is that of these windows' scores with the dense network's at the same places. Networks with padding answer differently inside an
image than in a window, round which padding takes the place of the image: there it is a finding and not an error.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.graph.read import read_graph
from fcn.rewrite.convolutionalize import convolutionalize
from fcn.rewrite.dilate import dilate, rewrite
from fcn.rewrite.editable import editable
from fcn.tools.benchmark.rows import Row, Section
from fcn.tools.measure import measured, time_in_turns
from fcn.tools.windows import cutting, grid, in_windows, spread_evenly

CLASSES = 1000
VALID = "_valid"  # the ending of a name: the network without any padding


def sliding_rows(
    name: str, *, size: int, strides: Sequence[int], device: torch.device, dtype: torch.dtype, channels_last: bool, windows: int, turns: int
) -> Section:
    """For the classifier ``name`` of torchvision, with random weights, on a (size, size) image: a case for each window stride.

    windows: how many are timed. Raises UserError where the image is smaller than a window.
    """
    classifier, window = network(name)
    if size < window:
        raise UserError(f"an image of {size} pixels a side is smaller than the window of {name}, {window} pixels; give a larger one")
    place = partial(placed, device=device, dtype=dtype, channels_last=channels_last)
    picture = place(image(size))
    unrolled = dense(name, classifier)
    own = cell_stride(unrolled)
    for step in strides:
        if own % step:
            raise UserError(f"{name} has stride {own}, and windows {step} pixels apart stand on no grid of it; give a divisor of {own}")
    classifier = place(classifier)
    window_macs, image_macs = multiply_adds(classifier, window), multiply_adds(unrolled, size)
    batch = best_batch(classifier, picture, grid((size, size), (window, window), min(strides)), window, device.type == "cuda")
    windows = max(windows // batch, 1) * batch
    rows = []
    for step in strides:
        places = grid((size, size), (window, window), step)
        sample = spread_evenly(places, windows)
        network_at, way = (unrolled, "unrolled") if step == own else (dilate(unrolled, step), "dilated")
        share = len(places) / len(sample)
        scaled = f"scaled up from {len(sample)} of {len(places)}" if share > 1 else ""
        costs = {  # by way: how many times what is timed, multiply-adds, and what is to be known
            f"windows, {batch} at a time": (share, len(places) * window_macs, scaled),
            "windows, one by one": (share, len(places) * window_macs, scaled),
            way: (1.0, multiply_adds(network_at, size), ""),
        }
        if step == 1:
            shifts = len({(row % own, column % own) for row, column in sample})
            costs["shift-and-stitch"] = (own**2 / shifts, own**2 * image_macs, f"scaled up from {shifts} of {own**2}")
        settings = (name, size, step, windows, batch, str(device), dtype, channels_last)
        times = measured({way: (make, (way, *settings)) for way in costs}, turns=turns, on_gpu=device.type == "cuda")
        agreeing: dict[str, Callable[[], Tensor]] = {
            way: partial(cells, place(network_at), picture, sample, step),
            "shift-and-stitch": partial(cells, place(unrolled), picture, sample, own),
        }
        expected = in_windows(classifier, cutting(picture, (window, window)), sample, 1)
        case = f"{name}, {size}x{size}, a {window}-pixel window every {'pixel' if step == 1 else f'{step} pixels'}"
        for way, (share, macs, note) in costs.items():
            row = Row.of(case, way, times[way], share=share, macs=macs, note=note)
            if way in agreeing and row.seconds is not None:
                found = agreeing[way]()
                row.difference = ((found - expected).abs().max() / (expected.max() - expected.min())).item()
                row.equal = (found.argmax(1) == expected.argmax(1)).float().mean().item()
            rows.append(row)
    title = f"Sliding windows against the {'unrolled network' if len(strides) == 1 else 'unrolled and the dilated network'}: {name}"
    padding = "no padding: equal up to rounding" if name.endswith(VALID) else "padded as it is: windows differ from the inside of an image"
    return Section(title, rows, f"Random weights; {padding}. Memory: of one batch of windows, or of the pass.")


# --- networks ---


def network(name: str) -> tuple[nn.Module, int]:
    """The classifier as a function of a window, (N, 3, w, w) to scores (N, classes), and the side of its window."""
    import torchvision

    torch.manual_seed(0)
    plain = name.removesuffix(VALID)
    try:
        options = {"init_weights": False} if plain.startswith(("vgg", "googlenet", "inception")) else {}
        classifier: nn.Module = torchvision.models.get_model(plain, weights=None, **options).eval()
    except ValueError as error:
        raise UserError(f"{plain} is no classifier of torchvision; networks= takes names as vgg16, resnet50, vgg16{VALID}") from error
    if not name.endswith(VALID):
        return classifier, 224
    return without_padding(classifier, plain)


def without_padding(classifier: nn.Module, name: str) -> tuple[nn.Module, int]:
    """The features of a VGG or an AlexNet without padding, a 1x1 classifier on the one cell that a window of their field gives."""
    features = getattr(classifier, "features", None)
    if not isinstance(features, nn.Sequential) or not all(type(part) in (nn.Conv2d, nn.ReLU, nn.MaxPool2d) for part in features):
        raise UserError(f"{name}{VALID}: only plain sequences of convolutions and pools can do without padding; give vgg11 to vgg19")
    window = 1
    for part in reversed(features):
        if isinstance(part, nn.Conv2d):
            part.padding = (0, 0)
        if isinstance(part, nn.Conv2d | nn.MaxPool2d):
            kernel, step = (value if isinstance(value, int) else value[0] for value in (part.kernel_size, part.stride))
            window = (window - 1) * step + kernel
    channels = [part.out_channels for part in features if isinstance(part, nn.Conv2d)][-1]
    return nn.Sequential(*features, nn.Conv2d(channels, CLASSES, 1), nn.Flatten(1)).eval(), window


def dense(name: str, classifier: nn.Module) -> nn.Module:
    """The classifier unrolled: a cell for every window."""
    if name.endswith(VALID):
        return nn.Sequential(*list(classifier.children())[:-1]).eval()
    return convolutionalize(classifier, dense="window").eval()


def cell_stride(unrolled: nn.Module) -> int:
    """Pixels between the windows of neighbouring cells."""
    return int(rewrite(editable(unrolled), None).stride())


def placed(item: Any, *, device: torch.device, dtype: torch.dtype, channels_last: bool) -> Any:
    moved = item.to(device, dtype)
    return moved.to(memory_format=torch.channels_last) if channels_last else moved


def multiply_adds(network: nn.Module, size: int) -> int:
    return sum(node.macs for node in read_graph(network, (size, size)))


# --- images and windows ---


def image(size: int) -> Tensor:
    """A smooth random image (1, 3, size, size) with some noise, of mean 0 and deviation about 1."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 3, ceil(size / 24), ceil(size / 24), generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return smooth + 0.2 * torch.randn(1, 3, size, size, generator=generator)


def best_batch(classifier: nn.Module, picture: Tensor, places: list[tuple[int, int]], window: int, on_gpu: bool) -> int:
    """The batch, a power of two from 2 on, in which a window takes the least time; larger ones are tried while that falls."""
    best, fastest = 2, float("inf")
    for batch in (2**power for power in range(1, len(places).bit_length())):
        call = partial(in_windows, classifier, cutting(picture, (window, window)), spread_evenly(places, batch), batch)
        seconds = time_in_turns({"": call}, turns=3, on_gpu=on_gpu)[""].low / batch
        if seconds > fastest:
            break
        best, fastest = batch, seconds
    return best


@torch.inference_mode()
def cells(network: nn.Module, picture: Tensor, places: Sequence[tuple[int, int]], stride: int) -> Tensor:
    """Scores (places, classes) of a dense network of that stride for windows at ``places``. They come from one pass over the image. Places
    between its cells take a pass over each shifted image in which some of them stand."""
    passes: dict[tuple[int, int], Tensor] = {}
    found = []
    for row, column in places:
        shift = row % stride, column % stride
        if shift not in passes:
            passes[shift] = network(picture[..., shift[0] :, shift[1] :])[0]
        found.append(passes[shift][:, row // stride, column // stride])
    return torch.stack(found)


def make(
    way: str, name: str, size: int, step: int, windows: int, batch: int, device: str, dtype: torch.dtype, channels_last: bool
) -> Callable[[], Any]:
    """One way, to be measured in a process of its own: some windows, the dense network over the image, or some of its shifts."""
    place = partial(placed, device=torch.device(device), dtype=dtype, channels_last=channels_last)
    classifier, window = network(name)
    picture = place(image(size))
    places = spread_evenly(grid((size, size), (window, window), step), windows)
    if way.startswith("windows"):
        return partial(in_windows, place(classifier), cutting(picture, (window, window)), places, 1 if "one by one" in way else batch)
    unrolled = dense(name, classifier)
    if way == "shift-and-stitch":
        return partial(cells, place(unrolled), picture, places, cell_stride(unrolled))
    return partial(cells, place(dilate(unrolled, step) if way == "dilated" else unrolled), picture, places, step)
