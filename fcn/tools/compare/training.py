"""One training of a comparison, in a process of its own, and what runs such processes one after the other."""

import logging
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

from fcn.core.progress import Progress, tell
from fcn.tools.compare.settings import CompareConfig, Comparison
from fcn.tools.hardware import machine
from fcn.tools.parts import load_split
from fcn.tools.processes import this_fcn
from fcn.tools.settings import TrainingConfig
from fcn.tools.train.run import run as train
from fcn.tools.train.settings import TrainConfig

log = logging.getLogger(__name__)


def run_cell(comparison: Comparison, root: Path) -> int:
    """Train, score and measure one cell, or go on where it was cut; nothing where it is done. What goes wrong is kept in ``error.txt``."""
    cell = comparison.settings.cell
    assert cell is not None
    folder = root / "cells" / cell
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f"{cell}.lock")):
        if (folder / "result.json").is_file():
            return 0
        (folder / "error.txt").unlink(missing_ok=True)
        try:
            train_and_measure(comparison, folder)
        except Exception as error:
            keep_error(folder, " ".join(str(error).split()) or type(error).__name__)
            raise
    return 0


def keep_error(folder: Path, reason: str) -> None:
    from fcn.core.files import written

    with written(folder / "error.txt") as temporary:
        temporary.write_text(f"{reason}\n")


def train_and_measure(comparison: Comparison, folder: Path) -> None:
    """One training, and the scores of each variant that it serves."""
    from fcn.core.files import remove_unfinished
    from fcn.inference.strategies import create_strategy
    from fcn.tools.compare.cells import costs, final_model, latency, peak_memory, save_maps, score_cell, write_json
    from fcn.tools.compare.flat import checkerboard_index, flat_scores
    from fcn.training.checkpoint import model_state, save_checkpoint
    from fcn.training.devices import create_accelerator, place

    training, seed = comparison.training_of(folder.name)
    variants = comparison.trainings[training]
    config = comparison.variants[variants[0]]
    begin = time.time()
    remove_unfinished(folder)
    begun = (folder / "last.pt").is_file()
    train(cell_config(config, seed, folder), started=partial(write_start, comparison))
    accelerator = create_accelerator(config.device, config.precision)
    memory = None if begun else peak_memory(accelerator.device)
    model = place(final_model(folder), accelerator, channels_last=config.channels_last)
    split = load_split(asdict(config.data), config.data.options()["val"])
    image = split[0][0]
    scored: dict[str, dict[str, Any]] = {}
    files: dict[str, str] = {}
    for number, name in enumerate(variants):
        strategy = create_strategy(comparison.variants[name].inference.name, **comparison.variants[name].inference.options())
        quality, kept = score_cell(model, split, strategy, accelerator, thin=config.thin or [], workers=config.workers)
        file = f"kept{number or ''}.npz"
        save_maps(folder / file, kept)
        scored[name] = {"quality": quality, "latency_seconds": latency(model, image, strategy, accelerator), "kept": file}
    start = read_start(folder)
    checkerboard: dict[str, float | None] = {"before": start["checkerboard"], "after": None}
    if shows_patterns(comparison):
        flat = flat_scores(model)
        files["flat"] = "flat.npz"
        save_maps(folder / files["flat"], {"scores": flat.numpy()})
        checkerboard["after"] = checkerboard_index(flat, model.backbone.strides[-1])
    miou = scored[variants[0]]["quality"]["miou"]
    save_checkpoint(
        model_state(model, split.labels, miou=miou, data=asdict(config.data), plugins=list(config.plugins)), folder / "final.pt"
    )
    write_json(
        folder / "result.json",
        {
            "training": training,
            "seed": seed,
            "scored": scored,
            "checkerboard": checkerboard,
            "cost": {**costs(model, folder, image), "peak_memory": memory},
            "files": files,
            "hardware": machine(accelerator),
            "host": platform.node(),
            "began": round(begin, 1),  # since 1970, or since it went on
            "seconds": round(time.time() - begin, 1),
        },
    )
    (folder / "last.pt").unlink()  # three times as large as the model, for going on with what is done


def shows_patterns(comparison: Comparison) -> bool:
    """Whether the patterns are measured that up-samplers lay over an image: where these are compared."""
    return any(key.partition(".")[0] == "upsample" for key in comparison.compared)


