"""Our training step and input pipeline against a plain loop in the form of torchvision's segmentation reference, in one run.

    python scripts/benchmark_training.py [network=fcn_resnet50,lraspp] [crop=256] [batch=4] [steps=4] [images=48] [turns=3]
                                         [device=auto] [workers=0]

Both train torchvision's own network, from random weights, on the same JPEG files, with the same batch and crop. The reference: PIL
transforms (scale 0.5 to 2 of 520/480 of the crop, flip, crop, to tensor, normalise), NCHW float32, SGD, cross entropy with void left out,
poly schedule by LambdaLR. Ours: tensors in uint8, normalised on the device, channels_last, once in float32 and once with our defaults.
On a GPU the reference computes in float32 too. workers: processes that read, for both; the input pipeline alone is measured without.
Ratios are images per second, ours over the reference's, measured in turns so that a machine that slows down slows both; best of the turns.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as TF

from fcn.core.labels import VOID, LabelSet, voc_colors
from fcn.data.pairs import Pair, Pairs
from fcn.data.shapes import shapes
from fcn.data.transforms import TrainingTransform
from fcn.tools.scripts import given_settings
from fcn.training.batches import Augmented, Plan, training_loader
from fcn.training.devices import create_accelerator, place
from fcn.training.losses import SegmentationLoss
from fcn.training.train import train_step
from fcn.training.workers import delivered

CLASSES = 21
SIZE = (375, 500)  # height and width of the pictures, VOC's most common


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    names = {"fcn_resnet50": "fcn_resnet50", "lraspp": "lraspp_mobilenet_v3_large"}
    if name not in names:
        raise SystemExit(f"network={name} is not known; allowed: {', '.join(names)}")
    model: nn.Module = torchvision.models.get_model(names[name], weights=None, weights_backbone=None, num_classes=CLASSES)
    return model.train()


def write_files(folder: Path, count: int) -> list[Pair]:
    """JPEG photographs and palette PNG masks, drawn by the built-in data set at VOC's size."""
    pairs = []
    drawn = shapes("train", count=count, size=(SIZE[0], SIZE[0]))
    for index, name in enumerate(drawn.names):
        image, labels = drawn[index]
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((SIZE[1], SIZE[0]))
        mask = Image.fromarray(labels.numpy()).resize((SIZE[1], SIZE[0]), Image.Resampling.NEAREST)
        mask.putpalette([value for color in voc_colors(256) for value in color])
        picture.save(folder / f"{name}.jpg", quality=90)
        mask.save(folder / f"{name}.png")
        pairs.append(Pair(name, str(folder / f"{name}.jpg"), str(folder / f"{name}.png")))
    return pairs


# --- the reference ---


