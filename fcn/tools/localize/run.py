"""``fcn localize``: where a classifier sees its classes. For each photograph a sheet; for all of them ``localize.json``."""

import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn.core.errors import UserError
from fcn.core.progress import Progress, tell
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.localize.settings import LocalizeConfig
from fcn.tools.networks import network_of
from fcn.tools.predict.inputs import input_images, output_names
from fcn.tools.processes import refuse_torchrun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fcn.inference.scores import Image
    from fcn.models.trained_classifiers import Classifier

log = logging.getLogger(__name__)

LONGEST = 480  # longest side of the photograph on a sheet (pixels)
QUALITY = 88  # of the JPEG


def run(config: LocalizeConfig) -> int:
    """Draw the sheets and print what they show. A photograph that cannot be used is named and skipped."""
    from fcn.core.files import written
    from fcn.data.images import open_image
    from fcn.tools.localize.classmaps import class_index
    from fcn.tools.localize.localizer import Localizer
    from fcn.tools.localize.report import entry, text
    from fcn.tools.localize.sheet import draw
    from fcn.tools.predict.labelling import skippable
    from fcn.training.devices import create_accelerator, place

    refuse_torchrun("fcn localize")
    refuse_used(config.output)
    root, paths = input_images(config.input)
    names = output_names([path.relative_to(root) for path in paths])
    accelerator = create_accelerator(config.device, config.precision)
    classifier = classifier_of(config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        localizer = Localizer(classifier, dense=config.dense, output_stride=config.output_stride, scales=config.scales)  # type: ignore[arg-type]
    for each in caught:
        log.warning("%s", each.message)
    for network in (classifier.network, localizer.network):  # after the conversion, which cannot read what bf16 makes of layers on a CPU
        place(network, accelerator)
    chosen = [class_index(localizer.names, name) for name in config.classes or []]
    folder = new_folder("localize", config.output)
    images: list[dict[str, Any]] = []
    with Progress("photographs", len(paths), "photographs", shown=len(paths) > 1) as bar:
        for path, name in zip(paths, names, strict=True):
            try:
                photograph = open_image(path)
                with accelerator.autocast():
                    found = localizer(photograph, sliding=config.sliding, progress=len(paths) == 1)
                drawn = chosen or found.maps.top(config.top)
                sheet = folder / f"{name}.jpg"
                with written(sheet) as temporary:
                    draw(small(photograph), found, drawn, path.name).savefig(temporary, format="jpg", pil_kwargs={"quality": QUALITY})
            except Exception as error:
                reason = " ".join(str(skippable(error)).split()) or type(error).__name__
                tell(f"skipped: {reason}" if str(path) in reason else f"skipped {path}: {reason}")
                bar.update()
                continue
            made = entry(found, drawn, localizer)
            images.append({"image": str(path), "sheet": sheet.relative_to(folder).as_posix(), **made})
            print(f"{text(str(path), made)}\n{sheet}", flush=True)
            bar.update()
    with written(folder / "localize.json") as temporary:
        about = {"settings": asdict(config), "dense": localizer.dense, "window": list(localizer.window), "stride": localizer.stride}
        temporary.write_text(json.dumps(about | {"images": images}, indent=1) + "\n")
    print(f"{len(images)} of {len(paths)} photographs in {folder}")
    return 0 if len(images) == len(paths) else 1


def classifier_of(config: LocalizeConfig) -> "Classifier":
    """The classifier that the settings name, with its weights."""
    from fcn.models.pretrained import fit_state_dict
    from fcn.models.trained_classifiers import described, trained_classifier
    from fcn.models.weight_files import read_tensors
    from fcn.tools.localize.call import checked_weights, completed

    if ":" in config.classifier:
        network = network_of(config.classifier, setting="classifier")
        if config.weights == "imagenet":
            raise UserError("weights=imagenet is for timm/NAME and torchvision/NAME; give a file, or leave it out")
        if config.weights is not None:
            fit_state_dict(network, read_tensors(config.weights), config.weights)
        found = described(network.eval())
    else:
        found = trained_classifier(config.classifier, checked_weights(config.classifier, config.weights))
    names = None if config.names is None else names_in(config.names)
    return completed(found, names=names, mean=config.mean, std=config.std, input_size=config.input_size)


def names_in(path: str) -> list[str]:
    """The names in a file, one a line; empty lines at the end do not count. Raises UserError for a file that is no text."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"names={path} is no text; give a file with the name of each class, one a line") from error
    if not lines or not all(line.strip() for line in lines):
        raise UserError(f"names={path} has empty lines; give a file with the name of each class, one a line")
    return [line.strip() for line in lines]


def small(photograph: "Image") -> "NDArray[np.uint8]":
    """The photograph at the size that it is drawn at, (h, w, 3)."""
    from fcn.inference.augment import Resized

    height, width = photograph.shape[-2:]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return photograph[:, :].permute(1, 2, 0).numpy()
    return Resized(photograph, max(1, round(height * scale)), max(1, round(width * scale)))[:, :].permute(1, 2, 0).numpy()
