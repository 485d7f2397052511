"""The commands: from a checked configuration to built objects to a run. One function per command; each returns an exit status.

Heavy imports stand inside the functions: ``fcn --help`` and a wrong call are answered without them.
"""

import glob
import itertools
import json
import logging
import math
import os
import platform
import sys
import time
from collections import Counter
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn.config import EvaluateConfig, FilesConfig, PredictConfig, TrainConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)

# --- train ---


def train(config: TrainConfig) -> int:
    """Train a network and leave its checkpoints, curves and samples in a folder."""
    import torch
    import yaml

    from fcn.data.files import remove_unfinished, written
    from fcn.data.transforms import ColorJitter, TrainingTransform
    from fcn.data.verify import verify
    from fcn.inference.strategies import create_strategy
    from fcn.models.segmenter import create_model
    from fcn.training.batches import Plan
    from fcn.training.checkpoint import read_checkpoint, spec_words
    from fcn.training.devices import create_accelerator, place
    from fcn.training.losses import SegmentationLoss
    from fcn.training.optim import create_optimizer, create_schedule
    from fcn.training.train import State, moving_average
    from fcn.training.train import train as run_training

    begin = time.monotonic()
    accelerator = create_accelerator(config.device, config.precision)
    if config.resume is None:
        refuse_used(config.output)
    if config.tensorboard and find_spec("tensorboard") is None:
        raise ValueError("tensorboard=true needs the package tensorboard; install fcn[tensorboard], or leave it out")
    if isinstance(config.data, FilesConfig):
        config.data.root = os.path.abspath(config.data.root)  # the run is scored and resumed from other folders as well
    last = Path(config.resume or "") / "last.pt"
    resumed = read_checkpoint(last) if config.resume and last.exists() else None  # a run cut before its first checkpoint starts again
    with accelerator.main_process_first():  # which downloads and checks
        training, validation = (load_split(asdict(config.data), split) for split in (config.data.train, config.data.val))
        if isinstance(config.data, FilesConfig) and accelerator.is_main_process and not resumed:
            for split in (training, validation):
                verify(split, config.data.verify)
    torch.manual_seed(config.seed)
    model = create_model(
        config.model.name,
        backbone=config.backbone.name,
        upsample=config.upsample.name,
        num_classes=training.labels.num_classes,
        output_stride=config.backbone.output_stride,
        weights=None if resumed else config.model.weights,
        backbone_weights=None if resumed else config.backbone.weights,
        model_options=part_options(config.model, "name", "weights"),
        backbone_options=part_options(config.backbone, "name", "weights", "output_stride"),
        upsample_options=part_options(config.upsample, "name"),
    )
    model.labels = training.labels
    cells = config.batch_size * math.ceil(config.augment.crop_size / model.backbone.strides[-1]) ** 2
    if cells == 1 and any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()):
        raise ValueError(
            f"batch_size=1 with augment.crop_size={config.augment.crop_size} leaves one cell at stride {model.backbone.strides[-1]}, "
            f"of which batch norm cannot take a variance; give a larger batch or crop"
        )
    plan = Plan(
        len(training), config.batch_size, config.epochs, accumulate=config.accumulate, processes=accelerator.num_processes, seed=config.seed
    )
    color = ColorJitter(config.augment.brightness, config.augment.contrast, config.augment.saturation, config.augment.hue)
    red, green, blue = model.backbone.mean
    transform = TrainingTransform(
        config.augment.crop_size,
        scale=(config.augment.scale[0], config.augment.scale[1]),
        flip=config.augment.flip,
        color=color if color != ColorJitter(0, 0, 0, 0) else None,
        fill=(round(255 * red), round(255 * green), round(255 * blue)),
    )
    loss = SegmentationLoss(training.labels.num_classes, **asdict(config.loss))
    if config.sync_batchnorm and accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model = place(model, accelerator, channels_last=config.channels_last)
    optimizer = create_optimizer(config.optim.name, model, **part_options(config.optim, "name"))
    schedule = create_schedule(config.schedule.name, plan.steps, **part_options(config.schedule, "name"))
    strategy = create_strategy(config.inference.name, **part_options(config.inference, "name"))
    state = State(model, optimizer, moving_average(model, config.ema) if config.ema else None)
    if resumed:
        state.restore(resumed, plan)
    if config.resume:
        folder = Path(config.resume)
        if accelerator.is_main_process:
            remove_unfinished(folder)
    else:
        folder = new_folder("train", config.output, accelerator)
        if accelerator.is_main_process:
            with written(folder / "config.yaml") as temporary:
                temporary.write_text(yaml.safe_dump(asdict(config), sort_keys=False))
            with written(folder / "environment.txt") as temporary:
                temporary.write_text(environment(accelerator))
    assert model.spec is not None
    classes = training.labels.num_classes
    log.info("%s: %d classes, %d images to train on, %d to score", config.data.name, classes, len(training), len(validation))
    log.info(
        "%s: %.1f M parameters, %s weights",
        spec_words(model.spec),
        sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        "resumed" if resumed else config.model.weights or config.backbone.weights or "random",
    )
    log.info("%s; writing to %s", hardware(accelerator), folder)
    best = run_training(
        state,
        training,
        validation,
        plan=plan,
        transform=transform,
        loss=loss,
        schedule=schedule,
        strategy=strategy,
        accelerator=accelerator,
        folder=folder,
        clip_norm=config.clip_norm,
        workers=config.workers,
        validate_every=config.validate_every,
        save_seconds=config.save_seconds,
        tensorboard=config.tensorboard,
        facts={"data": asdict(config.data)},
    )
    log.info("best mIoU %.4f after %.0f s: %s", best, time.monotonic() - begin, folder / "best.pt")
    accelerator.end_training()
    return 0