def write_start(comparison: Comparison, folder: Path, model: Any, *rest: Any) -> None:
    """What the cell starts from, and the pattern that its network draws before it has learnt anything. UserError where another cell of
    its seed started from something else that must be equal."""
    from fcn.tools.compare.cells import check_pairs, write_json
    from fcn.tools.compare.equal import start_of
    from fcn.tools.compare.flat import checkerboard_index, untrained_scores

    pattern = checkerboard_index(untrained_scores(model), model.backbone.strides[-1]) if shows_patterns(comparison) else None
    start = start_of(model, *rest)
    seed = comparison.training_of(folder.name)[1]
    others = {name: folder.with_name(name) for name in comparison.cells if name != folder.name and comparison.training_of(name)[1] == seed}
    begun = {name: read_start(other)["equal"] for name, other in others.items() if (other / "start.json").is_file()}
    check_pairs(comparison, folder.name, start, begun)
    write_json(folder / "start.json", {"checkerboard": pattern, "equal": start})


def read_start(folder: Path) -> dict[str, Any]:
    import json

    return json.loads((folder / "start.json").read_text())


def cell_config(config: CompareConfig, seed: int, folder: Path) -> TrainConfig:
    """The settings of ``fcn train`` for a cell: the variant's, with one seed; a run that has begun goes on."""
    shared = {field.name: getattr(config, field.name) for field in fields(TrainingConfig)}
    begun = (folder / "config.yaml").is_file()
    shared |= {"resume": str(folder) if begun else None, "output": None if begun else str(folder)}
    return TrainConfig(**shared, upsample=config.upsample, seed=seed)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Within it no other process on this file system holds ``path``; waits for the one that does, which may have outlived its parent."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that works on %s", path.with_suffix(""))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- one after the other ---


class InTurn:
    """Runs the cells of a comparison one after the other, each in a process whose words go to ``NAME.log`` beside the cell's folder.

    names: those of the cells that are called.
    """

    def __init__(self, folder: Path, comparison: Comparison, names: Sequence[str]) -> None:
        self.folder, self.comparison, self.names = folder, comparison, names
        trainings = [comparison.trainings[comparison.training_of(name)[0]] for name in names]
        self.epochs = [comparison.variants[variants[0]].epochs for variants in trainings]

    def __call__(self, calls: Sequence[Sequence[str]], _: Path) -> None:
        with ending_on_sigterm(), Progress("comparing", sum(self.epochs), "epochs", scaled=True) as bar:
            for count, (name, call) in enumerate(zip(self.names, calls, strict=True)):
                bar.describe(f"{name} ({count + 1} of {len(calls)})")
                before = sum(self.epochs[:count])
                self._run(name, call, lambda epoch, before=before: bar.update(before + epoch - bar.done))  # type: ignore[misc]
                bar.update(before + self.epochs[count] - bar.done)
                tell(f"{name}: {self._outcome(name)}")

    def _run(self, name: str, call: Sequence[str], show: Callable[[float], Any]) -> None:
        from fcn.training.records import read_lines

        cell = self.folder / "cells" / name
        cell.mkdir(parents=True, exist_ok=True)
        words = cell.with_name(f"{name}.log")
        with open(words, "ab") as log_file:
            process = subprocess.Popen(**this_fcn(call), stdout=log_file, stderr=log_file, stdin=subprocess.DEVNULL)
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
        if process.returncode and not (cell / "error.txt").is_file():
            keep_error(cell, last_words(process.returncode, words))

    def _outcome(self, name: str) -> str:
        from fcn.tools.compare.cells import read_results
        from fcn.training.metrics import percent

        results, failed = read_results(self.folder, self.comparison)
        if name in failed:
            return f"failed: {failed[name]}"
        mine = [result for result in results.values() if result["cell"] == name]
        scores = ", ".join(percent(result["quality"]["miou"] or 0).strip() for result in mine)
        return f"mIoU {scores}, {mine[0]['seconds']:.0f} s"


def last_words(status: int, words: Path) -> str:
    """Why a process ended with ``status`` that kept no error: the signal, or the last line that it wrote."""
    if status < 0:
        memory = "; perhaps there was too little memory" if -status == signal.SIGKILL else ""
        return f"it was ended by {signal.Signals(-status).name}{memory}"
    lines = words.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"it ended with status {status}")


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Within it SIGTERM ends the program as an error does, so that what it started can be ended too."""
    if threading.current_thread() is not threading.main_thread():  # where Python takes no handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
