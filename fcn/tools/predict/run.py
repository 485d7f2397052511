"""``fcn predict``: label maps of an image, a folder or a glob.

The output folder has the structure of the input's sub-folders. ``predict.json`` says which results are which image's, and ``config.yaml``
with what settings they were made: with these ``resume=`` goes on where a run was cut.
"""

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fcn.core.errors import UserError
from fcn.tools.folders import PREDICTIONS, new_folder, refuse_used
from fcn.tools.predict.inputs import input_images, output_names
from fcn.tools.predict.settings import PredictConfig

log = logging.getLogger(__name__)


def run(config: PredictConfig) -> int:
    """Label images and write, for each, a palette PNG of class indices and an overlay, on request also a map of confidence. An image that
    cannot be read is named and skipped."""
    import torch
    from tqdm import tqdm

    from fcn.data.images import open_image
    from fcn.data.pictures import save_gray, save_labels, save_overlay
    from fcn.inference.kept import unchanged
    from fcn.inference.memory import ran_out
    from fcn.inference.strategies import create_strategy
    from fcn.training.checkpoint import load
    from fcn.training.devices import create_accelerator, place

    if config.resume is None:
        refuse_used(config.output)
    images = begun(config, Path(config.resume)) if config.resume else planned(config)
    accelerator = create_accelerator(config.device, config.precision)
    model = place(load(config.checkpoint), accelerator, channels_last=config.channels_last)
    label_set = model.labels
    assert label_set is not None
    strategy = create_strategy(config.inference.name, **config.inference.options())
    folder = go_on(config, Path(config.resume), images) if config.resume else begin(config, images)
    waiting = [(path, results) for path, results in images if not all((folder / name).is_file() for name in results)]
    if config.resume:
        log.info("%d of %d images are labelled already", len(images) - len(waiting), len(images))

    def label(path: str, results: list[str]) -> bool:
        """Whether it could be read and labelled. What it took is free again before the next image is read."""
        try:
            image = open_image(path)
            confidence = torch.empty(image.shape[1:], dtype=torch.uint8) if config.confidence else None
            with accelerator.autocast():
                labels = strategy(model, image, confidence=confidence, progress=True)
        except Exception as error:
            if not isinstance(error, UserError | OSError) and not ran_out(error):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            tqdm.write(f"skipped: {reason}" if path in reason else f"skipped {path}: {reason}", file=sys.stderr)
            return False
        save_labels(labels, label_set, folder / results[0])
        if confidence is not None:
            save_gray(confidence, folder / results[2])
        save_overlay(image, labels, label_set, folder / results[1], alpha=config.alpha)
        return True

    labelled = len(images) - len(waiting)
    with unchanged(model, many=len(images) > 1), tqdm(waiting, "labelling", unit="image", disable=len(images) == 1, leave=False) as shown:
        for path, results in shown:
            labelled += label(path, results)
    print(f"{labelled} of {len(images)} images labelled in {folder}")
    return 0 if labelled == len(images) else 1


Planned = list[tuple[str, list[str]]]  # for each image its path and the names of its results: labels, overlay, confidence if asked for


def planned(config: PredictConfig) -> Planned:
    """What there is to do. Raises where the input names no image."""
    root, paths = input_images(config.input)
    suffixes = ["", "_overlay", *(["_confidence"] if config.confidence else [])]
    names = output_names([path.relative_to(root) for path in paths])
    return [(str(path), [f"{name}{suffix}.png" for suffix in suffixes]) for path, name in zip(paths, names, strict=True)]


def begin(config: PredictConfig, images: Planned) -> Path:
    """The output folder, in which the settings and the list of images are kept, for going on from any folder."""
    import yaml

    from fcn.core.files import written

    folder = new_folder("predict", config.output)
    settings = {**asdict(config), "checkpoint": os.path.abspath(config.checkpoint), "input": os.path.abspath(config.input)}
    with written(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False))
    kinds = ("labels", "overlay", "confidence")
    files = [{"image": os.path.abspath(path), **dict(zip(kinds, results, strict=False))} for path, results in images]
    with written(folder / PREDICTIONS) as temporary:
        plan = {"checkpoint": digest(config.checkpoint), "files": files}
        temporary.write_text(json.dumps({**plan, "digest": digest_of_plan(config, plan)}, indent=1) + "\n")
    return folder


def begun(config: PredictConfig, folder: Path) -> Planned:
    """What a run that was cut had to do. UserError where its list or its settings cannot be read, or are not those of its start."""
    file = folder / PREDICTIONS
    try:
        plan = json.loads(file.read_text())
        digest_then = plan.pop("digest")
        planned = [(str(entry["image"]), [str(name) for key, name in entry.items() if key != "image"]) for entry in plan["files"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"resume={folder} cannot go on: {file} is missing or damaged; start again with another output=") from error
    if digest_then != digest_of_plan(config, plan):
        raise UserError(
            f"resume={folder} cannot go on: {file} or {folder / 'config.yaml'} is not as it was written; start again with another output="
        )
    return planned


def digest_of_plan(config: PredictConfig, plan: dict[str, Any]) -> str:
    """SHA-256 of what decides over the results: the list of images and the settings, but for the device and the folder."""
    from hashlib import sha256

    settings = {key: value for key, value in asdict(config).items() if key not in ("device", "output", "resume")}
    settings |= {key: os.path.abspath(settings[key]) for key in ("checkpoint", "input")}
    return sha256(json.dumps([plan, settings], sort_keys=True).encode()).hexdigest()


def go_on(config: PredictConfig, folder: Path, images: Planned) -> Path:
    """The folder of a run that was cut, without what it left half-written. UserError where the checkpoint is not the same any more."""
    from fcn.core.files import remove_unfinished

    if json.loads((folder / PREDICTIONS).read_text()).get("checkpoint") != digest(config.checkpoint):
        raise UserError(f"resume={folder} cannot go on: {config.checkpoint} has changed since; start again with another output=")
    for place in {folder, *((folder / results[0]).parent for _, results in images)}:
        if place.is_dir():
            remove_unfinished(place)
    return folder


def digest(path: str) -> str:
    """SHA-256 of a file."""
    from hashlib import file_digest

    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()
