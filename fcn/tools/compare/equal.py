"""That trainings which are compared start equal: the weights that they share, the samples, their order and their augmentation.

Before its first step, a training is described by hashes of what it is about to use. It is refused where another one of its seed differs in
anything that what is compared leaves alone. With another up-sampler all but its own weights must be equal. With another backbone no weight
can be, and the samples must. What is hashed is taken from the objects of the run itself, not made a second time.
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
APART = "no name in common"

BACKBONE = "weights of the backbone"
DECODER = "weights of the decoder"
STEPS = "number of steps"
STEP_SIZE = "samples of a step"
ORDER = "order of the samples"
AUGMENTED = "augmented samples of the first step"
KINDS = (BACKBONE, DECODER, STEPS, STEP_SIZE, ORDER, AUGMENTED)  # of what is checked

DIFFERENT = {  # by a setting that is compared, or the part or section that it is of: what cannot be equal then
    "model": (DECODER,),
    "model.weights": (BACKBONE, DECODER),
    "backbone": (BACKBONE, DECODER),
    "augment": (AUGMENTED,),
    "augment.focus": (AUGMENTED, ORDER),
    "augment.focus_classes": (AUGMENTED, ORDER),
    "epochs": (STEPS, ORDER),
    "batch_size": (STEPS, STEP_SIZE, AUGMENTED),
    "accumulate": (STEPS, STEP_SIZE, AUGMENTED),
    "data": (STEPS, STEP_SIZE, ORDER, AUGMENTED),
}


def cannot_be_equal(keys: Iterable[str]) -> dict[str, str]:
    """What cannot be equal between trainings that differ in these settings, and the setting that it is due to."""
    return {kind: key for key in keys for kind in DIFFERENT.get(key, DIFFERENT.get(key.partition(".")[0], ()))}


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


def shared_weights(model: nn.Module) -> dict[str, dict[str, str]]:
    """A hash of each parameter and buffer that no up-sampler brought, by name: those of the backbone, and the rest."""
    own = own_names(model)
    found: dict[str, dict[str, str]] = {BACKBONE: {}, DECODER: {}}
    for name, tensor in model.state_dict().items():
        if name not in own:
            found[BACKBONE if name.startswith("backbone.") else DECODER][name] = digest([tensor])
    return found


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
        **shared_weights(model),
        STEPS: plan.steps,
        STEP_SIZE: plan.step_size,
        ORDER: digest(order),
        AUGMENTED: digest(first),
    }


def unequal(one: Mapping[str, Any], other: Mapping[str, Any], *, common: bool = False) -> dict[str, str]:
    """What differs between two starts, in words by kind.

    common: of the backbones compare only the weights whose names both have, as of other networks; where there are none, they differ.
    """
    found = {}
    for kind, value in one.items():
        theirs = other.get(kind)
        if isinstance(value, Mapping) and isinstance(theirs, Mapping):
            both = value.keys() & theirs.keys() if common and kind == BACKBONE else value.keys() | theirs.keys()
            names = sorted(name for name in both if value.get(name) != theirs.get(name))
            if not both and value:
                found[kind] = f"{kind} ({APART})"
            elif names:
                found[kind] = f"{kind} ({listed(names, SHOWN)})"
        elif value != theirs:
            found[kind] = kind
    return found


def check_equal(starts: Mapping[str, Mapping[str, Any]], differing: Iterable[str] = ()) -> None:
    """UserError, saying which trainings differ in what, unless all ``starts`` (by the training's name) are equal to the first.

    differing: settings that they differ in; what cannot be equal then is left out.
    """
    names, free = list(starts), cannot_be_equal(differing)
    for name in names[1:]:
        found = unequal(starts[names[0]], starts[name], common=DECODER in free)
        different = [words for kind, words in found.items() if kind not in free and not (APART in words and DECODER in free)]
        if different:
            raise UserError(
                f"{names[0]} and {name} did not start equal: their {different[0]} differ, so they cannot be compared. Delete their folders "
                f"in cells/, then run all of a seed on one kind of machine with one version of torch"
            )
