"""What a run of ``fcn predict`` has to do, kept in its output folder: ``predict.json`` says which results are which image's, and
``config.yaml`` with what settings they are made."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from fcn.core.errors import UserError
from fcn.tools.folders import PREDICTIONS, new_folder
from fcn.tools.predict.inputs import input_images, output_names
from fcn.tools.predict.settings import PredictConfig


class Image(NamedTuple):
    """An image's path, and the names of its results by kind: labels, and overlay and confidence where they are asked for."""

    path: str
    results: dict[str, str]


def planned(config: PredictConfig) -> list[Image]:
    """What there is to do. Raises where the input names no image."""
    root, paths = input_images(config.input)
    endings = {"labels": ".png"}
    if config.overlay != "none":
        endings["overlay"] = f"_overlay.{config.overlay}"
    if config.confidence:
        endings["confidence"] = "_confidence.png"
    names = output_names([path.relative_to(root) for path in paths])
    return [
        Image(str(path), {kind: f"{name}{ending}" for kind, ending in endings.items()}) for path, name in zip(paths, names, strict=True)
    ]


def begin(config: PredictConfig, images: list[Image]) -> Path:
    """The output folder, in which the settings and the list of images are kept, for going on from any folder."""
    import yaml

    from fcn.core.files import written

    folder = new_folder("predict", config.output)
    settings = {**asdict(config), **places(config)}
    with written(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False))
    files = [{"image": os.path.abspath(image.path), **image.results} for image in images]
    with written(folder / PREDICTIONS) as temporary:
        plan = {"checkpoint": digest(config.checkpoint), "files": files}
        temporary.write_text(json.dumps({**plan, "digest": digest_of_plan(config, plan)}, indent=1) + "\n")
    return folder


def begun(config: PredictConfig, folder: Path) -> list[Image]:
    """What a run that was cut had to do. UserError where its list or its settings cannot be read, or are not those of its start."""
    file = folder / PREDICTIONS
    try:
        plan = json.loads(file.read_text())
        digest_then = plan.pop("digest")
        images = [Image(str(entry.pop("image")), dict(entry)) for entry in json.loads(json.dumps(plan["files"]))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"resume={folder} cannot go on: {file} is missing or damaged; start again with another output=") from error
    if digest_then != digest_of_plan(config, plan):
        raise UserError(
            f"resume={folder} cannot go on: {file} or {folder / 'config.yaml'} is not as it was written; start again with another output="
        )
    return images


def go_on(config: PredictConfig, folder: Path, images: list[Image]) -> Path:
    """The folder of a run that was cut, without what it left half-written. UserError where the checkpoint is not the same any more."""
    from fcn.core.files import remove_unfinished

    if json.loads((folder / PREDICTIONS).read_text()).get("checkpoint") != digest(config.checkpoint):
        raise UserError(f"resume={folder} cannot go on: {config.checkpoint} has changed since; start again with another output=")
    for place in {folder, *((folder / image.results["labels"]).parent for image in images)}:
        if place.is_dir():
            remove_unfinished(place)
    return folder


def digest_of_plan(config: PredictConfig, plan: dict[str, Any]) -> str:
    """SHA-256 of what decides over the results: the list of images and the settings, but for the device and the folder."""
    from hashlib import sha256

    settings = {key: value for key, value in asdict(config).items() if key not in ("device", "output", "resume")}
    settings |= places(config)
    return sha256(json.dumps([plan, settings], sort_keys=True).encode()).hexdigest()


def places(config: PredictConfig) -> dict[str, str]:
    """The settings that name files, so that they hold in any working directory."""
    from fcn.models.hub import is_hub

    checkpoint = config.checkpoint if is_hub(config.checkpoint) else os.path.abspath(config.checkpoint)
    return {"checkpoint": checkpoint, "input": os.path.abspath(config.input)}


def digest(checkpoint: str) -> str:
    """SHA-256 of the files of a model, one after another."""
    from hashlib import sha256

    from fcn.models.hub import files_of

    found = sha256()
    for path in files_of(checkpoint):
        with open(path, "rb") as file:
            while block := file.read(2**20):
                found.update(block)
    return found.hexdigest()
