"""``fcn compare``: the same network with each up-sampler, trained under each seed, all else equal; what comes out, and what it costs.

Every training is a call of ``fcn compare resume=DIR cell=NAME`` in a process of its own: one that dies harms no other, its memory is its
own, and a launcher can send it to another machine.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fcn.commands.folders import new_folder, refuse_used
from fcn.commands.hardware import environment, hardware
from fcn.commands.parts import load_split, part_options
from fcn.commands.train import train
from fcn.config.commands import CompareConfig, TrainConfig, TrainingConfig
from fcn.config.data import FilesConfig
from fcn.config.models import UpsampleConfig

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Sequence[str]], Path], Any]  # calls of fcn, and a folder for what is kept of them


def compare(config: CompareConfig, *, launch: Launch | None = None) -> int:
    """Train what is not trained yet, and leave ``compare.json``, ``.md``, ``.png`` and ``report.html``. launch: runs the trainings."""
    import yaml

    from fcn.data.files import remove_unfinished, written
    from fcn.models.upsample import create_upsampler
    from fcn.studies.compare.cells import THIN, read_results
    from fcn.studies.compare.report import write_report
    from fcn.training.devices import create_accelerator

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("fcn compare starts its trainings itself and cannot run under torchrun; give hydra/launcher=... to spread them")
    if config.cell is not None:
        return run_cell(config, Path(config.resume or ""))
    begin = time.monotonic()
    for method in config.upsample:
        create_upsampler(method)  # which answers a wrong word
    if isinstance(config.data, FilesConfig):
        config.data.root = os.path.abspath(config.data.root)
    if config.resume is None:
        refuse_used(config.output)
        accelerator = create_accelerator(config.device, config.precision)
        labels = load_split(asdict(config.data), config.data.val).labels
        config.thin = THIN.get(config.data.name, []) if config.thin is None else config.thin
        for name in config.thin:
            labels.index(name)
        folder = new_folder("compare", config.output)
        with written(folder / "config.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(asdict(config), sort_keys=False))
        with written(folder / "environment.txt") as temporary:
            temporary.write_text(environment(accelerator))
    else:
        folder = Path(config.resume)
        remove_unfinished(folder)
    waiting = [name for name in config.cells if not (folder / "cells" / name / "result.json").is_file()]
    log.info(
        "%d trainings to do, %d done; cut, it goes on with: fcn compare resume=%s", len(waiting), len(config.cells) - len(waiting), folder
    )
    machine = [f"{key}={getattr(config, key)}" for key in ("device", "workers", "save_seconds")]
    calls = [["compare", f"resume={folder.absolute()}", f"cell={name}", *machine] for name in waiting]
    try:
        (launch or InTurn(folder, waiting, config.epochs))(calls, folder / "jobs")
    except RuntimeError as error:
        log.warning("%s", error)
    results, failed = read_results(folder, config.cells)
    if not results:
        raise RuntimeError(f"none of {len(config.cells)} trainings ended: {next(iter(failed.values()))}")
    split = load_split(asdict(config.data), config.data.val)
    write_report(folder, asdict(config), results, failed, split)
    print((folder / "compare.md").read_text())
    log.info("%.0f s; look at %s", time.monotonic() - begin, folder / "report.html")
    for name, reason in failed.items():
        log.warning("failed: %s: %s", name, reason)
    return 1 if failed else 0


class InTurn:
    """Runs the cells of a comparison one after the other, each in a process whose words go to ``log.txt`` in the cell's folder."""

    def __init__(self, folder: Path, names: Sequence[str], epochs: int) -> None:
        self.folder, self.names, self.epochs = folder, names, epochs

    def __call__(self, calls: Sequence[Sequence[str]], _: Path) -> None:
        from tqdm import tqdm

        form = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed} gone, {remaining} left"
        terminal = sys.stderr.isatty()
        with tqdm(
            total=self.epochs * len(calls), bar_format=form, disable=not calls, mininterval=0.5 if terminal else 30, miniters=0
        ) as bar:
            for count, (name, call) in enumerate(zip(self.names, calls, strict=True)):
                bar.set_description_str(f"{name} ({count + 1} of {len(calls)})", refresh=terminal)
                self._run(name, call, lambda epoch, count=count: bar.update(count * self.epochs + epoch - bar.n))  # type: ignore[misc]
                bar.update((count + 1) * self.epochs - bar.n)
                bar.write(f"{name}: {self._outcome(name)}", file=sys.stderr)

    def _run(self, name: str, call: Sequence[str], show: Callable[[float], Any]) -> None:
        from fcn.training.records import read_lines

        cell = self.folder / "cells" / name
        cell.mkdir(parents=True, exist_ok=True)
        with open(cell.with_name(f"{name}.log"), "ab") as words:
            process = subprocess.Popen([sys.executable, "-m", "fcn", *call], stdout=words, stderr=words, stdin=subprocess.DEVNULL)
            try:
                while process.poll() is None:
                    try:
                        process.wait(1.0)
                    except subprocess.TimeoutExpired:
                        lines = read_lines(cell / "metrics.jsonl")
                        show(lines[-1]["epoch"] if lines else 0)
            except BaseException:
                process.terminate()
                process.wait()
                raise

    def _outcome(self, name: str) -> str:
        from fcn.studies.compare.cells import read_results

        results, failed = read_results(self.folder, [name])
        if failed:
            return f"failed: {failed[name]}"
        return f"mIoU {results[name]['quality']['miou'] or 0:.4f}, {results[name]['seconds']:.0f} s"


