"""``fcn compare``: the same network with each up-sampler, trained under each seed, all else equal; what comes out, and what it costs.

Every training is a call of ``fcn compare resume=DIR cell=NAME`` in a process of its own (see ``cell.py``). One that dies harms no other.
Its memory is its own. A launcher can send it to another machine.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fcn.core.errors import UserError
from fcn.tools.compare.settings import CompareConfig
from fcn.tools.compare.training import InTurn, run_cell
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.hardware import environment
from fcn.tools.parts import load_split, load_splits, look_at, model_of, verify_mode
from fcn.tools.schema import part_schema

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Sequence[str]], Path], Any]  # calls of fcn, and a folder for what is kept of them


def run(config: CompareConfig, *, launch: Launch | None = None) -> int:
    """Train what is not trained yet, and leave ``compare.json``, ``.md``, ``.png`` and ``report.html``. launch: runs the trainings."""
    import yaml

    from fcn.core.files import remove_unfinished, written
    from fcn.tools.compare.cells import read_results
    from fcn.tools.compare.report import write_report
    from fcn.training.devices import create_accelerator

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("fcn compare starts its trainings itself and cannot run under torchrun; give hydra/launcher=... to spread them")
    if config.cell is not None:
        return run_cell(config, Path(config.resume or ""))
    begin = time.monotonic()
    if config.resume is None:
        refuse_used(config.output)
        accelerator = create_accelerator(config.device, config.precision)
        prepare(config)
        folder = new_folder("compare", config.output)
        with written(folder / "environment.txt") as temporary:
            temporary.write_text(environment(accelerator))
    else:
        folder = Path(config.resume)
        remove_unfinished(folder)
        if is_larger(config, yaml.safe_load((folder / "config.yaml").read_text())):
            prepare(config)
    with written(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump({**asdict(config), "resume": None}, sort_keys=False))
    waiting = [name for name in config.cells if not (folder / "cells" / name / "result.json").is_file()]
    log.info(
        "%d trainings to do, %d done; cut, it goes on with: fcn compare resume=%s", len(waiting), len(config.cells) - len(waiting), folder
    )
    machine = [f"{key}={getattr(config, key)}" for key in ("device", "workers", "save_seconds")]
    machine += [f"plugins=[{','.join(config.plugins)}]"] if config.plugins else []
    calls = [["compare", f"resume={folder.absolute()}", f"cell={name}", *machine] for name in waiting]
    try:
        if calls:
            (launch or InTurn(folder, waiting, config.epochs))(calls, folder / "jobs")
    except RuntimeError as error:
        log.warning("%s", error)
    results, failed = read_results(folder, config.cells)
    if not results:
        raise UserError(f"none of {len(config.cells)} trainings ended: {next(iter(failed.values()))}")
    split = load_split(asdict(config.data), config.data.options()["val"])
    write_report(folder, asdict(config), results, failed, split)
    print((folder / "compare.md").read_text())
    log.info("%.0f s; look at %s", time.monotonic() - begin, folder / "report.html")
    for name, reason in failed.items():
        log.warning("failed: %s: %s", name, reason)
    return 1 if failed else 0


def is_larger(config: CompareConfig, begun: dict[str, Any]) -> bool:
    """Whether there are more seeds or methods than the comparison began with. UserError where one of those is missing."""
    for key in ("seeds", "upsample"):
        missing = [value for value in begun[key] if value not in getattr(config, key)]
        if missing:
            whole = ",".join(map(str, [*begun[key], *(value for value in getattr(config, key) if value not in begun[key])]))
            raise UserError(
                f"{key} leaves out {', '.join(map(str, missing))}, with which this comparison began; it can be added to, as {key}=[{whole}]"
            )
    return any(len(getattr(config, key)) > len(begun[key]) for key in ("seeds", "upsample"))


def prepare(config: CompareConfig) -> None:
    """Refuse, before anything is trained or written, what would fail late: data that cannot be used, a network that does not go with a
    method, starts that are not equal. Makes the settings fit for any folder and any machine that sees the files."""
    import torch

    from fcn.core.images import kind_of
    from fcn.models.backbones import backbone_part
    from fcn.models.upsample import create_upsampler
    from fcn.tools.compare.cells import THIN
    from fcn.tools.compare.equal import check_equal, shared_weights

    for method in config.upsample:
        create_upsampler(method)  # which answers a wrong word
    backbone_part(config.backbone.name)
    if hasattr(config.data, "root"):
        config.data.root = os.path.abspath(config.data.root)
    for part in (config.model, config.backbone):
        if part.options()["weights"] not in (None, "imagenet", "torchvision"):
            part.weights = os.path.abspath(part.options()["weights"])  # type: ignore[attr-defined]
    training, validation = load_splits(asdict(config.data), *(config.data.options()[split] for split in ("train", "val")))
    config.thin = THIN.get(config.data.name, []) if config.thin is None else config.thin
    for name in config.thin:
        validation.labels.index(name)
    look_at(training, validation, verify_mode(config.data))
    starts = {}
    for method in config.upsample:
        torch.manual_seed(config.seeds[0])
        labels = training.labels
        parts = (config.model, config.backbone, part_schema("upsample", method)())
        model = model_of(*parts, labels.num_classes, labels.names, kind_of(training))
        starts[method] = {"shared weights": shared_weights(model)}
    check_equal(starts)
