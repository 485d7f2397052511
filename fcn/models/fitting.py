"""What is found by trying of a network that ``wrap`` is given: which output is the scores, the divisor of an image's sides, how it ends.

The network is run without data on images of many sizes; where it cannot be, with data on a few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import a_type, first_line
from fcn.graph.image import image_shape
from fcn.graph.networks import at_rest, float_type, without_data
from fcn.models.last_resize import run

DIVISORS = (1, 2, 4, 8, 16, 32, 64, 128, 3, 5, 6, 7, 10, 12, 14, 20, 24, 28, 40, 48, 56, 96, 112)  # in the order in which they are tried
SMALLEST = 256  # pixels, the smallest side that is tried
TRIES = (0, 1, 2, 3, 4, 5, 6, 7, 16, 40, 72)  # multiples of a divisor from the smallest side on: all rests of a division by 8, and farther
# ones, at which a network of large cells has an odd number of them
TRIES_WITH_DATA = (0, 1, 17, 40)

Output = str | int | None


@dataclass(frozen=True)
class Fit:
    """What trying has shown: channels of the scores, divisor of the sides, pixels per cell. Also the number of the last interpolation, and
    "sigmoid" or "softmax", if the network ends in it, and how many other maps it gives."""

    channels: int
    divisor: int
    stride: int
    last: int | None
    ending: str | None
    others: int


def fitting(network: nn.Module, in_channels: int, output: Output, divisor: int | None) -> Fit:
    """Runs the network on images of many sizes, until a divisor is found. Raises UserError where there is none."""
    dtype, device = float_type(network), next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    candidates = DIVISORS if divisor is None else (divisor,)
    with at_rest(network), torch.no_grad():
        try:
            hollow = without_data(network).eval()
            return tried(hollow, in_channels, output, candidates, TRIES, dtype, torch.device("meta"))
        except OutputError:
            raise
        except UserError:  # which running it with data may not meet
            pass
        try:
            return tried(network, in_channels, output, candidates, TRIES_WITH_DATA, dtype, device)
        except OutputError:
            raise
        except UserError as error:
            raise refusal(network, error, in_channels) from error


class OutputError(UserError):
    """What a network gives is no map of scores."""


def refusal(network: nn.Module, error: UserError, in_channels: int) -> UserError:
    """Why no size was found: another number of channels, or what the network itself said."""
    name = type(network).__name__
    taken = image_shape(network, {2: (SMALLEST, SMALLEST)})[1]
    if taken != in_channels and any(module.in_channels != in_channels for module in network.modules() if isinstance(module, nn.Conv2d)):
        return UserError(
            f"mean and std have {in_channels} {'number' if in_channels == 1 else 'numbers'}, and {name} takes images of {taken} "
            f"{'channel' if taken == 1 else 'channels'}; give one number for each"
        )
    return UserError(f"{name} cannot be used: {error}")


def tried(
    network: nn.Module,
    in_channels: int,
    output: Output,
    divisors: Sequence[int],
    tries: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> Fit:
    """The first of ``divisors`` with which the network runs at all ``tries`` and gives whole cells. UserError where there is none."""
    problem = ""
    for divisor in divisors:
        least = -(-SMALLEST // divisor)
        sides = [divisor * (least + extra) for extra in tries]
        strides = set()
        for place, height in enumerate(sides):
            width = sides[(place + 3) % len(sides)]
            try:
                image = torch.zeros(1, in_channels, height, width, dtype=dtype, device=device)
                with torch.device(device):  # tensors that it makes on its way have no data either
                    scores = picked(network(image), output)
            except OutputError:
                raise
            except Exception as error:  # the network's own code runs, and may raise anything
                problem = problem or f"on an image of {width}x{height} pixels it says: {first_line(error)}"
                break
            found = stride_of(scores, height, width)
            if found is None:
                problem = problem or f"it gives {scores.shape[-1]}x{scores.shape[-2]} scores for an image of {width}x{height} pixels"
                break
            strides.add(found)
        else:
            if len(strides) == 1:
                return looked_at(network, output, image, divisor, strides.pop())
            problem = problem or "its cells have another size for each size of the image"
    raise UserError(f"{problem}; give the divisor that its images need, or a module that pads and crops by itself")


def stride_of(scores: Tensor, height: int, width: int) -> int | None:
    """Pixels per cell of scores that cover an image in whole cells; None for others."""
    stride = height // max(scores.shape[-2], 1)
    covers = stride >= 1 and (scores.shape[-2] * stride, scores.shape[-1] * stride) == (height, width)
    return stride if covers else None


def looked_at(network: nn.Module, output: Output, image: Tensor, divisor: int, stride: int) -> Fit:
    """How a network ends that runs on ``image``."""
    with torch.device(image.device):
        given = network(image)
        scores, _, seen = run(network, lambda outputs: picked(outputs, output), image, None)
        for number in range(seen.calls, 0, -1) if stride == 1 else ():  # one to fewer pixels than the image has is not the last
            before, cell, met = run(network, lambda outputs: picked(outputs, output), image, number)
            if cell is not None and not met.is_kept_by(network):
                return Fit(scores.shape[1], divisor, stride, number, met.ending(before), others(given, output))
    return Fit(scores.shape[1], divisor, stride, None, seen.ending(scores), others(given, output))


def picked(given: Any, output: Output) -> Tensor:
    """The scores among what a network gave. Raises OutputError, saying what there is, where they are not found."""
    found = given if output is None else chosen(given, output)
    if output is None and not isinstance(given, Tensor):
        if isinstance(given, Mapping):
            found = next((given[key] for key in ("out", "logits") if key in given), only(list(given.values())))
        elif isinstance(getattr(given, "logits", None), Tensor):
            found = given.logits
        elif isinstance(given, list | tuple):
            found = next(iter(maps_in(given)), None)
    if not isinstance(found, Tensor) or found.dim() != 4 or 0 in found.shape:
        what = f"of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"in {a_type(given)}"
        flat = isinstance(found, Tensor) and found.dim() == 2
        mend = "make a map of this classifier by fcn.convolutionalize(network) first" if flat else "say which with output="
        raise OutputError(f"the network gives no scores (N, K, h, w) but an output {what}{contents(given)}; {mend}")
    return found


def chosen(given: Any, output: str | int) -> Any:
    try:
        return given[output] if isinstance(output, int) or isinstance(given, Mapping) else getattr(given, output)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise OutputError(f"output={output!r} is not among the network's outputs{contents(given)}") from error


def maps_in(given: Any) -> list[Tensor]:
    return [entry for entry in given if isinstance(entry, Tensor) and entry.dim() == 4]


def only(entries: list[Any]) -> Any:
    return entries[0] if len(entries) == 1 else None


def others(given: Any, output: Output) -> int:
    """How many maps there are beside the one that was taken unasked."""
    return max(len(maps_in(given)) - 1, 0) if output is None and isinstance(given, list | tuple) else 0


def contents(given: Any) -> str:
    if isinstance(given, Mapping):
        return f" ({', '.join(map(str, given))})"
    if isinstance(given, list | tuple):
        return f" ({len(given)} of them)"
    names = [name for name, value in vars(given).items() if isinstance(value, Tensor)] if hasattr(given, "__dict__") else []
    return f" ({', '.join(names)})" if names and not isinstance(given, Tensor) else ""
