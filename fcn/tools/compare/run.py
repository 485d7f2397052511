"""``fcn compare``: trainings that differ in one setting or in several, under each seed, all else equal; scores and costs.

Every training is a call of ``fcn compare resume=DIR cell=NAME`` in a process of its own (see ``training.py``). One that dies harms no
other. Its memory is its own. A launcher can send it to another machine.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fcn.core.errors import UserError
from fcn.tools.compare.settings import Comparison, folder_name
from fcn.tools.compare.training import InTurn, run_cell
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.hardware import environment
from fcn.tools.parts import load_split, load_splits, look_at, model_of, verify_mode

log = logging.getLogger(__name__)

LOOKED = 50  # label maps of a validation split that must be equal where variants have other data
Launch = Callable[[Sequence[Sequence[str]], Path], Any]  # calls of fcn, and a folder for what is kept of them


def run(config: Comparison, *, launch: Launch | None = None) -> int:
    """Train what is not trained yet, and leave ``compare.json``, ``.md``, ``.png`` and ``report.html``. launch: runs the trainings."""
    from fcn.core.files import remove_unfinished, written
    from fcn.tools.compare.cells import read_results
    from fcn.tools.compare.report import write_report
    from fcn.training.devices import create_accelerator

    own = config.settings
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("fcn compare starts its trainings itself and cannot run under torchrun; give hydra/launcher=... to spread them")
    if own.cell is not None:
        return run_cell(config, Path(own.resume or ""))
    begin = time.monotonic()
    if own.resume is None:
        refuse_used(own.output)
        accelerator = create_accelerator(own.device, own.precision)
        prepare(config)
        folder = new_folder("compare", own.output)
        with written(folder / "environment.txt") as temporary:
            temporary.write_text(environment(accelerator))
    else:
        folder = Path(own.resume)
        remove_unfinished(folder)
        if any(not (folder / "cells" / name).is_dir() for name in config.cells):
            prepare(config)
    write_settings(config, folder)
    waiting = [name for name in config.cells if not (folder / "cells" / name / "result.json").is_file()]
    log.info(
        "%d trainings to do, %d done; cut, it goes on with: fcn compare resume=%s", len(waiting), len(config.cells) - len(waiting), folder
    )
    machine = [f"{key}={getattr(own, key)}" for key in ("device", "workers", "save_seconds")]
    machine += [f"plugins=[{','.join(own.plugins)}]"] if own.plugins else []
    calls = [["compare", f"resume={folder.absolute()}", f"cell={name}", *machine] for name in waiting]
    try:
        if calls:
            (launch or InTurn(folder, config, waiting))(calls, folder / "jobs")
    except RuntimeError as error:
        log.warning("%s", error)
    results, failed = read_results(folder, config)
    if not results:
        raise UserError(f"none of {len(config.cells)} trainings ended: {next(iter(failed.values()))}")
    split = load_split(asdict(own.data), own.data.options()["val"])
    write_report(folder, config, results, failed, split)
    print((folder / "compare.md").read_text())
    log.info("%.0f s; look at %s", time.monotonic() - begin, folder / "report.html")
    for name, reason in failed.items():
        log.warning("failed: %s: %s", name, reason)
    return 1 if failed else 0


def write_settings(config: Comparison, folder: Path) -> None:
    """Write what a comparison goes on from: its settings, what is compared, and the settings of each variant."""
    import yaml

    from fcn.core.files import written

    def write(path: Path, content: Any) -> None:
        with written(path) as temporary:
            temporary.write_text(yaml.safe_dump(content, sort_keys=False))

    for name, variant in config.variants.items():
        write(folder / "variants" / f"{folder_name(name, config.choices)}.yaml", {**asdict(variant), "resume": None})
    write(folder / "compared.yaml", {"compared": config.compared, "words": config.words})
    write(folder / "config.yaml", {**asdict(config.settings), "resume": None})


def prepare(config: Comparison) -> None:
    """Refuse, before anything is trained or written, what would fail late: data that cannot be used, a network that cannot be built, starts
    that are not equal. Makes the settings fit for any folder and any machine that sees the files."""
    import torch

    from fcn.core.images import kind_of
    from fcn.inference.strategies import create_strategy
    from fcn.models.backbones import backbone_part
    from fcn.models.upsample import create_upsampler
    from fcn.tools.compare.cells import THIN, check_pairs
    from fcn.tools.compare.equal import shared_weights

    own = config.settings
    for variant in (own, *config.variants.values()):
        create_upsampler(variant.upsample.name, **variant.upsample.options())  # which answers a wrong word
        backbone_part(variant.backbone.name)
        create_strategy(variant.inference.name, **variant.inference.options())
        if hasattr(variant.data, "root"):
            variant.data.root = os.path.abspath(variant.data.root)
        for part in (variant.model, variant.backbone):
            if part.options()["weights"] not in (None, "imagenet", "torchvision"):
                part.weights = os.path.abspath(part.options()["weights"])  # type: ignore[attr-defined]
    splits = checked_splits(config)
    training, validation = splits[0]
    own.thin = THIN.get(own.data.name, []) if own.thin is None else own.thin
    for name in own.thin:
        validation.labels.index(name)
    for variant in config.variants.values():
        variant.thin = own.thin
    starts: dict[str, dict[str, Any]] = {}
    for name in config.cells[: len(config.trainings)]:
        variant = config.variants[config.trainings[config.training_of(name)[0]][0]]
        torch.manual_seed(own.seeds[0])
        labels = training.labels
        model = model_of(variant.model, variant.backbone, variant.upsample, labels.num_classes, labels.names, kind_of(training))
        start = shared_weights(model)
        check_pairs(config, name, start, starts)
        starts[name] = start


def checked_splits(config: Comparison) -> list[Any]:
    """The training and the validation split of each variant's data, looked at. Raises UserError where they are not scored on the same."""
    import torch

    from fcn.data.split import spread

    found: dict[str, Any] = {}
    for name, variant in config.variants.items():
        data = asdict(variant.data)
        if repr(data) not in found:
            training, validation = load_splits(data, *(variant.data.options()[split] for split in ("train", "val")))
            look_at(training, validation, verify_mode(variant.data))
            found[repr(data)] = training, validation
            first = next(iter(found.values()))[1]
            same = (list(first.names), first.labels.names) == (list(validation.names), validation.labels.names)
            looked = spread(range(len(first)), LOOKED) if same and first is not validation else []
            if not same or any(not torch.equal(first.truth(index), validation.truth(index)) for index in looked):
                raise UserError(
                    f"the variant {name} would be scored on other images or classes than the first; compare on one validation split"
                )
    return list(found.values())
