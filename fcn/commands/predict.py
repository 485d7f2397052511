"""``fcn predict``: label maps of an image, a folder or a glob."""

import glob
import sys
from collections import Counter
from pathlib import Path

from fcn.commands.folders import new_folder, refuse_used
from fcn.commands.parts import part_options
from fcn.config.commands import PredictConfig


def predict(config: PredictConfig) -> int:
    """Label images and leave, for each, a palette PNG of class indices and an overlay, on request also a map of confidence; an image that
    cannot be read is named and skipped."""
    import torch
    from tqdm import tqdm

    from fcn.data.images import open_image
    from fcn.data.pictures import save_gray, save_labels, save_overlay
    from fcn.inference.kept import unchanged
    from fcn.inference.strategies import create_strategy
    from fcn.training.checkpoint import load
    from fcn.training.devices import create_accelerator, place

    refuse_used(config.output)
    paths = input_images(config.input)
    accelerator = create_accelerator(config.device, config.precision)
    model = place(load(config.checkpoint), accelerator, channels_last=config.channels_last)
    label_set = model.labels
    assert label_set is not None
    strategy = create_strategy(config.inference.name, **part_options(config.inference, "name"))
    folder = new_folder("predict", config.output)

    def label(path: Path, name: str) -> bool:
        """Whether it could be read and labelled. What it took is free again before the next image is read."""
        try:
            image = open_image(path)
            confidence = torch.empty(image.shape[1:], dtype=torch.uint8) if config.confidence else None
            with accelerator.autocast():
                labels = strategy(model, image, confidence=confidence, progress=True)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            tqdm.write(f"skipped: {reason}" if str(path) in reason else f"skipped {path}: {reason}", file=sys.stderr)
            return False
        save_labels(labels, label_set, folder / f"{name}.png")
        if confidence is not None:
            save_gray(confidence, folder / f"{name}_confidence.png")
        save_overlay(image, labels, label_set, folder / f"{name}_overlay.png", alpha=config.alpha)
        return True

    named = list(zip(paths, output_names(paths), strict=True))
    with unchanged(model):
        labelled = sum(label(path, name) for path, name in tqdm(named, "labelling", unit="image", disable=len(paths) == 1))
    print(f"{labelled} of {len(paths)} images labelled in {folder}")
    return 0 if labelled == len(paths) else 1


def input_images(pattern: str) -> list[Path]:
    """The images that ``input=`` names: one file, those of a folder, or those that match a glob. Raises where there are none."""
    from fcn.data.images import IMAGE_SUFFIXES

    path = Path(pattern)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ValueError(
                f"input={pattern} holds no image ({', '.join(IMAGE_SUFFIXES)}); give another folder, or a glob as 'DIR/**/*.png'"
            )
        return found
    found = sorted(Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file())
    if not found:
        raise FileNotFoundError(f"input={pattern} is no file, no folder, and matches nothing; give an image, a folder or a quoted glob")
    return found


def output_names(paths: list[Path]) -> list[str]:
    """A name for each image's results, under which nothing else is written: its stem, with its suffix and bars where stems meet."""
    stems = Counter(path.stem for path in paths)
    taken: set[str] = set()
    names = []
    for path in paths:
        name = path.stem if stems[path.stem] == 1 else path.name.replace(".", "_")
        while written_for(name) & taken:
            name += "_"
        taken |= written_for(name)
        names.append(name)
    return names


def written_for(name: str) -> set[str]:
    """The names of an image's results."""
    return {name, f"{name}_overlay", f"{name}_confidence"}
