"""A classifier over a whole picture: its head becomes a convolution, and every place of the picture gets a class.

    python scripts/draw_class_map.py classifier=outputs/classifier [image=PHOTO] [stride=8] [output=outputs/class_map]

classifier: the folder that ``scripts/train_classifier.py`` leaves. image: a picture of any size; by default the mosaic of test pictures in
that folder. Compares the network as it was trained, called on one window every ``stride`` pixels, with the unrolled network, called once:
seconds, equal classes, and how far scores differ. A cell of the unrolled network sees what surrounds its window; a window that was cut out
is padded with zeros. That is all the difference between them: without padding they are equal (docs/geometry.md). Of the mosaic the share of
pictures that each names rightly is printed, too. Leaves ``class_map.png``: picture, classes, margin between the best two, with a legend.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import fcn
from fcn.models.backbones.contract import IMAGENET_MEAN, IMAGENET_STD
from fcn.models.compact import compact
from fcn.tools.scripts import given_settings

COLORS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac")
DEFAULTS = {"classifier": "outputs/classifier", "image": "", "stride": "8", "output": "outputs/class_map"}


def read(path: Path) -> Tensor:
    """A picture as the classifier takes it: float32 (1, 3, H, W), normalised."""
    values = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float() / 255
    return (values - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


def slide(classifier: nn.Module, image: Tensor, size: int, stride: int, batch: int = 256) -> Tensor:
    """The classifier on every window: scores (1, K, rows, columns)."""
    rows, columns = ((side - size) // stride + 1 for side in image.shape[-2:])
    windows = F.unfold(image, size, stride=stride).view(3, size, size, -1).permute(3, 0, 1, 2)
    scores = torch.cat([classifier(part) for part in windows.split(batch)])
    return scores.T.reshape(1, -1, rows, columns)


def draw(picture: Path, scores: Tensor, stride: int, size: int, names: list[str], target: Path) -> None:
    """Picture, class of each cell where it stands, and its margin."""
    shown = np.array(Image.open(picture).convert("RGB"))
    height, width = shown.shape[:2]
    best = scores[0].softmax(0).topk(2, 0)
    first, reach = (size - stride) / 2, [n * stride for n in scores.shape[-2:]]
    place = (first - 0.5, first + reach[1] - 0.5, first + reach[0] - 0.5, first - 0.5)  # left, right, bottom, top, in pixels
    figure = Figure(figsize=(12, 12 * height / width / 3 + 0.9), dpi=100, layout="constrained")
    axes = figure.subplots(1, 3)
    colors = torch.tensor([[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in COLORS], dtype=torch.uint8)
    classes = best.indices[0]
    for axis, title in zip(axes, ("picture", "class", "margin of the best over the second"), strict=True):
        axis.imshow(shown)
        axis.set(title=title, xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes[1].imshow(colors[classes % len(COLORS)].numpy(), extent=place, interpolation="nearest")
    axes[2].imshow((best.values[0] - best.values[1]).numpy(), extent=place, interpolation="nearest", cmap="magma", vmin=0, vmax=1)
    seen = classes.unique().tolist()
    marks = [axes[1].plot([], [], "s", color=COLORS[index % len(COLORS)], label=names[index])[0] for index in seen]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    target.mkdir(parents=True, exist_ok=True)
    figure.savefig(target / "class_map.png")


@torch.inference_mode()
def main(words: list[str]) -> None:
    settings = given_settings(words, DEFAULTS)
    folder, stride = Path(settings["classifier"]), int(settings["stride"])
    if not (folder / "result.json").is_file():
        raise SystemExit(f"classifier={folder} holds no result.json; give the output folder of scripts/train_classifier.py")
    result = json.loads((folder / "result.json").read_text())
    picture, size, names = Path(settings["image"] or folder / "mosaic.png"), int(result["size"]), result["classes"]
    classifier = compact(num_classes=len(names), weights=str(folder / "compact.pt")).eval()
    unrolled = fcn.dilate(fcn.convolutionalize(classifier, dense="window", input_size=size), output_stride=stride)
    if not picture.is_file():
        raise SystemExit(f"image={picture} is not there; give the path of a picture")
    image = read(picture)
    if min(image.shape[-2:]) < size:
        raise SystemExit(f"image={picture} is smaller than the {size} pixels that the classifier sees")

    timed = {}
    for name, call in (("windows", lambda: slide(classifier, image, size, stride)), ("unrolled", lambda: unrolled(image))):
        call()
        begin = time.perf_counter()
        timed[name] = (call(), time.perf_counter() - begin)
    (windows, slow), (maps, fast) = timed.values()
    maps = maps[..., : windows.shape[-2], : windows.shape[-1]]
    equal = (windows.argmax(1) == maps.argmax(1)).float().mean().item()
    away = (windows - maps).abs().max().item() / (windows.max() - windows.min()).item()
    print(f"{picture}: {image.shape[-1]} x {image.shape[-2]} pixels, {windows[0, 0].numel()} windows of {size}, one every {stride} pixels")
    print(f"windows   {slow:.3f} s")
    print(
        f"unrolled  {fast:.3f} s, {slow / fast:.1f} times as fast; {100 * equal:.1f} % of the classes equal, scores differ by {away:.2f} of"
    )
    print("          their range at most")
    if not settings["image"]:
        truth = torch.tensor(result["mosaic"])
        for name, (scores, _) in timed.items():
            aligned = scores[..., :: size // stride, :: size // stride][..., : truth.shape[0], : truth.shape[1]]
            print(f"{name:<9} {100 * (aligned.argmax(1)[0] == truth).float().mean():.1f} % of the {truth.numel()} pictures named rightly")
    draw(picture, maps, stride, size, names, Path(settings["output"]))
    print(f"{settings['output']}/class_map.png")


if __name__ == "__main__":
    main(sys.argv[1:])
