"""Images of many sizes by ``stream``, against as many of one size with as many pixels: ``python scripts/benchmark_sizes.py``.

Both are labelled in turns, image by image, and the processor's time of this process is counted. So other work on the machine slows both
alike. Give it one thread (``OMP_NUM_THREADS=1``): others wait while a program is made, and their waiting would count. The first image's
time includes the export of the graph, which then serves all sizes.
"""

import argparse
import copy
import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

from fcn.inference.kept import unchanged
from fcn.inference.strategies import create_strategy
from fcn.models.segmenter import Segmenter, create_model


def sizes(count: int, height: int, width: int) -> list[tuple[int, int]]:
    """That many different sizes around (height, width)."""
    return [(height - index % 20, width - index // 20 - 7 * (index % 20)) for index in range(count)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="fcn8s")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--count", type=int, default=200, help="number of images and of sizes")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 640), help="the largest height and width (pixels)")
    given = parser.parse_args(arguments)
    torch.manual_seed(0)
    model = create_model(given.model, backbone=given.backbone, num_classes=21).eval()
    other = copy.deepcopy(model)
    run = create_strategy("stream")

    def seconds(network: Segmenter, image: Tensor) -> float:
        begin = time.process_time()
        run(network, image)
        return time.process_time() - begin

    many = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes(given.count, *given.size)]
    pixels = sum(image[0].numel() for image in many) / len(many)
    width = round(pixels / given.size[0])
    one = torch.randint(0, 256, (3, given.size[0], width), dtype=torch.uint8)
    run(copy.deepcopy(model), many[0])  # what torch loads when it is first used
    with unchanged(model, many=True), unchanged(other, many=True):
        times = [(seconds(model, image), seconds(other, one)) for image in many]
    first, second = times[0][0], median(a - b for a, b in times[1:])
    ratio = sum(a for a, _ in times) / sum(b for _, b in times)
    export = first - median(b for _, b in times[1:])
    print(f"{given.model} on {given.backbone}, {given.count} images of about {given.size[0]}x{width}, {torch.get_num_threads()} threads")
    print(f"first size: {export:.3f} s more than one image takes; each further one: {second:.3f} s, {second / export:.1%} of it")
    print(f"{given.count} sizes take {ratio:.3f} of the time of one size")


if __name__ == "__main__":
    main()