class ReferenceData(Dataset[tuple[Tensor, Tensor]]):
    """Files through PIL, as torchvision's references/segmentation/presets.py has them."""

    def __init__(self, pairs: list[Pair], crop: int) -> None:
        self.pairs, self.crop = pairs, crop
        self.generator = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image: Any = Image.open(self.pairs[index].image).convert("RGB")
        mask: Any = Image.open(self.pairs[index].labels)
        base = round(self.crop * 520 / 480)
        size = int(self.generator.integers(base // 2, 2 * base + 1))
        image = TF.resize(image, [size], antialias=True)
        mask = TF.resize(mask, [size], interpolation=TF.InterpolationMode.NEAREST)
        if self.generator.random() < 0.5:
            image, mask = TF.hflip(image), TF.hflip(mask)
        right, bottom = max(0, self.crop - image.width), max(0, self.crop - image.height)
        if right or bottom:
            image, mask = TF.pad(image, [0, 0, right, bottom], fill=0), TF.pad(mask, [0, 0, right, bottom], fill=VOID)
        top = int(self.generator.integers(0, image.height - self.crop + 1))
        left = int(self.generator.integers(0, image.width - self.crop + 1))
        image = TF.crop(image, top, left, self.crop, self.crop)
        mask = TF.crop(mask, top, left, self.crop, self.crop)
        tensor = TF.convert_image_dtype(TF.pil_to_tensor(image), torch.float)
        return TF.normalize(tensor, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), torch.as_tensor(np.array(mask), dtype=torch.int64)


def reference(name: str, pairs: list[Pair], crop: int, batch: int, device: torch.device, workers: int) -> Callable[[], None]:
    model = network(name).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 - step / 10_000) ** 0.9)
    data, pinned = ReferenceData(pairs, crop), device.type == "cuda"
    batches = endless(lambda: DataLoader(data, batch_size=batch, shuffle=True, drop_last=True, num_workers=workers, pin_memory=pinned))

    def step() -> None:
        images, labels = (part.to(device, non_blocking=True) for part in next(batches))
        loss = F.cross_entropy(model(images)["out"], labels, ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        loss.item()

    return step


# --- ours ---


class Adapted(nn.Module):
    """torchvision's network in the form that our training step takes: logits out, normalisation inside."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.aux_weight = 0.0  # it has no auxiliary head
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1))
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1))

    def normalize(self, images: Tensor) -> Tensor:
        from fcn.models.segmenter import Segmenter

        return Segmenter.normalize(self, images)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)["out"]


def ours(name: str, pairs: list[Pair], crop: int, batch: int, accelerator: Accelerator, workers: int) -> Callable[[], None]:
    model = place(Adapted(network(name)), accelerator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    loss = SegmentationLoss(CLASSES).to(accelerator.device)
    split = Pairs(pairs, LabelSet(tuple(map(str, range(CLASSES)))))
    plan = Plan(len(pairs), batch, epochs=10_000)
    data, pinned = Augmented(split, TrainingTransform(crop), plan.seed), accelerator.device.type == "cuda"
    batches = delivered(training_loader(data, plan, workers=workers, pin_memory=pinned))
    return lambda: void(train_step(model, optimizer, [next(batches)], loss, accelerator))


def void(_: object) -> None:
    """Drop a value."""


def endless(make: Callable[[], DataLoader[Any]]) -> Iterator[Any]:
    while True:
        yield from make()


def seconds(step: Callable[[], None], steps: int) -> float:
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps


def in_turns(calls: dict[str, Callable[[], None]], steps: int, turns: int) -> dict[str, float]:
    for call in calls.values():
        call()  # warm
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            times[name].append(seconds(call, steps))
    return {name: min(values) for name, values in times.items()}


def main(words: list[str]) -> None:
    defaults = {"network": "fcn_resnet50,lraspp", "crop": "256", "batch": "4", "steps": "4", "images": "48", "turns": "3"}
    defaults |= {"device": "auto", "workers": "0"}
    settings = given_settings(words, defaults)
    crop, batch, steps, turns, workers = (int(settings[key]) for key in ("crop", "batch", "steps", "turns", "workers"))
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_files(Path(folder), int(settings["images"]))
        plain, default = (create_accelerator(settings["device"], precision) for precision in ("fp32", "auto"))
        device = plain.device
        where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"{where}, torch {torch.__version__}, crop {crop}, batch {batch}, {workers} workers")
        reader = ReferenceData(pairs, crop)
        split, transform = Pairs(pairs, LabelSet(tuple(map(str, range(CLASSES))))), TrainingTransform(crop)
        order = iter(range(10**9))
        generator = torch.Generator().manual_seed(0)
        pipelines = {
            "reference": lambda: void(reader[next(order) % len(pairs)]),
            "ours": lambda: void(transform(*split[next(order) % len(pairs)], generator)),
        }
        times = in_turns(pipelines, 4 * len(pairs), turns)
        report("input pipeline", times, 1)
        for name in settings["network"].split(","):
            calls = {
                "reference": reference(name, pairs, crop, batch, device, workers),
                "ours, fp32": ours(name, pairs, crop, batch, plain, workers),
                "ours, defaults": ours(name, pairs, crop, batch, default, workers),
            }
            report(f"training step, {name}", in_turns(calls, steps, turns), batch)


def report(title: str, times: dict[str, float], images: int) -> None:
    base = times["reference"]
    for name, value in times.items():
        print(f"{title:<30} {name:<16} {images / value:8.2f} images/s   {base / value:5.2f}x", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
