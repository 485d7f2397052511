"""The training of one network on two splits: all that ``fcn train`` and ``fcn.train`` have in common."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator

from fcn.core.errors import UserError
from fcn.core.files import remove_unfinished, written
from fcn.core.images import ImageKind
from fcn.core.names import said
from fcn.data.measured import measured
from fcn.data.split import Split
from fcn.data.transforms import ColorJitter, TrainingTransform
from fcn.data.visible import words
from fcn.inference.strategies import create_strategy
from fcn.models.segmenter import Segmenter
from fcn.tools.folders import new_folder
from fcn.tools.hardware import environment, hardware
from fcn.tools.settings import AugmentConfig
from fcn.tools.train.settings import TrainConfig
from fcn.training.batches import Plan, Transform
from fcn.training.checkpoint import spec_words
from fcn.training.devices import place
from fcn.training.losses import SegmentationLoss
from fcn.training.optim import create_optimizer, create_schedule
from fcn.training.state import State, moving_average
from fcn.training.train import run_training
from fcn.training.workers import tell_of_little_shared_memory

log = logging.getLogger(__name__)

Started = Callable[[Path, Segmenter, Plan, Split, Transform], None]


def fit(
    config: TrainConfig,
    accelerator: Accelerator,
    model: Segmenter,
    training: Split,
    validation: Split,
    *,
    resumed: dict[str, Any] | None,
    weights: str,
    settings: dict[str, Any] | None,
    facts: dict[str, Any],
    started: Started | None = None,
    progress: bool = True,
) -> tuple[Path, float]:
    """Train ``model`` in place; the run's folder and the best mIoU on ``validation``.

    config: of which the parts model, backbone, upsample and data are not read. resumed: what ``last.pt`` of ``config.resume`` holds.
    weights: what the model starts from, in a word. settings: written to ``config.yaml``. facts: plain values for the checkpoints.
    started: see ``run``.
    """
    begin = time.monotonic()
    check_batch(config, model)
    plan = Plan(
        len(training), config.batch_size, config.epochs, accumulate=config.accumulate, processes=accelerator.num_processes, seed=config.seed
    )
    transform = TrainingTransform(
        config.augment.crop_size,
        scale=(config.augment.scale[0], config.augment.scale[1]),
        flip=config.augment.flip,
        flip_vertical=config.augment.flip_vertical,
        quarter_turns=config.augment.quarter_turns,
        color=coloring(config.augment, model.images),
        fill=[255 * mean for mean in model.backbone.mean],
    )
    loss = SegmentationLoss(training.labels.num_classes, **config.loss.arguments())
    if config.sync_batchnorm and accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model = place(model, accelerator, channels_last=config.channels_last)
    optimizer = create_optimizer(config.optim.name, model, **config.optim.options())
    schedule = create_schedule(config.schedule.name, plan.steps, **config.schedule.options())
    strategy = create_strategy(config.inference.name, **config.inference.options())
    state = State(model, optimizer, moving_average(model, config.ema) if config.ema else None)
    if resumed:
        state.restore(resumed, plan, f"{config.resume}/last.pt")
    folder = run_folder(config, accelerator, settings)
    assert model.spec is not None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log.info("%s: %.1f M parameters, %s weights", spec_words(model.spec), parameters / 1e6, weights)
    log.info("%s; writing to %s", hardware(accelerator), folder)
    each = model.images.channels * (1 if model.images.dtype == "uint8" else 4) + 1  # bytes of a pixel and its label
    tell_of_little_shared_memory(config.batch_size * config.augment.crop_size**2 * each, config.workers)
    if started is not None and not resumed:
        started(folder, model, plan, training, transform)
    best = run_training(
        state,
        training,
        validation,
        plan=plan,
        transform=transform,
        loss=loss,
        schedule=schedule,
        strategy=strategy,
        accelerator=accelerator,
        folder=folder,
        clip_norm=config.clip_norm,
        workers=config.workers,
        validate_every=config.validate_every,
        patience=config.patience,
        save_seconds=config.save_seconds,
        tensorboard=config.tensorboard,
        progress=progress,
        facts=facts,
    )
    log.info("best mIoU %.4f after %.0f s: %s", best, time.monotonic() - begin, folder / "best.pt")
    return folder, best


def measure_images(model: Segmenter, training: Split, *, progress: bool = True) -> None:
    """Let a model that takes other images than RGB know their mean, deviation and range, from the training split; and say what was found.
    One that knows them already keeps its own: its weights go with them."""
    if model.images.measured:
        return
    images = measured(training, progress=progress)
    model.take(images)
    found = ", ".join(f"{mean:.4g} ({std:.4g})" for mean, std in zip(images.mean, images.std, strict=True))
    log.info("images of %s; mean (deviation) of each, measured: %s", images, found)
    log.info("%s", words(images))


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


def check_batch(config: TrainConfig, model: Segmenter) -> None:
    """Raises UserError where a batch leaves batch norm one cell, of which there is no variance."""
    cells = config.batch_size * math.ceil(config.augment.crop_size / model.backbone.strides[-1]) ** 2
    if cells == 1 and any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()):
        raise UserError(
            f"batch_size=1 with {said('augment.crop_size', config.augment.crop_size)} leaves one cell at stride "
            f"{model.backbone.strides[-1]}, of which batch norm cannot take a variance; give a larger batch or crop"
        )


def run_folder(config: TrainConfig, accelerator: Accelerator, settings: dict[str, Any] | None) -> Path:
    """The folder of a run: that of the one that goes on, without what was left half-written, or a new one with what the run starts from."""
    if config.resume:
        folder = Path(config.resume)
        if accelerator.is_main_process:
            remove_unfinished(folder)
        return folder
    folder = new_folder("train", config.output, accelerator)
    if accelerator.is_main_process:
        if settings is not None:
            with written(folder / "config.yaml") as temporary:
                temporary.write_text(yaml.safe_dump(settings, sort_keys=False))
        with written(folder / "environment.txt") as temporary:
            temporary.write_text(environment(accelerator))
    return folder
