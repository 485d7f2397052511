"""That trainings which are compared start equal: the weights that they share, the samples, their order and their augmentation.

Before its first step, a training is described by hashes of what it is about to use. It is refused where another one of its seed differs in
anything but the up-sampler. What is hashed is taken from the objects of the run itself, not made a second time.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import listed
from fcn.training.batches import Augmented, Plan

SHOWN = 3  # names in a message


def own_names(model: nn.Module) -> set[str]:
    """The names of the parameters and buffers that the up-samplers of ``model`` brought."""
    prefixes = tuple(f"{name}." for name, module in model.named_modules() if hasattr(module, "upsampler"))
    return {name for name in model.state_dict() if name.startswith(prefixes)} if prefixes else set()


def digest(tensors: Iterable[Tensor]) -> str:
    """A hash of the shapes, types and bytes of some tensors."""
    found = hashlib.blake2b(digest_size=12)
    for tensor in tensors:
        found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def shared_weights(model: nn.Module) -> dict[str, str]:
    """A hash of each parameter and buffer that no up-sampler brought, by name."""
    own = own_names(model)
    return {name: digest([tensor]) for name, tensor in model.state_dict().items() if name not in own}


def start_of(model: nn.Module, plan: Plan, samples: Augmented) -> dict[str, Any]:
    """What a training starts from, in plain values: a hash of each shared tensor and the number of steps. Also hashes of the order of all
    samples, and of the first step's augmented images and labels."""
    order = [torch.tensor([plan.order(epoch) for epoch in range(plan.epochs)])]
    if samples.focus is not None:
        order += [torch.tensor([samples.focus.share]), *samples.focus.holders.values()]
    first: list[Tensor] = []
    for place in plan.places(0)[: plan.step_size]:
        sample = samples[place]
        if isinstance(sample, Exception):
            raise sample
        first += sample
    return {
        "shared weights": shared_weights(model),
        "steps": plan.steps,
        "samples of a step": plan.step_size,
        "order of the samples": digest(order),
        "augmented samples of the first step": digest(first),
    }


def check_equal(starts: Mapping[str, Mapping[str, Any]]) -> None:
    """UserError, saying which trainings differ in what, unless all ``starts`` (by the training's name) are equal."""
    names = list(starts)
    for name in names[1:]:
        one, other = starts[names[0]], starts[name]
        different = [key for key in one if one[key] != other.get(key)]
        if not different:
            continue
        what = different[0]
        if what == "shared weights":
            here, there = one[what], other[what]
            tensors = sorted({key for key in {*here, *there} if here.get(key) != there.get(key)})
            what = f"shared weights ({listed(tensors, SHOWN)})"
        raise UserError(
            f"{names[0]} and {name} did not start equal: their {what} differ, so they cannot be compared. Delete their folders in "
            f"cells/, then run all of a seed on one kind of machine with one version of torch"
        )
