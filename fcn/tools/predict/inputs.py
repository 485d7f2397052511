"""The images that ``input=`` names, and the names of what is made of them."""

import glob
import logging
from collections import Counter
from pathlib import Path

from fcn.core.errors import UserError
from fcn.core.registry import find, list_parts

log = logging.getLogger(__name__)

ZARR = ".zarr"  # of a folder that is one image
SHOWN = 3  # names of files that are passed over, before "..."


def input_images(pattern: str, key: str = "input", *, rasters: bool = False) -> tuple[Path, list[Path]]:
    """A folder, and the images below it that ``pattern`` names, sorted: one file, those of a folder, or those that match a glob.

    Arrays (.npy) are images where there is no picture. Hidden files are left out unless they are named. What else a folder, or a glob that
    leaves the suffix open, holds is counted and named in one line. key: the setting, for messages. rasters: whether
    files that only readers of rasters know, and folders of zarr, are images.
    Raises UserError or FileNotFoundError where there is no image.
    """
    from fcn.data.images import ARRAY_SUFFIXES, IMAGE_SUFFIXES

    path = Path(pattern)
    suffixes = {*IMAGE_SUFFIXES, *(raster_suffixes() if rasters else ())}

    def is_image(entry: Path) -> bool:
        suffix = entry.suffix.lower()
        return suffix in suffixes and entry.is_dir() == (suffix == ZARR)

    if path.is_file() or (path.is_dir() and is_image(path)):
        return path.parent, [path]
    if path.is_dir():
        seen = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        found = [entry for entry in seen if is_image(entry)]
        found = found or [entry for entry in seen if entry.suffix.lower() in ARRAY_SUFFIXES and not entry.is_dir()]
        if not found:
            raise UserError(
                f"{key}={pattern} holds no image ({', '.join(IMAGE_SUFFIXES)}){passed_over(seen)}; "
                f"give another folder, or a glob as 'DIR/**/*.png'"
            )
        others = [entry for entry in seen if entry not in set(found)]
        if others:
            log.info("%s: %d images%s", pattern, len(found), passed_over(others))
        return path, found
    root, rest = cut(path)
    seen = sorted(root / name for name in glob.glob(rest, root_dir=root, recursive=True))
    seen = [entry for entry in seen if entry.is_file() or is_image(entry)]
    suffix = Path(rest).suffix
    chosen = suffix and not set(suffix) & set("*?[")
    found = [entry for entry in seen if chosen or is_image(entry)]
    found = found or [entry for entry in seen if entry.suffix.lower() in ARRAY_SUFFIXES]
    others = [entry for entry in seen if entry not in set(found)]
    if found and others:
        log.info("%s: %d images%s", pattern, len(found), passed_over(others))
    if not found:
        matches = f"matches no image{passed_over(others)}" if others else "matches nothing"
        raise FileNotFoundError(f"{key}={pattern} is no file, no folder, and {matches}; give an image, a folder or a quoted glob")
    return root, found


def raster_suffixes() -> set[str]:
    """The endings of files that readers of rasters are registered for."""
    parts = (find("reader", name) for name in list_parts("reader"))
    return {suffix for part in parts for suffix in part.facts.get("suffixes", ()) if suffix}


def cut(path: Path) -> tuple[Path, str]:
    """A glob as the folder that it begins with, where wildcards are letters, and the rest."""
    parts = path.parts
    count = next((count for count in range(len(parts) - 1, 0, -1) if Path(*parts[:count]).is_dir()), 0)
    return Path(*parts[:count]), str(Path(*parts[count:]))


def passed_over(entries: list[Path]) -> str:
    """What of a folder is no image, in words: how many, of which kinds, and the first names; nothing where there is nothing."""
    if not entries:
        return ""
    kinds = Counter("folder" if entry.is_dir() else entry.suffix or "without suffix" for entry in entries)
    names = ", ".join(entry.name for entry in entries[:SHOWN]) + (", ..." if len(entries) > SHOWN else "")
    return f"; passed over: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))} ({names})"


def output_names(paths: list[Path]) -> list[str]:
    """A name for each image's results, used for nothing else. It is the path without the suffix. Where two in a folder would have the same
    name, it is the path with the suffix and bars.

    paths: relative to the folder of all of them.
    """
    stems = Counter(path.with_suffix("") for path in paths)
    taken: set[str] = set()
    names = []
    for path in paths:
        stem = path.with_suffix("")
        name = (stem if stems[stem] == 1 else path.with_name(path.name.replace(".", "_"))).as_posix()
        while written_for(name) & taken:
            name += "_"
        taken |= written_for(name)
        names.append(name)
    return names


def written_for(name: str) -> set[str]:
    """The names of an image's results."""
    return {name, *(f"{name}_{kind}" for kind in ("labels", "overlay", "confidence", "polygons"))}
