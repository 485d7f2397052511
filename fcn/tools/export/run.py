"""``fcn export``: a checkpoint as a file for other programs."""

import logging
import time
from dataclasses import asdict

from fcn.tools.export.settings import ExportConfig
from fcn.tools.folders import refuse_used
from fcn.tools.networks import saved_model
from fcn.tools.parts import load_split

log = logging.getLogger(__name__)


def run(config: ExportConfig) -> int:
    """Write the file, and leave ``verification.json`` beside it. Print how the file agrees with the model."""
    from fcn.tools.export.call import check_call, export
    from fcn.tools.predict.inputs import input_images

    refuse_used(config.output)
    model = saved_model(config.checkpoint, config.network)
    check_call(model, config.format, labels=config.labels, softmax=config.softmax, tile=config.tile)
    images = None if config.images is None else [str(path) for path in input_images(config.images, "images")[1]]
    split = None
    if config.data is not None:
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
    )
    print(found)
    shown = config.images or (f"data={config.data.name}" if config.data else "the built-in pictures")
    size = found.file.stat().st_size / 2**20
    print(f"verified on {shown}: {found.file}, {size:.1f} MiB, {time.monotonic() - begin:.0f} s")
    return 0
