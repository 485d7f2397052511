"""``fcn train``: from a checked configuration to a trained network in a folder."""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fcn.core.errors import UserError
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.hardware import environment, hardware
from fcn.tools.parts import load_splits, look_at, model_of
from fcn.tools.train.resume import check_same, read_last
from fcn.tools.train.settings import TrainConfig

if TYPE_CHECKING:
    from fcn.data.split import Split
    from fcn.models.segmenter import Segmenter
    from fcn.training.batches import Plan, Transform

    Started = Callable[[Path, Segmenter, Plan, Split, Transform], None]

log = logging.getLogger(__name__)


def run(config: TrainConfig, *, started: "Started | None" = None) -> int:
    """Train a network and leave its checkpoints, curves and samples in a folder.

    started: called once the run's folder is there, before the first step of a run that begins (not of one that goes on).
    """
    import torch
    import yaml

    from fcn.core.files import remove_unfinished, written
    from fcn.data.transforms import ColorJitter, TrainingTransform
    from fcn.inference.strategies import create_strategy
    from fcn.models.backbones import backbone_part
    from fcn.training.batches import Plan
    from fcn.training.checkpoint import model_from_state, spec_words
    from fcn.training.devices import create_accelerator, place
    from fcn.training.losses import SegmentationLoss
    from fcn.training.optim import create_optimizer, create_schedule
    from fcn.training.state import State, moving_average
    from fcn.training.train import train as run_training
    from fcn.training.workers import tell_of_little_shared_memory

    begin = time.monotonic()
    accelerator = create_accelerator(config.device, config.precision)
    if config.resume is None:
        refuse_used(config.output)
    if config.tensorboard and find_spec("tensorboard") is None:
        raise UserError('tensorboard=true needs the package tensorboard; pip install "fcn-toolkit[tensorboard]", or leave it out')
    if hasattr(config.data, "root"):
        config.data.root = os.path.abspath(config.data.root)  # the run is scored and resumed from other folders as well
    resumed = read_last(Path(config.resume)) if config.resume else None
    backbone_part(config.backbone.name)  # which answers a wrong word, before the data is read
    with accelerator.main_process_first():  # which downloads and checks
        training, validation = load_splits(asdict(config.data), *(config.data.options()[split] for split in ("train", "val")))
        if accelerator.is_main_process and not resumed:
            look_at(config.data, training, validation)
    torch.manual_seed(config.seed)
    classes = training.labels.num_classes
    if resumed:
        check_same(config, resumed, training.labels)
        model = model_from_state(resumed, f"{config.resume}/last.pt").train()
    else:
        model = model_of(config.model, config.backbone, config.upsample, classes, training.labels.names)
    model.labels = training.labels
    cells = config.batch_size * math.ceil(config.augment.crop_size / model.backbone.strides[-1]) ** 2
    if cells == 1 and any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()):
        raise UserError(
            f"batch_size=1 with augment.crop_size={config.augment.crop_size} leaves one cell at stride {model.backbone.strides[-1]}, "
            f"of which batch norm cannot take a variance; give a larger batch or crop"
        )
    plan = Plan(
        len(training), config.batch_size, config.epochs, accumulate=config.accumulate, processes=accelerator.num_processes, seed=config.seed
    )
    color = ColorJitter(config.augment.brightness, config.augment.contrast, config.augment.saturation, config.augment.hue)
    red, green, blue = model.backbone.mean
    transform = TrainingTransform(
        config.augment.crop_size,
        scale=(config.augment.scale[0], config.augment.scale[1]),
        flip=config.augment.flip,
        color=color if color != ColorJitter(0, 0, 0, 0) else None,
        fill=(round(255 * red), round(255 * green), round(255 * blue)),
    )
    loss = SegmentationLoss(classes, **config.loss.arguments())
    if config.sync_batchnorm and accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model = place(model, accelerator, channels_last=config.channels_last)
    optimizer = create_optimizer(config.optim.name, model, **config.optim.options())
    schedule = create_schedule(config.schedule.name, plan.steps, **config.schedule.options())
    strategy = create_strategy(config.inference.name, **config.inference.options())
    state = State(model, optimizer, moving_average(model, config.ema) if config.ema else None)
    if resumed:
        state.restore(resumed, plan, f"{config.resume}/last.pt")
    if config.resume:
        folder = Path(config.resume)
        if accelerator.is_main_process:
            remove_unfinished(folder)
    else:
        folder = new_folder("train", config.output, accelerator)
        if accelerator.is_main_process:
            with written(folder / "config.yaml") as temporary:
                temporary.write_text(yaml.safe_dump(asdict(config), sort_keys=False))
            with written(folder / "environment.txt") as temporary:
                temporary.write_text(environment(accelerator))
    assert model.spec is not None
    log.info("%s: %d classes, %d images to train on, %d to score", config.data.name, classes, len(training), len(validation))
    log.info(
        "%s: %.1f M parameters, %s weights",
        spec_words(model.spec),
        sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        "resumed" if resumed else config.model.options()["weights"] or config.backbone.options()["weights"] or "random",
    )
    log.info("%s; writing to %s", hardware(accelerator), folder)
    tell_of_little_shared_memory(config.batch_size * config.augment.crop_size**2 * 4, config.workers)  # red, green, blue and label
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
        save_seconds=config.save_seconds,
        tensorboard=config.tensorboard,
        facts={"data": asdict(config.data), "plugins": list(config.plugins)},
    )
    log.info("best mIoU %.4f after %.0f s: %s", best, time.monotonic() - begin, folder / "best.pt")
    accelerator.end_training()
    return 0
