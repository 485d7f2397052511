"""What a training sees of its split: crops as the settings ask for them, and the classes that it counts for that."""

import logging
from collections.abc import Sequence
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from fcn.core.errors import UserError
from fcn.core.images import ImageKind
from fcn.core.labels import LabelSet
from fcn.core.names import listed, said
from fcn.data.balance import Balance, counted, from_state
from fcn.data.changes import Blur, Cutout, Noise
from fcn.data.named_transforms import NamedTransforms
from fcn.data.split import Split
from fcn.data.transforms import Change, ColorJitter, TrainingTransform
from fcn.tools.settings import AugmentConfig
from fcn.tools.train.settings import TrainConfig
from fcn.training.focus import Focus

log = logging.getLogger(__name__)


def training_transform(augment: AugmentConfig, images: ImageKind, labels: LabelSet, fill: Sequence[float]) -> TrainingTransform:
    """The crops that the settings ask for. images: of what kind. fill: colour of what lies outside of one, a value for each channel."""
    fill = [round(value) for value in fill] if images.dtype == "uint8" else fill
    after: list[Change] = []
    after += [Blur(augment.blur)] if augment.blur else []
    after += [Noise(augment.noise, [high - low for low, high in images.ranges])] if augment.noise else []
    if augment.transforms:
        after.append(NamedTransforms(augment.transforms, (augment.crop_size, augment.crop_size), fill, images, void=labels.void))
    after += [Cutout(augment.cutout, fill)] if augment.cutout else []
    return TrainingTransform(
        augment.crop_size,
        scale=(augment.scale[0], augment.scale[1]),
        flip=augment.flip,
        flip_vertical=augment.flip_vertical,
        quarter_turns=augment.quarter_turns,
        rotation=augment.rotation,
        color=coloring(augment, images),
        fill=fill,
        after=after,
    )


def coloring(config: AugmentConfig, images: ImageKind) -> ColorJitter | None:
    """The change of colours, which RGB images have; for all others it is left out, with a note."""
    color = ColorJitter(config.brightness, config.contrast, config.saturation, config.hue)
    if color == ColorJitter(0, 0, 0, 0):
        return None
    if not images.is_rgb:
        names = ", ".join(said(f"augment.{name}") for name in ("brightness", "contrast", "saturation", "hue"))
        log.warning("note: %s change RGB images of 8 bits, and these are of %s: they are left out", names, images)
        return None
    return color


def balance_of(
    config: TrainConfig, training: Split, accelerator: Accelerator, resumed: dict[str, Any] | None, *, progress: bool
) -> Balance | None:
    """The pixels of each class in the training split, where the settings need them. A run that goes on has them from its checkpoint."""
    if config.loss.arguments()["class_weights"] != "auto" and not config.augment.focus:
        return None
    for name in config.augment.focus_classes or ():
        training.labels.index(name)  # refused before all label maps are read
    classes = training.labels.num_classes
    if resumed:
        return from_state(resumed.get("balance"), classes, len(training), f"{config.resume}/last.pt")
    found = [counted(training, progress=progress).state() if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    return from_state(found[0], classes, len(training), "the training split")


def auto_weights(balance: Balance, labels: LabelSet) -> list[float]:
    """The class weights that stand for "auto", which are told."""
    weights = balance.weights
    log.info("class weights: %s", ", ".join(f"{name} {weight:.3g}" for name, weight in zip(labels.names, weights, strict=True)))
    return weights


def focus_of(augment: AugmentConfig, balance: Balance, labels: LabelSet) -> Focus | None:
    """What the settings put into focus. Raises UserError where that is nothing."""
    if not augment.focus:
        return None
    classes = balance.rare if augment.focus_classes is None else [labels.index(name) for name in augment.focus_classes]
    absent = [labels.names[index] for index in classes if not len(balance.holders[index])]
    if absent:
        raise UserError(f"no training mask holds {listed(absent, 8)}; leave it out of {said('augment.focus_classes')}")
    if not classes:
        raise UserError(
            f"{said('augment.focus', augment.focus)} finds no rare class: all have as many pixels; "
            f"name some, as {said('augment.focus_classes', list(labels.names[:1]))}, or leave it out"
        )
    log.info("%.0f %% of the crops hold one of: %s", 100 * augment.focus, listed([labels.names[index] for index in classes], 30))
    return Focus(augment.focus, {index: balance.holders[index] for index in classes})
