"""``fcn export``: a checkpoint as a file for other programs."""

import logging
import time
from dataclasses import asdict
from typing import Any

from fcn.core.errors import UserError
from fcn.tools.export.settings import ExportConfig
from fcn.tools.folders import refuse_used
from fcn.tools.networks import network_of, saved_model
from fcn.tools.parts import known_data, known_splits, load_split, load_splits
from fcn.tools.processes import refuse_torchrun

log = logging.getLogger(__name__)


def run(config: ExportConfig) -> int:
    """Write the file, and leave ``verification.json`` beside it. Print how the file agrees with the model."""
    from fcn.tools.export.call import check_call, export
    from fcn.tools.predict.inputs import input_images

    refuse_torchrun("fcn export")
    refuse_used(config.output)
    model = saved_model(config.checkpoint, config.network)
    check_call(model, config.format, labels=config.labels, softmax=config.softmax, tile=config.tile)
    images = None if config.images is None else [str(path) for path in input_images(config.images, "images")[1]]
    calibration, split = None, None
    if config.int8:
        calibration, split = int8_splits(config)
    elif config.data is not None:
        data = asdict(config.data)
        split = load_split(data, config.split or data["val"])
    begin = time.monotonic()
    log.info("exporting; a large network takes a minute")
    found = export(
        model,
        config.output,
        format=config.format,  # type: ignore[arg-type]
        labels=config.labels,
        softmax=config.softmax,
        tile=config.tile,
        images=images,
        split=split,
        int8=config.int8,
        calibration=calibration,
        calibrate=config.calibrate,
    )
    print(found)
    own = "the data of the checkpoint" if config.int8 else "the built-in pictures"
    shown = config.images or (f"data={config.data.name}" if config.data else own)
    size = found.file.stat().st_size / 2**20
    print(f"verified on {shown}: {found.file}, {size:.1f} MiB, {time.monotonic() - begin:.0f} s")
    return 0


def int8_splits(config: ExportConfig) -> list[Any]:
    """The training split, for the calibration, and the split that the file is scored on, of data= or of the checkpoint's own data."""
    from fcn.training.checkpoint import read_checkpoint

    if config.data is not None:
        data = asdict(config.data)
        return load_splits(data, data["train"], config.split or data["val"])
    state = read_checkpoint(config.checkpoint, None if config.network is None else network_of(config.network))
    data = known_data(None, state, config.checkpoint)
    names = [data.get("train"), config.split or data.get("val")]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{config.checkpoint} does not say which splits it was trained and scored on; give data=NAME")
    return known_splits(data, [str(name) for name in names], config.checkpoint)
