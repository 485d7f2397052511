"""The models that the page offers, and those that it has loaded."""

import glob
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fcn.core.errors import UserError

if TYPE_CHECKING:
    from fcn.models.segmenter import Segmenter

USUAL = "outputs"  # where the commands write
NAMES = ("best.pt", "*.onnx", "config.json")  # files of models in a folder, the last beside model.safetensors
HELD = 3  # models that stay loaded


def offered(checkpoint: str | None) -> list[str]:
    """The models that ``checkpoint=`` names: one, those below a folder, or those that match a glob, the newest first. For null those below
    ``outputs``, and last the package's own.

    Raises UserError where there is none.
    """
    from fcn.models.hub import is_word
    from fcn.models.pretrained_folder import BUILTIN

    if checkpoint is None:
        return [*(below(Path(USUAL)) if Path(USUAL).is_dir() else []), BUILTIN]
    path = Path(checkpoint)
    if is_word(checkpoint) or path.is_file():
        return [checkpoint]
    found = below(path) if path.is_dir() else newest(Path(name) for name in glob.glob(checkpoint, recursive=True))
    if not found:
        raise UserError(f"checkpoint={checkpoint} names no model; give a file, a folder with models below it, or a quoted glob")
    return found


def below(folder: Path) -> list[str]:
    """The models in a folder and below it; a folder that ``save_pretrained`` wrote is one."""
    from fcn.models.pretrained_folder import CONFIG, WEIGHTS

    files = [file for name in NAMES for file in folder.rglob(name)]
    whole = [file.parent if file.name == CONFIG else file for file in files if file.name != CONFIG or (file.parent / WEIGHTS).is_file()]
    return newest(whole)


def newest(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in sorted(set(paths), key=lambda path: (-path.stat().st_mtime, str(path)))]


class Models:
    """Loads each of the offered models when it is first used, and keeps the last few.

    names: the offered models. device: torch's name of the device that they go to.
    """

    def __init__(self, names: list[str], device: str) -> None:
        self.names, self.device = names, device
        self._load = lru_cache(maxsize=HELD)(self._loaded)

    def __call__(self, name: str | None) -> "Segmenter":
        """The model of that name. Raises UserError for one that is not offered: a page must not choose what file is opened."""
        if name not in self.names:
            raise UserError("choose a model; fcn demo checkpoint=... offers others")
        return self._load(name)

    def _loaded(self, name: str) -> "Segmenter":
        from fcn.training.checkpoint import load

        model = load(name, device=self.device)
        if model.labels is None:
            raise UserError(f"{name} does not say what its classes are; give another model")
        if getattr(model, "gives", "") == "labels":
            raise UserError(f"{name} gives labels, and the page shows confidence too; choose a model that was exported without labels=true")
        return model
