"""The labels of a raster as a file, without holding either: ``fcn.predict(..., out=)``."""

import logging
import os
from os import PathLike
from pathlib import Path
from typing import Any

from fcn.core.errors import UserError
from fcn.core.files import temporary_name
from fcn.inference.blocks import label_blocks
from fcn.models.segmenter import Segmenter
from fcn.rasters.outputs import check_ending, save_map
from fcn.rasters.raster import Raster
from fcn.rasters.spool import Finished, Shape, Spool, file_dtype

log = logging.getLogger(__name__)


def predict_to_file(
    model: Any,
    raster: Raster,
    out: str | PathLike[str],
    *,
    strategy: str,
    precision: str,
    confidence: bool,
    progress: bool,
    **options: Any,
) -> Path:
    """Writes the labels of a raster to ``out``, and the confidence beside it if it is asked for; returns the path of the labels.

    Finished rows lie in a temporary file in the same folder, which needs about as much room as the result.
    """
    path = Path(out)
    check_ending(path, raster.height, raster.width)
    second = path.with_name(f"{path.stem}_confidence{path.suffix}")
    for name in (path, second) if confidence else (path,):
        if name.exists() and os.path.exists(raster.name) and os.path.samefile(name, raster.name):
            raise UserError(f"out={out} is the image itself, or the confidence beside it would be; give another name")
    if not isinstance(model, Segmenter) or model.labels is None:
        raise UserError("out= writes the names of the classes, and the model has none; give fcn.wrap(network, ..., classes=[...])")
    for note in raster.notes():
        log.warning("note: %s", note)
    rows = temporary_name(path.with_suffix(".rows"))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Spool(rows, Shape(raster.height, raster.width, file_dtype(model.labels), confidence)) as spool:
            for block in label_blocks(
                model, raster, strategy=strategy, precision=precision, confidence=confidence, progress=progress, **options
            ):
                sure = None if block.confidence is None else block.confidence.numpy()
                spool.write(block.top, block.left, block.labels.numpy(), sure)
        finished = Finished([rows])
        for name, kind in {path: False, second: True}.items():
            if kind <= confidence:
                save_map(finished, name, label_set=model.labels, georeference=raster.georeference, confidence=kind)
    finally:
        rows.unlink(missing_ok=True)
    return path