# --- one cell ---


def run_cell(config: CompareConfig, comparison: Path) -> int:
    """Train, score and measure one cell, or go on where it was cut; nothing where it is done. What goes wrong is kept in ``error.txt``."""
    assert config.cell is not None
    from fcn.data.files import written

    folder = comparison / "cells" / config.cell
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f"{config.cell}.lock")):
        if (folder / "result.json").is_file():
            return 0
        (folder / "error.txt").unlink(missing_ok=True)
        try:
            train_and_measure(config, folder)
        except Exception as error:
            with written(folder / "error.txt") as temporary:
                temporary.write_text(f"{' '.join(str(error).split()) or type(error).__name__}\n")
            raise
    return 0


def train_and_measure(config: CompareConfig, folder: Path) -> None:
    from fcn.data.files import remove_unfinished
    from fcn.inference.strategies import create_strategy
    from fcn.studies.compare.cells import costs, final_model, peak_memory, save_maps, score_cell, write_json
    from fcn.studies.compare.flat import checkerboard_index, flat_scores
    from fcn.training.checkpoint import model_state, save_checkpoint
    from fcn.training.devices import create_accelerator, place

    assert config.cell is not None
    begin = time.monotonic()
    method, seed = config.cell.rsplit("-", 1)
    remove_unfinished(folder)
    begun = (folder / "last.pt").is_file()
    train(cell_config(config, method, int(seed), folder), started=write_start)
    accelerator = create_accelerator(config.device, config.precision)
    memory = None if begun else peak_memory(accelerator.device)
    model = place(final_model(folder), accelerator, channels_last=config.channels_last)
    split = load_split(asdict(config.data), config.data.val)
    strategy = create_strategy(config.inference.name, **part_options(config.inference, "name"))
    quality, kept = score_cell(model, split, strategy, accelerator, thin=config.thin or [], workers=config.workers)
    flat = flat_scores(model)
    save_maps(folder / "kept.npz", kept)
    save_maps(folder / "flat.npz", {"scores": flat.numpy()})
    start = read_start(folder)
    save_checkpoint(model_state(model, split.labels, miou=quality["miou"], data=asdict(config.data)), folder / "final.pt")
    write_json(
        folder / "result.json",
        {
            "upsample": method,
            "seed": int(seed),
            "quality": quality,
            "checkerboard": {"before": start["checkerboard"], "after": checkerboard_index(flat, model.backbone.strides[-1])},
            "cost": {**costs(model, folder, split[0][0], strategy, accelerator), "peak_memory": memory},
            "hardware": hardware(accelerator),
            "seconds": round(time.monotonic() - begin, 1),
        },
    )
    (folder / "last.pt").unlink()  # three times as large as the model, for going on with what is done


def write_start(folder: Path, model: Any, *rest: Any) -> None:
    """What the cell starts from, and the pattern that its network draws before it has learnt anything."""
    from fcn.studies.compare.cells import write_json
    from fcn.studies.compare.equal import start_of
    from fcn.studies.compare.flat import checkerboard_index, untrained_scores

    pattern = checkerboard_index(untrained_scores(model), model.backbone.strides[-1])
    write_json(folder / "start.json", {"checkerboard": pattern, "equal": start_of(model, *rest)})


def read_start(folder: Path) -> dict[str, Any]:
    import json

    return json.loads((folder / "start.json").read_text())


def cell_config(config: CompareConfig, method: str, seed: int, folder: Path) -> TrainConfig:
    """The settings of ``fcn train`` for a cell: the comparison's, with one method and one seed; a run that has begun goes on."""
    shared = {field.name: getattr(config, field.name) for field in fields(TrainingConfig)}
    begun = (folder / "config.yaml").is_file()
    shared |= {"resume": str(folder) if begun else None, "output": None if begun else str(folder)}
    return TrainConfig(**shared, upsample=UpsampleConfig(method), seed=seed)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Within it no other process on this file system holds ``path``; waits for the one that does, which may have outlived its parent."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
