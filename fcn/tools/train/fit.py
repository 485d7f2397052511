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
from fcn.core.names import said
from fcn.data.measured import measured
from fcn.data.split import Split
from fcn.data.visible import words
from fcn.inference.strategies import create_strategy
from fcn.models.backbones.freezing import frozen_share
from fcn.models.segmenter import Segmenter
from fcn.models.spec import spec_words
from fcn.tools.folders import new_folder
from fcn.tools.hardware import environment, hardware
from fcn.tools.train.samples import auto_weights, balance_of, focus_of, training_transform
from fcn.tools.train.settings import TrainConfig
from fcn.training.batches import Augmented, Plan
from fcn.training.devices import place
from fcn.training.hooks import NO_HOOKS, Hooks
from fcn.training.losses import SegmentationLoss
from fcn.training.metrics import percent
from fcn.training.optim import create_optimizer, create_schedule
from fcn.training.state import State, moving_average
from fcn.training.train import run_training
from fcn.training.workers import tell_of_little_shared_memory

log = logging.getLogger(__name__)

Started = Callable[[Path, Segmenter, Plan, Augmented], None]


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
    hooks: Hooks = NO_HOOKS,
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
    transform = training_transform(config.augment, model.images, training.labels, [255 * mean for mean in model.backbone.mean])
    arguments, focus = config.loss.arguments(), None
    balance = balance_of(config, training, accelerator, resumed, progress=progress)
    if balance is not None:
        facts = facts | {"balance": balance.state()}
        if arguments["class_weights"] == "auto":
            arguments["class_weights"] = auto_weights(balance, training.labels)
        focus = focus_of(config.augment, balance, training.labels)
    samples = Augmented(training, transform, plan.seed, focus)
    loss = SegmentationLoss(training.labels.num_classes, **arguments)
    if config.sync_batchnorm and accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model = place(model, accelerator, channels_last=config.channels_last)
    optimizer = create_optimizer(config.optim.name, model, **config.optim.options())
    schedule = create_schedule(config.schedule.name, plan.steps, **config.schedule.options())
    strategy = create_strategy(config.inference.name, **config.inference.options())
    state = State(model, optimizer, moving_average(model, config.ema) if config.ema else None)
    if resumed:
        state.restore(resumed, plan, f"{config.resume}/last.pt")
        if state.step == plan.steps and not Path(str(config.resume), "best.pt").is_file():
            raise UserError(f"{config.resume} is finished and its best.pt is gone; last.pt holds the weights of the last step: give that")
    folder = run_folder(config, accelerator, settings)
    assert model.spec is not None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    share = frozen_share(model)
    frozen = f", {share:.0%} of them frozen" if share else ""
    log.info("%s: %.1f M parameters%s, %s weights", spec_words(model.spec), parameters / 1e6, frozen, weights)
    log.info("%s; writing to %s", hardware(accelerator), folder)
    bytes_of_image, bytes_of_label = (1 if kind == "uint8" else 4 for kind in (model.images.dtype, training.labels.dtype))
    each = model.images.channels * bytes_of_image + bytes_of_label  # bytes of a pixel
    tell_of_little_shared_memory(config.batch_size * config.augment.crop_size**2 * each, config.workers)
    if started is not None and not resumed:
        started(folder, model, plan, samples)
    best = run_training(
        state,
        samples,
        validation,
        plan=plan,
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
        tracker=config.tracker,
        compile=config.compile,
        gradient_checkpointing=config.gradient_checkpointing,
        hooks=hooks,
        progress=progress,
        settings=settings or facts.get("settings"),
        facts=facts,
    )
    log.info("best mIoU %s after %.0f s: %s", percent(best).strip(), time.monotonic() - begin, folder / "best.pt")
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


def check_batch(config: TrainConfig, model: Segmenter) -> None:
    """Raises UserError where a batch leaves batch norm one cell, of which there is no variance."""
    cells = config.batch_size * math.ceil(config.augment.crop_size / model.backbone.strides[-1]) ** 2
    if cells == 1 and any(isinstance(module, torch.nn.BatchNorm2d) and module.training for module in model.modules()):
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
