"""``fcn predict``: label maps of an image, a folder or a glob.

The output folder has the structure of the input's sub-folders. ``plan.py`` keeps what there is to do, with which ``resume=`` goes on where
a run was cut. ``labelling.py`` labels the images; ``shares.py`` shares them over the processes that ``torchrun`` starts.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn.core.progress import Progress
from fcn.tools.folders import refuse_used
from fcn.tools.networks import saved_model
from fcn.tools.predict.plan import Image, begin, begun, check_packages, go_on, is_complete, planned, settle
from fcn.tools.predict.settings import PredictConfig
from fcn.tools.predict.shares import Shares

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)


def run(config: PredictConfig) -> int:
    """Label images and write, for each, a palette PNG of class indices and an overlay, on request also a map of confidence. An image that
    cannot be read is named and skipped."""
    from fcn.training.devices import create_accelerator

    accelerator = create_accelerator(config.device, config.precision)
    with Shares() as shares:
        return label_images(config, accelerator, shares)
    return 1  # another process failed, and said why


def label_images(config: PredictConfig, accelerator: "Accelerator", shares: Shares) -> int:
    from fcn.inference.kept import unchanged
    from fcn.inference.strategies import check_exported, create_strategy
    from fcn.tools.predict.labelling import Labelling
    from fcn.tools.predict.rasters import RasterLabelling
    from fcn.training.devices import place

    if shares.main:
        if config.resume is None:
            refuse_used(config.output)
        images = begun(config, Path(config.resume)) if config.resume else planned(config)
        check_packages(images)
    model = place(saved_model(config.checkpoint, config.network), accelerator, channels_last=config.channels_last)
    strategy = create_strategy(config.inference.name, **config.inference.options())
    with accelerator.autocast():
        check_exported(model, config.inference.name, confidence=config.confidence, **config.inference.options())

    def started() -> dict[str, Any]:
        memory = None if config.resume else settle(config, images, model.mean.device)
        folder = go_on(config, Path(config.resume), images) if config.resume else begin(config, images)
        missing = [image for image in images if not is_complete(image, folder)]
        if config.resume:
            log.info("%d of %d images are labelled already", len(images) - len(missing), len(images))
        waiting = [image for image in missing if not image.is_raster]
        for raster in (image for image in missing if image.is_raster):
            waiting += raster.shared(folder, shares.processes if len(missing) < shares.processes else 1)
        return {"folder": str(folder), "images": len(images), "done": len(images) - len(missing), "waiting": waiting, "memory": memory}

    work = shares.from_main(started)
    if work["memory"] is not None:
        config.inference.memory = work["memory"]  # type: ignore[attr-defined]
    folder, waiting = Path(work["folder"]), [Image(*each) for each in work["waiting"]]
    progress = shares.main and (work["images"] == 1 or sys.stderr.isatty())
    label = Labelling(model, strategy, accelerator, folder, alpha=config.alpha, progress=progress)
    rasters = RasterLabelling(model, config, folder, shares, progress=progress)
    labelled, taken = 0, deque[int]()

    numbers = shares.numbers(len(waiting))

    def mine() -> Iterator[Image]:
        """Pictures, up to the first raster."""
        for number in numbers:
            taken.append(number)
            if waiting[number].is_raster:
                return
            yield waiting[number]

    start = time.monotonic()
    shown = Progress("labelling", len(waiting), "images", shown=shares.main and work["images"] > 1)
    with unchanged(model, many=len(waiting) > 1), shown:
        for done in label(mine(), len(waiting) // shares.processes):
            labelled += done
            shown.update(taken.popleft() + 1 - shown.done)  # the others take the numbers between
        for number in chain(taken, numbers):
            labelled += rasters(waiting[number])
            shown.update(number + 1 - shown.done)
    labelled = shares.total(labelled)
    seconds = time.monotonic() - start
    accelerator.end_training()
    if not shares.main:
        return 0
    total = work["done"] + labelled
    rate = f", {labelled / seconds:.3g} images/s" if labelled > 1 else ""
    print(f"{total} of {work['images']} images labelled in {folder}{rate}")
    return 0 if total == work["images"] else 1