# --- evaluate ---


def evaluate(config: EvaluateConfig) -> int:
    """Score a checkpoint on a split of a data set and leave the table, ``metrics.json`` and ``confusion.png`` in a folder."""
    from fcn.data.files import written
    from fcn.data.submission import Submission
    from fcn.data.verify import verify
    from fcn.inference.strategies import create_strategy
    from fcn.training.checkpoint import model_from_state, read_checkpoint
    from fcn.training.devices import create_accelerator, place
    from fcn.training.evaluate import evaluate as score
    from fcn.training.metrics import scores, table
    from fcn.training.plots import draw_confusion

    refuse_used(config.output)
    accelerator = create_accelerator(config.device, config.precision)
    state = read_checkpoint(config.checkpoint)
    if config.data is not None:
        data = asdict(config.data)
    elif "data" in state:
        data = {key: value for key, value in state["data"].items() if key != "download"}  # nothing is fetched unasked
    else:
        raise ValueError(f"{config.checkpoint} does not say what data it was trained on; give data=NAME")
    name = config.split or data["val"]
    with accelerator.main_process_first():
        split = load_split(data, name)
    model = place(model_from_state(state, config.checkpoint), accelerator, channels_last=config.channels_last)
    assert model.labels is not None
    if model.labels.names != split.labels.names:
        raise ValueError(
            f"{config.checkpoint} was trained for {model.labels.num_classes} classes ({', '.join(model.labels.names[:5])}, ...) "
            f"and data={data['name']} has {split.labels.num_classes} ({', '.join(split.labels.names[:5])}, ...); "
            f"give the data set that it was trained for"
        )
    if "verify" in data and accelerator.is_main_process:
        verify(split, data["verify"])
    strategy = create_strategy(config.inference.name, **part_options(config.inference, "name"))
    if config.submission and not data["name"].startswith("voc2012"):
        raise ValueError(f"submission=true writes the Pascal VOC server's archive, and data={data['name']} is not VOC; use data=voc2012")
    folder = new_folder("evaluate", config.output, accelerator)
    submission = Submission(folder, split.names, split.labels) if config.submission else None
    begin = time.monotonic()
    with accelerator.autocast():
        visit = submission.add if submission else None
        matrix = score(model, split, strategy, accelerator, workers=config.workers, visit=visit)
    result = scores(matrix)
    if accelerator.is_main_process:
        protocol = {
            "checkpoint": str(config.checkpoint),
            "data": data["name"],
            "split": name,
            "images": len(split),
            "resolution": "the images' own",
            "inference": asdict(config.inference),
            "precision": "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision,
            "void": "left out",
            "absent classes": "left out of the means",
        }
        with written(folder / "metrics.json") as temporary:
            content = {**result.as_dict(split.labels.names), "confusion": matrix.tolist(), "protocol": protocol}
            temporary.write_text(json.dumps(content, indent=1) + "\n")
        draw_confusion(matrix, split.labels.names, folder / "confusion.png")
        text = table(result, matrix, split.labels.names)
        with written(folder / "table.txt") as temporary:
            temporary.write_text(text + "\n")
        print(text)
        print(
            f"{data['name']} {name}: {len(split)} images at their own resolution, inference={config.inference.name}, "
            f"{protocol['precision']}, void left out, {time.monotonic() - begin:.0f} s; {folder}"
        )
        if not matrix.any():
            print(f"the label maps of {data['name']} {name} hold nothing but void: there is nothing to score")
    if submission and accelerator.is_main_process:
        print(f"checked, for the VOC server: {submission.pack()}")
    return 0


