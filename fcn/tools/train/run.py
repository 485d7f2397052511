"""``fcn train``: from a checked configuration to a trained network in a folder."""

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fcn.core.labels import VOID_COLOR
from fcn.tools.folders import refuse_used
from fcn.tools.parts import load_splits, look_at, model_of, verify_mode
from fcn.tools.train.resume import check_same, read_last
from fcn.tools.train.settings import TrainConfig
from fcn.training.trackers import check_tracker

if TYPE_CHECKING:
    from fcn.tools.train.fit import Started

log = logging.getLogger(__name__)


def run(config: TrainConfig, *, started: "Started | None" = None) -> int:
    """Train a network and leave its checkpoints, curves and samples in a folder.

    started: called once the run's folder is there, before the first step of a run that begins (not of one that goes on).
    """
    import torch

    from fcn.core.images import kind_of
    from fcn.models.backbones import backbone_part
    from fcn.models.backbones.freezing import freeze
    from fcn.tools.train.fit import fit, measure_images
    from fcn.training.checkpoint import model_from_state
    from fcn.training.devices import create_accelerator

    accelerator = create_accelerator(config.device, config.precision)
    check_folder(config)
    if hasattr(config.data, "root"):
        config.data.root = os.path.abspath(config.data.root)  # the run is scored and resumed from other folders as well
    resumed = read_last(Path(config.resume)) if config.resume else None
    backbone_part(config.backbone.name)  # which answers a wrong word, before the data is read
    with accelerator.main_process_first():  # which downloads and checks
        training, validation = load_splits(asdict(config.data), *(config.data.options()[split] for split in ("train", "val")))
        if accelerator.is_main_process and not resumed:
            look_at(training, validation, verify_mode(config.data))
    torch.manual_seed(config.seed)
    if resumed:
        check_same(config, resumed, training.labels)
        model = model_from_state(resumed, f"{config.resume}/last.pt").train()
        still = config.backbone.options()
        freeze(model.backbone, still["freeze"], norm=still["freeze_norm"])
    else:
        labels, images = training.labels, kind_of(training)
        model = model_of(config.model, config.backbone, config.upsample, labels.num_classes, labels.names, images)
        measure_images(model, training)
    model.labels = training.labels
    log.info(
        "%s: %d classes, %d images to train on, %d to score",
        config.data.name,
        training.labels.num_classes,
        len(training),
        len(validation),
    )
    command = (resumed or {}).get("command") or list(config.words)
    weights = "resumed" if resumed else config.model.options()["weights"] or config.backbone.options()["weights"] or "random"
    fit(
        config,
        accelerator,
        model,
        training,
        validation,
        resumed=resumed,
        weights=weights,
        settings=asdict(config),
        facts={"data": asdict(config.data), "plugins": list(config.plugins)} | ({"command": command} if command else {}),
        started=started,
    )
    accelerator.end_training()
    return 0


def check_folder(config: TrainConfig) -> None:
    """Raises UserError, before any work, where the run could not be written."""
    if config.resume is None:
        refuse_used(config.output)
    check_tracker(config.tracker)
    if config.augment.transforms:
        from fcn.data.named_transforms import made

        for word in config.augment.transforms:
            made(word, VOID_COLOR)
