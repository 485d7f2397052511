"""``fcn predict`` against its own network, and two processes against one, in one run.

    python scripts/benchmark_predict.py [checkpoint=FILE] [input=DIR] [images=64] [turns=3] [overlay=none,jpg,png] [device=auto]

The network alone: one pass over each picture, which is in memory, to scores. ``fcn predict``: the command itself, from files to files, with
each kind of overlay; what it says of its speed, which leaves out its start. One and two processes have one thread each; two are started by
torchrun. All are measured in turns, so that a machine that slows down slows all alike. A ratio is the median of those of the turns.

Without a checkpoint the network is fcn8s on ResNet-18 with random weights; without input the pictures are drawn, 480x360 pixels, JPEG.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copy
from statistics import median

import torch
from PIL import Image

import fcn
from fcn.data.images import read_image
from fcn.data.shapes import shapes
from fcn.inference.strategies import one_pass
from fcn.models.segmenter import Segmenter
from fcn.tools.predict.inputs import input_images
from fcn.tools.processes import this_fcn
from fcn.tools.scripts import given_settings
from fcn.training.devices import create_accelerator, place

SIZE = (480, 360)  # width and height of the drawn pictures
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def draw(folder: Path, count: int) -> None:
    split = shapes("train", count=count, size=(SIZE[1], SIZE[1]))
    for index, name in enumerate(split.names):
        Image.fromarray(split[index][0].permute(1, 2, 0).numpy()).resize(SIZE).save(folder / f"{name}.jpg", quality=90)


def network_alone(model: Segmenter, pictures: list[torch.Tensor]) -> float:
    """Images per second of one pass over each picture, to scores."""
    begin = time.perf_counter()
    for picture in pictures:
        one_pass(model, picture)
    if model.mean.device.type == "cuda":
        torch.cuda.synchronize()
    return len(pictures) / (time.perf_counter() - begin)


def predict(*words: str, threads: int | None = None, processes: int = 1) -> float:
    """Images per second that ``fcn predict`` says it has labelled."""
    with tempfile.TemporaryDirectory() as folder:
        call = this_fcn(["predict", *words, f"output={folder}/labels"])
        if processes > 1:
            call["args"][1:2] = TORCHRUN
        if threads is not None:
            call["env"]["OMP_NUM_THREADS"] = str(threads)
        done = subprocess.run(**call, capture_output=True, text=True)
    found = re.search(r"([\d.e+]+) images/s", done.stdout)
    if done.returncode or not found:
        raise SystemExit(f"{' '.join(words)} failed: {done.stdout}{done.stderr}")
    return float(found[1])


def main(words: list[str]) -> None:
    defaults = {"checkpoint": "", "input": "", "images": "64", "turns": "3", "overlay": "none,jpg,png", "device": "auto"}
    settings = given_settings(words, defaults)
    count, turns, device = int(settings["images"]), int(settings["turns"]), settings["device"]
    with tempfile.TemporaryDirectory() as place_for_all:
        folder = Path(place_for_all) / "pictures"
        folder.mkdir()
        if settings["input"]:
            for path in input_images(settings["input"])[1][:count]:
                copy(path, folder)
        else:
            draw(folder, count)
        checkpoint = settings["checkpoint"] or f"{place_for_all}/net.pt"
        if not settings["checkpoint"]:
            fcn.save(fcn.create_model("fcn8s", backbone="resnet18", classes=[f"class {index}" for index in range(21)]), checkpoint)
        compare(checkpoint, folder, turns, settings["overlay"].split(","), device)


def compare(checkpoint: str, folder: Path, turns: int, overlays: list[str], device: str) -> None:
    model = place(fcn.load(checkpoint).eval(), create_accelerator(device, "fp32"))
    pictures = [read_image(path) for path in input_images(str(folder))[1]]
    given = (f"checkpoint={checkpoint}", f"input={folder}", f"device={device}")
    threads = torch.get_num_threads()
    ways: dict[str, Callable[[], float]] = {"network alone": lambda: network_alone(model, pictures)}
    for kind in overlays:
        ways[f"fcn predict overlay={kind}"] = lambda kind=kind: predict(*given, f"overlay={kind}", threads=threads)  # type: ignore[misc]
    ways["one process of one thread"] = lambda: predict(*given, threads=1)
    ways["two processes of one thread"] = lambda: predict(*given, threads=1, processes=2)
    network_alone(model, pictures[:2])
    print(f"{len(pictures)} images, {os.cpu_count()} cores, {threads} threads, {model.mean.device}, torch {torch.__version__}", flush=True)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            rates[name].append(way())
            print(f"{name:<28} {rates[name][-1]:8.3g} images/s", file=sys.stderr, flush=True)
    for name, found in rates.items():
        base = "one process of one thread" if name.startswith("two") else "network alone"
        ratios = [rate / other for rate, other in zip(found, rates[base], strict=True)]
        print(f"{name:<28} {median(found):8.3g} images/s   {median(ratios):5.2f}x of {base}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