# --- predict ---


def predict(config: PredictConfig) -> int:
    """Label images and leave, for each, a palette PNG of class indices and an overlay; one that cannot be read is named and skipped."""
    from tqdm import tqdm

    from fcn.data.images import read_image
    from fcn.data.pictures import save_labels, save_overlay
    from fcn.inference.strategies import create_strategy
    from fcn.training.checkpoint import load
    from fcn.training.devices import create_accelerator, place

    refuse_used(config.output)
    paths = input_images(config.input)
    accelerator = create_accelerator(config.device, config.precision)
    model = place(load(config.checkpoint), accelerator, channels_last=config.channels_last)
    assert model.labels is not None
    strategy = create_strategy(config.inference.name, **part_options(config.inference, "name"))
    folder = new_folder("predict", config.output)
    failed = []
    for path, name in tqdm(list(zip(paths, output_names(paths), strict=True)), "labelling", unit="image", disable=len(paths) == 1):
        try:
            image = read_image(path)
            with accelerator.autocast():
                labels = strategy(model, image)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            failed.append(path)
            reason = " ".join(str(error).split()) or type(error).__name__
            tqdm.write(f"skipped: {reason}" if str(path) in reason else f"skipped {path}: {reason}", file=sys.stderr)
            continue
        save_labels(labels, model.labels, folder / f"{name}.png")
        save_overlay(image, labels, model.labels, folder / f"{name}_overlay.png", alpha=config.alpha)
    print(f"{len(paths) - len(failed)} of {len(paths)} images labelled in {folder}")
    return 1 if failed else 0


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
        while {name, f"{name}_overlay"} & taken:
            name += "_"
        taken |= {name, f"{name}_overlay"}
        names.append(name)
    return names


# --- what the commands share ---


def load_split(data: dict[str, Any], split: str) -> Any:
    """A split of the data set that a ``data`` configuration, as plain values, describes."""
    from fcn.data import create_split

    options = {key: value for key, value in data.items() if key not in ("name", "train", "val", "recipe", "verify")}
    return create_split(data["name"], split, **options)


def part_options(part: Any, *left_out: str) -> dict[str, Any]:
    """The settings of a part of the configuration as keyword arguments."""
    return {key: value for key, value in asdict(part).items() if key not in left_out}


def new_folder(command: str, output: str | None, accelerator: "Accelerator | None" = None) -> Path:
    """Make the output folder, ``output`` or a dated one; the processes of a run share it.

    Raises ValueError where it holds something already.
    """
    if accelerator is not None and accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        made = [str(new_folder(command, output)) if accelerator.is_main_process else ""]
        broadcast_object_list(made)
        return Path(made[0])
    if output is None:
        return dated_folder(command)
    refuse_used(output)
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"output={folder} cannot be made ({error.strerror}: {error.filename}); give another folder") from error
    return folder


def refuse_used(output: str | None) -> None:
    """ValueError where the output folder holds something already: no run writes over another."""
    folder = Path(output) if output else None
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        more = f", or resume={folder} to go on with the run in it" if (folder / "config.yaml").exists() else ""
        raise ValueError(f"output={folder} holds something already; give a folder that is new or empty{more}")


def dated_folder(command: str) -> Path:
    """A new folder named after the time; runs that start in the same second get different ones."""
    base = Path("outputs") / command / time.strftime("%Y-%m-%d_%H-%M-%S")
    base.parent.mkdir(parents=True, exist_ok=True)
    for count in itertools.count(1):
        folder = base if count == 1 else base.with_name(f"{base.name}_{count}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def hardware(accelerator: "Accelerator") -> str:
    import torch

    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {torch.get_num_threads()} threads"
    precision = "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision
    return f"{accelerator.num_processes} x {name}, {precision}" if accelerator.num_processes > 1 else f"{name}, {precision}"


def environment(accelerator: "Accelerator") -> str:
    """The versions and the hardware of a run, for its folder."""
    packages = ("fcn", "torch", "torchvision", "segmentation-models-pytorch", "timm", "accelerate", "hydra-core", "pillow", "numpy")
    lines = [f"python {platform.python_version()} on {platform.platform()}", hardware(accelerator)]
    for package in packages:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} not installed")
    return "\n".join(lines) + "\n"
