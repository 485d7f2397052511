"""Memory and time of labelling a tiled TIFF that is larger than memory: ``python scripts/benchmark_raster.py --side 40000``.

With ``--processes``, one scene by ``fcn predict`` as one process of one thread, and under torchrun as two, in turns.

Each image is labelled by ``stream`` in a process of its own, block by block, and the blocks are counted and dropped. The peak is that of
the resident memory of the whole process, Python and libraries included. The time is the processor's, so that other work on the machine
counts less, without the export of the graph. The file is made first: it takes 3 bytes a pixel or less.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

TILE = 512  # pixels a side


def make(path: Path, width: int, height: int) -> None:
    """A tiled, compressed RGB TIFF of that size."""
    import tifffile

    noise = np.random.default_rng(0)
    coarse = noise.integers(0, 200, (TILE // 16, TILE // 16, 3)).repeat(16, 0).repeat(16, 1)
    texture = (coarse + noise.integers(0, 50, (TILE, TILE, 3))).astype(np.uint8)
    down, across = -(-height // TILE), -(-width // TILE)

    def tiles() -> Iterator[np.ndarray]:
        for number in range(down * across):
            yield np.roll(texture, (37 * number, 101 * number), (0, 1))

    shape = (height, width, 3)
    tifffile.imwrite(path, tiles(), shape=shape, dtype=np.uint8, tile=(TILE, TILE), photometric="rgb", compression="zlib", bigtiff=True)


def measured(path: str, model: str, backbone: str, memory: float) -> dict[str, float]:
    """What one image takes, in this process."""
    import torch

    import fcn
    from fcn.inference.blocks import label_blocks
    from fcn.inference.kept import unchanged

    torch.manual_seed(0)
    network = fcn.create_model(model, backbone=backbone, num_classes=8).eval()
    base = resident("VmRSS")
    pixels, first = 0, 0.0
    with fcn.open_raster(path) as raster, unchanged(network):
        for block in label_blocks(network, raster, strategy="stream", memory=memory):
            if not pixels:
                begin, clock, first = time.process_time(), time.monotonic(), block.labels.numel()
            pixels += block.labels.numel()
        seconds, wall = time.process_time() - begin, time.monotonic() - clock
    counted = max(pixels - first, 1)
    return {"base": base, "peak": resident("VmHWM"), "processor_ns": seconds / counted * 1e9, "wall_ns": wall / counted * 1e9}


def shared(path: Path, checkpoint: Path, memory: float, processes: int, turns: int) -> list[list[float]]:
    """Seconds by the clock in which ``fcn predict`` labels a scene by one process and by several, of one thread each; the fastest are
    those of a machine that nobody else uses. Start and end of the program are included."""
    from fcn.tools.processes import this_fcn

    found: list[list[float]] = [[], []]
    for _ in range(turns):
        for index, count in enumerate((1, processes)):
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                words = [
                    f"checkpoint={checkpoint}",
                    f"input={path}",
                    f"output={folder}/labels",
                    f"inference.memory={memory}",
                    "overlay=none",
                    "format=tif",
                ]
                call = this_fcn(["predict", *words])
                if count > 1:
                    call["args"][1:2] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
                call["env"]["OMP_NUM_THREADS"] = "1"
                begin = time.monotonic()
                subprocess.run(**call, check=True, capture_output=True)
                found[index].append(time.monotonic() - begin)
    return found


def share(given: argparse.Namespace) -> None:
    """Print how much faster several processes are."""
    import torch

    import fcn

    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path, checkpoint = Path(folder) / "scene.tif", Path(folder) / "net.pt"
        make(path, given.side, given.height or given.side)
        torch.manual_seed(0)
        fcn.save(fcn.create_model(given.model, backbone=given.backbone, classes=[f"class {index}" for index in range(8)]), checkpoint)
        one, several = shared(path, checkpoint, given.memory, given.processes, given.turns)
    ratios = sorted(alone / together for alone, together in zip(one, several, strict=True))
    print(f"{given.side:,}x{given.height or given.side:,}: one process {min(one):.0f} s, {given.processes} processes {min(several):.0f} s")
    print(
        f"{given.processes} processes of one thread are {ratios[len(ratios) // 2]:.2f} times as fast as one (median of {len(ratios)} turns)"
    )


def resident(what: str) -> float:
    """The resident memory of this process now ("VmRSS") or at its peak ("VmHWM"), in GiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[what].split()[0]) / 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=40_000, help="side of the image, its width (pixels)")
    parser.add_argument("--height", type=int, default=None, help="its height, if it is no square (pixels)")
    parser.add_argument("--reference", type=int, default=4096, help="side of the image that it is compared with (pixels)")
    parser.add_argument("--model", default="fcn8s")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--memory", type=float, default=0.5, help="inference.memory (GiB)")
    parser.add_argument("--processes", type=int, default=0, help="compare one process with so many, in place of memory and time per pixel")
    parser.add_argument("--turns", type=int, default=3, help="turns of that comparison")
    parser.add_argument("--folder", default=None, help="where the files are made; they are removed at the end")
    parser.add_argument("--measure", default=None, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(measured(given.measure, given.model, given.backbone, given.memory)))
        return
    print(f"{given.model} on {given.backbone}, memory={given.memory:g}")
    if given.processes:
        share(given)
        return
    found: list[dict[str, float]] = []
    for width, height in ((given.reference, given.reference), (given.side, given.height or given.side)):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            path = Path(folder) / "scene.tif"
            make(path, width, height)
            words = ["--measure", str(path), "--model", given.model, "--backbone", given.backbone, "--memory", str(given.memory)]
            ended = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
        one = json.loads(ended.stdout.splitlines()[-1])
        found.append(one)
        print(
            f"{width:,}x{height:,}: peak {one['peak']:.2f} GiB, {one['base']:.2f} GiB of it before the image; "
            f"{one['processor_ns']:.0f} ns of processor a pixel, {one['wall_ns']:.0f} ns in all"
        )
    print(f"time per pixel: {found[1]['processor_ns'] / found[0]['processor_ns']:.3f} of that at {given.reference:,}x{given.reference:,}")


if __name__ == "__main__":
    main()
