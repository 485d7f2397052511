"""``fcn.train``: the training of ``fcn train``, of a model and two splits that the caller has made."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import torch

from fcn.core.conf import default_parts
from fcn.core.errors import UserError
from fcn.core.images import kind_of
from fcn.core.names import a_type
from fcn.core.registry import find
from fcn.core.settings import REQUIRED, Setting, by_owner, plain, settings_of
from fcn.data.split import Split, check_split
from fcn.data.verify import MODES
from fcn.models.onnx_model import OnnxModel
from fcn.models.segmenter import Segmenter
from fcn.tools.parts import look_at
from fcn.tools.schema import Recipe, loss_schema, part_schema
from fcn.tools.settings import AugmentConfig
from fcn.tools.train.fit import fit, measure_images
from fcn.tools.train.resume import read_last
from fcn.tools.train.run import check_folder
from fcn.tools.train.settings import TrainConfig
from fcn.training.devices import accelerated
from fcn.training.evaluate import check_classes, check_images
from fcn.training.hooks import Epoch, Hooks, Step

PARTS = default_parts("train")
KINDS = {"optim": "optim", "schedule": "schedule", "inference": "strategy"}  # kinds of parts, and their arguments in Python
AUGMENT: dict[str, Any] = {"crop_size": Recipe.crop_size, "scale": Recipe().scale} | dict.fromkeys(
    ("brightness", "contrast", "saturation"), Recipe.color
)
COMMAND_ONLY = ("plugins",)  # of fcn train: in Python, an import
ELSEWHERE = {  # arguments of other libraries, and what is meant here
    "learning_rate": "the learning rate is lr=",
    "num_epochs": "it is epochs=",
    "max_epochs": "it is epochs=",
    "num_workers": "it is workers=",
    "optimizer": "it is optim=",
    "scheduler": "it is schedule=",
    "lr_scheduler": "it is schedule=",
    "loss": "give each term its weight, as cross_entropy=1.0, dice=1.0",
    "criterion": "give each term of the loss its weight, as cross_entropy=1.0, dice=1.0",
    "tensorboard": 'it is tracker="tensorboard"',
    "callbacks": "functions that are called on the way are on_step= and on_epoch=",
    "augmentation": "give crop_size=, scale=, augment_flip=, brightness=, contrast=, saturation= and hue=",
}
OF_THE_MACHINE = (
    "device",
    "precision",
    "workers",
    "save_seconds",
    "tracker",
    "gradient_checkpointing",
    "output",
    "resume",
)  # may differ when a run goes on


@dataclass(frozen=True)
class Trained:
    """What a training has left.

    mean_iou: best mean IoU on the validation split, 0 to 1.
    checkpoint: file of the weights that reached it, for ``fcn.load``.
    folder: folder of the run: ``best.pt``, ``last.pt``, ``metrics.jsonl``, ``curves.png``, ``samples.png``, ``environment.txt``.
    """

    mean_iou: float
    checkpoint: Path
    folder: Path


def train(
    model: Segmenter,
    training: Split,
    validation: Split,
    *,
    epochs: int = Recipe.epochs,
    batch_size: int = Recipe.batch_size,
    optim: str = PARTS["optim"],
    schedule: str = PARTS["schedule"],
    strategy: str = PARTS["inference"],
    output: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    device: str = TrainConfig.device,
    precision: str = TrainConfig.precision,
    workers: int = TrainConfig.workers,
    seed: int = TrainConfig.seed,
    verify: Literal["auto", "all", "none"] = "auto",
    on_step: Callable[[Step], object] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    progress: bool = True,
    **options: Any,
) -> Trained:
    """Train a model on one split and score it on another: the loop of ``fcn train``.

    >>> training, validation = (fcn.create_split("shapes", name, train_count=8, val_count=3) for name in ("train", "val"))
    >>> model = fcn.create_model("fcn8s", backbone="compact", classes=training.labels)
    >>> result = fcn.train(model, training, validation, epochs=1, batch_size=4, crop_size=64, lr=0.002, dice=1.0, workers=0)
    >>> result.mean_iou, fcn.load(result.checkpoint).labels.names

    model: network from ``fcn.create_model`` or ``fcn.load``. It is trained in place, moves to the device, and ends with the weights of
        the last step. ``fcn.load(result.checkpoint)`` has the best ones.
    training: split to train on: from ``fcn.create_split``, or an object of your own (docs/extending.md has an example).
    validation: split to score, with the same classes.
    epochs: passes over the training split; default 50.
    batch_size: samples per step and process; default 8.
    optim: optimizer, "adamw" or "sgd", or a registered one; default "adamw".
    schedule: learning rate after the warm-up, "poly", "cosine" or "constant", or a registered one; default "poly".
    strategy: way through the network in the validation, as in ``fcn.predict``; default "auto".
    output: folder to write to, new or empty; default: a dated one under ``outputs/train``.
    resume: folder of a run that was cut, to go on with it: same model, splits and settings give the same weights, bit for bit.
    device: "auto", "cpu", "cuda" or "mps"; default "auto".
    precision: number format of the network: "auto", "fp32", "bf16" or "fp16"; default "auto", bf16 if the hardware computes in it.
    workers: number of processes that read and augment; 0: this process; default 2.
    seed: seed of every random choice of the training; default 0.
    verify: samples that are checked before: "auto" (all up to 500, else 500 of them), "all" or "none"; default "auto".
    on_step: function that is called after every step, with ``step``, ``epoch``, ``loss`` and ``lr`` as attributes; default None.
    on_epoch: function that is called after every epoch, with ``epoch``, ``step``, ``scores`` (a dict as in ``metrics.jsonl``, or None
        without a validation), ``best`` and ``model`` as attributes; default None. What a function raises ends the training, and the
        checkpoint of the epoch stays.
    progress: show progress and each validation's table on stderr; default True.
    options: every other setting of ``fcn train``, by its last word: ``crop_size=320``, ``lr=0.001``, ``dice=1.0``, ``warmup=0.1``. If
        several parts have a setting, write the part before it: ``augment_flip=0.5``. docs/api.md lists all.

    Returns a ``Trained``: ``mean_iou``, ``checkpoint``, ``folder``.

    Raises TypeError for what is no model or no split. Raises UserError, before the first step, for settings that are not allowed, classes
    that differ and samples that cannot be used. Raises FloatingPointError for a loss that is not finite; the last checkpoint stays.
    """
    check_model(model)
    for split, what in ((training, "the training split"), (validation, "the validation split")):
        check_split(split, what)
    if verify not in MODES:
        raise UserError(f"verify={verify!r} is not known; allowed: {', '.join(MODES)}")
    if training.labels.names != validation.labels.names:
        raise UserError(
            f"the training split has the classes {', '.join(training.labels.names)} and the validation split "
            f"{', '.join(validation.labels.names)}; give two splits of the same classes, in the same order"
        )
    check_classes(model, training.labels, split="the training split")
    for split, what in ((training, "the training split"), (validation, "the validation split")):
        check_images(model, kind_of(split), split=what)
    measure_images(model, training, progress=progress)
    config = configuration(
        {"optim": optim, "schedule": schedule, "inference": strategy},
        {
            "epochs": epochs,
            "batch_size": batch_size,
            "output": None if output is None else fspath(output),
            "resume": None if resume is None else fspath(resume),
            "device": device,
            "precision": precision,
            "workers": workers,
            "seed": seed,
        },
        options,
    )
    check_folder(config)
    settings = {name: plain(value) for name, value in asdict(config).items() if name not in OF_THE_MACHINE and value != REQUIRED}
    resumed = read_run(Path(config.resume)) if config.resume else None
    if resumed:
        check_same(model, training, settings, resumed, f"{config.resume}/last.pt")
    with accelerated(device, precision) as accelerator, torch.random.fork_rng(devices=[]):
        if accelerator.is_main_process and not resumed:
            look_at(training, validation, verify, progress=progress)
        torch.manual_seed(config.seed)
        model.labels = training.labels
        folder, best = fit(
            config,
            accelerator,
            model.train(),
            training,
            validation,
            resumed=resumed,
            weights="resumed" if resumed else "given",
            settings=None,
            facts={"settings": settings},
            hooks=Hooks(on_step, on_epoch),
            progress=progress,
        )
    return Trained(best, folder / "best.pt", folder)


def check_model(model: Any) -> None:
    """Raises TypeError for what is no model, and UserError for one whose checkpoint could not rebuild it."""
    if isinstance(model, OnnxModel):
        raise UserError(f"{model.path} is an exported file, which cannot be trained; give the checkpoint that it was made from")
    if not isinstance(model, Segmenter):
        raise TypeError(f"the model is {a_type(model)}; give what fcn.create_model(...) or fcn.load(PATH) returns")
    if model.spec is None:
        raise UserError(
            "this model was made by neither fcn.create_model nor fcn.wrap, so that a checkpoint cannot rebuild it; register its parts"
        )


def configuration(parts: Mapping[str, str], given: Mapping[str, Any], options: Mapping[str, Any]) -> TrainConfig:
    """The checked settings of a training, as those of ``fcn train``, but for the parts that the caller has made.

    parts: names of optimizer, schedule and strategy. given: settings of the command. options: all other settings, by their last words.
    """
    found = by_owner(owners(parts), options, "fcn.train", ELSEWHERE)
    made: dict[str, Any] = {kind: part_schema(kind, name)(**found[KINDS[kind]]) for kind, name in parts.items()}
    rest: dict[str, Any] = {
        "augment": AugmentConfig(**AUGMENT | found["augment"]),
        "loss": loss_schema()(**found["loss"]),
    }
    return TrainConfig(**made, **rest, **given, **found[""])


def owners(parts: Mapping[str, str]) -> dict[str, tuple[Setting, ...]]:
    """The settings that ``options`` of ``train`` may hold, by what has them: "" is the training itself."""
    explicit = train.__kwdefaults__ or {}
    own = tuple(setting for setting in settings_of(TrainConfig) if setting.name not in explicit and setting.name not in COMMAND_ONLY)
    augment = tuple(replace(setting, default=AUGMENT.get(setting.name, setting.default)) for setting in settings_of(AugmentConfig))
    found = {"": own, "augment": augment, "loss": loss_schema().SETTINGS}
    return found | {KINDS[kind]: find(kind, name).settings for kind, name in parts.items()}


def read_run(folder: Path) -> dict[str, Any] | None:
    """The contents of a run's ``last.pt``; None for one that was cut before it wrote any. Raises UserError for what is no run of Python."""
    if not folder.is_dir():
        raise UserError(f"resume={str(folder)!r} is no folder; give the folder of a run")
    if (folder / "config.yaml").is_file():
        raise UserError(f"resume={str(folder)!r} is a run of the command line; go on with: fcn train resume={folder}")
    return read_last(folder)


def check_same(model: Segmenter, training: Split, settings: Mapping[str, Any], state: Mapping[str, Any], file: str) -> None:
    """Raises UserError where a checkpoint is of another model, of other classes or of other settings than those that are given."""
    assert model.spec is not None
    changed = [
        f"{key}={value!r} (now {plain(getattr(model.spec, key, None))!r})"
        for key, value in state["spec"].items()
        if plain(value) != plain(getattr(model.spec, key, None))
    ]
    if state["labels"]["names"] != list(training.labels.names):
        changed.append(f"the classes {', '.join(state['labels']['names'])} (now {', '.join(training.labels.names)})")
    before, now = flat(state.get("settings", {})), flat(settings)
    changed += [f"{key}={value!r} (now {now.get(key)!r})" for key, value in before.items() if now.get(key) != value]
    if changed:
        raise UserError(f"{file} cannot go on with these arguments: it began with {'; '.join(changed)}; give the same, or a new output=")


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their last words, those of parts with the part before them."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, Mapping) else {key: value}
    return found
