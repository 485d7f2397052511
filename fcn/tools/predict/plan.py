"""What a run of ``fcn predict`` has to do, kept in its output folder: ``predict.json`` says which results are which image's, and
``config.yaml`` with what settings they are made."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.tools.folders import PREDICTIONS, new_folder
from fcn.tools.predict.inputs import input_images, output_names
from fcn.tools.predict.settings import PredictConfig

LARGE = 2**26  # pixels, from which on an image is a raster
GEOTIFF = {33922, 34264, 34735}  # tags: tie points, transform, keys
NEEDED = {"tifffile": (".tif",), "zarr": (".zarr",), "rasterio": (".gpkg",), "shapely": (".gpkg",), "pyogrio": (".gpkg",)}  # by endings


class Image(NamedTuple):
    """An image's path, and the names of its results by kind: labels, and others that are asked for.

    part, parts: of a raster that several processes share, which of so many ranges of rows.
    """

    path: str
    results: dict[str, str]
    part: int = 0
    parts: int = 1

    @property
    def is_raster(self) -> bool:
        """Whether it is read and written in parts. What a picture gives is a PNG."""
        return not self.results["labels"].endswith(".png")

    @property
    def rows(self) -> str:
        """The name of the file of a raster's finished rows, or of those of this part."""
        return f"{self.results['labels']}.rows" + (f"-{self.part + 1}of{self.parts}" if self.parts > 1 else "")

    def shared(self, folder: Path, processes: int) -> "list[Image]":
        """Its parts: as many as there are processes, or as a run that was cut began with."""
        whole = self._replace(part=0, parts=1).rows
        place = folder / Path(whole).parent
        found = [path.name for path in place.iterdir() if path.name.startswith(f"{Path(whole).name}-")] if place.is_dir() else []
        begun = 1 if (folder / whole).exists() else int(found[0].rpartition("of")[2]) if found else processes
        return [self._replace(part=part, parts=begun) for part in range(begun)]


def planned(config: PredictConfig) -> list[Image]:
    """What there is to do. Raises where the input names no image."""
    root, paths = input_images(config.input, rasters=True)
    names = output_names([path.relative_to(root) for path in paths])
    return [
        Image(str(path), {kind: f"{name}{ending}" for kind, ending in endings(config, path).items()})
        for path, name in zip(paths, names, strict=True)
    ]


def endings(config: PredictConfig, path: Path) -> dict[str, str]:
    """What the names of an image's results end in, by kind."""
    form, chosen = config.format, {word: getattr(config, word) for word in ("bands", "page", "level")}
    given = [word for word, value in chosen.items() if value is not None]
    if form == "png" and given:
        raise UserError(f"{said(given[0], chosen[given[0]])} is not possible with {said('format', 'png')}; give {said('format', 'tif')}")
    if form == "auto":
        form = "zarr" if path.is_dir() else "tif" if given or is_raster(path) else "png"
    suffix = {"cog": ".tif"}.get(form, f".{form}")
    found = {"labels": ".png" if form == "png" else f"_labels{suffix}"}
    if config.overlay != "none":
        found["overlay"] = f"_overlay.{config.overlay}"
    if config.confidence:
        found["confidence"] = f"_confidence{suffix}"
    if config.polygons:
        found["polygons"] = "_polygons.gpkg"
    return found


def is_raster(path: Path) -> bool:
    """Whether a file is large, lies on the earth, or is of a kind that only the readers of rasters know."""
    from importlib.util import find_spec

    from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH

    from fcn.core.images import RGB
    from fcn.data.bands import tiff_tags
    from fcn.data.images import ARRAY_SUFFIXES, IMAGE_SUFFIXES
    from fcn.data.stored import pixels_of

    if path.suffix.lower() not in (*IMAGE_SUFFIXES, *ARRAY_SUFFIXES):
        return True
    if find_spec("tifffile") is None:  # the label map could not be written
        return False
    tags = tiff_tags(path)
    pixels = int(tags.get(IMAGEWIDTH, 0)) * int(tags.get(IMAGELENGTH, 0)) or pixels_of(path, RGB)
    return pixels > LARGE or not GEOTIFF.isdisjoint(tags)


def settle(config: PredictConfig, images: list[Image], device: Any) -> float | None:
    """The memory of the network, GiB: for rasters it is settled when a run begins, and kept with its settings. Bands and strips follow
    from it, so those of a run that goes on are the same, whatever is free then. None: as each image finds it."""
    from fcn.inference.memory import budget_bytes

    options = config.inference.options()
    if "memory" in options and options["memory"] is None and any(image.is_raster for image in images):
        config.inference.memory = round(max(budget_bytes(device, None) / 2**30, 0.001), 3)  # type: ignore[attr-defined]
    return config.inference.options().get("memory")


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
    for image in images:
        if image.is_raster and is_complete(image, folder):
            for part in image.shared(folder, 1):
                (folder / part.rows).unlink(missing_ok=True)
    return folder


def check_packages(images: list[Image]) -> None:
    """Raises UserError, before anything is computed, where results need an optional package that is not there."""
    from fcn.rasters.packages import needs

    for package, kinds in NEEDED.items():
        for image in images:
            for name in image.results.values():
                if name.endswith(kinds):
                    needs(package, f"writing {name}")


def is_complete(image: Image, folder: Path) -> bool:
    """Whether all results of an image are there."""
    return all((folder / name).exists() for name in image.results.values())


def digest_of_plan(config: PredictConfig, plan: dict[str, Any]) -> str:
    """SHA-256 of what decides over the results: the list of images and the settings, but for the device and the folder."""
    from hashlib import sha256

    settings = {key: value for key, value in asdict(config).items() if key not in ("device", "output", "resume")}
    settings |= places(config)
    return sha256(json.dumps([plan, settings], sort_keys=True).encode()).hexdigest()


def places(config: PredictConfig) -> dict[str, str]:
    """The settings that name files, so that they hold in any working directory."""
    from fcn.models.hub import is_word

    checkpoint = config.checkpoint if is_word(config.checkpoint) else os.path.abspath(config.checkpoint)
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
