"""Trains the project's small classifier, ``compact``, on pictures of one size in folders by class.

    python scripts/train_classifier.py [data=cifar10] [root=data/cifar10] [output=outputs/classifier] [epochs=30] [batch=128]
                                       [lr=0.2] [size=32] [seed=0] [device=auto] [download=false]

data: ``cifar10`` (Krizhevsky 2009) as torchvision reads it, fetched with ``download=true``; or ``folder``: ``train/CLASS/*.jpg`` and
``test/CLASS/*.jpg`` below ``root``, which may also be an archive of them (.tar, .tar.gz, .zip). Pictures of another size are resized.

A short plain loop, with all pictures in memory. The optimizer is SGD with Nesterov momentum. Its rate rises once and falls once (Smith and
Topin 2017, arXiv:1708.07120). Labels are smoothed. Each picture is shifted by up to an eighth, mirrored or not, and loses one square
(DeVries and Taylor 2017, arXiv:1708.04552). The test pictures are scored once, after the last step. Leaves ``compact.pt``:
the state dict, the class names and the side of the pictures. ``fcn localize weights=``, ``backbone.weights=`` and
``fcn.models.compact.compact(weights=...)`` take it. Also ``mosaic.png``, test pictures side by side; and ``result.json``: the accuracy, the
class names, and the class of each picture of the mosaic.
"""

import io
import json
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fcn.models.compact import Compact
from fcn.tools.scripts import given_settings
from fcn.training.devices import create_accelerator, place

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the backbone ``compact`` normalises
MOSAIC = (8, 12)  # rows and columns of pictures
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
DEFAULTS = {"data": "cifar10", "root": "data/cifar10", "output": "outputs/classifier", "epochs": "30", "batch": "128", "lr": "0.2"}
DEFAULTS |= {"size": "32", "seed": "0", "device": "auto", "download": "false"}

Pictures = tuple[Tensor, Tensor, list[str]]  # uint8 (N, 3, size, size), class indices (N,), class names


def files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Each file's path, and its bytes, in a folder or an archive."""
    if root.is_dir():
        yield from ((path.relative_to(root).as_posix(), path.read_bytes()) for path in root.rglob("*") if path.is_file())
    elif zipfile.is_zipfile(root):
        with zipfile.ZipFile(root) as archive:
            yield from ((entry.filename, archive.read(entry)) for entry in archive.infolist() if not entry.is_dir())
    elif root.is_file() and tarfile.is_tarfile(root):
        with tarfile.open(root) as archive:
            yield from ((entry.name, archive.extractfile(entry).read()) for entry in archive if entry.isfile())  # type: ignore[union-attr]
    else:
        raise SystemExit(f"root={root} is no folder and no archive (.tar, .tar.gz, .zip); give one that holds train/CLASS and test/CLASS")


def from_folders(root: Path, size: int) -> dict[str, Pictures]:
    """The pictures below ``train/CLASS`` and ``test/CLASS``, in the order of their names."""
    found: dict[str, list[tuple[str, str, Tensor]]] = {"train": [], "test": []}
    for name, data in files(root):
        parts = PurePosixPath(name).parts
        if len(parts) >= 3 and parts[-3] in found and parts[-1].lower().endswith(SUFFIXES):
            picture = Image.open(io.BytesIO(data)).convert("RGB")
            picture = picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.BICUBIC)
            found[parts[-3]].append((parts[-2], parts[-1], torch.from_numpy(np.array(picture)).permute(2, 0, 1)))
    classes = sorted({label for label, _, _ in found["train"]})
    for split, entries in found.items():
        foreign = {label for label, _, _ in entries} - set(classes)
        if not entries or foreign:
            raise SystemExit(f"root={root}: {split}/ holds {f'the class {min(foreign)}, which train/ lacks' if foreign else 'no pictures'}")
    splits = {split: sorted(entries, key=lambda entry: entry[:2]) for split, entries in found.items()}
    return {
        split: (torch.stack([entry[2] for entry in entries]), torch.tensor([classes.index(entry[0]) for entry in entries]), classes)
        for split, entries in splits.items()
    }


def from_torchvision(root: Path, size: int, download: bool) -> dict[str, Pictures]:
    found = {}
    for split in ("train", "test"):
        try:
            data = torchvision.datasets.CIFAR10(str(root), train=split == "train", download=download)
        except RuntimeError as error:
            raise SystemExit(f"root={root}: CIFAR-10 is not there; give root=DIR, download=true, or data=folder") from error
        images = torch.from_numpy(data.data).permute(0, 3, 1, 2)
        found[split] = (resized(images, size), torch.tensor(data.targets), list(data.classes))
    return found


def resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images.contiguous()
    return F.interpolate(images.float(), size=(size, size), mode="bicubic", antialias=True).round().clamp(0, 255).to(torch.uint8)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture shifted by up to an eighth, mirrored or not, with one erased square of about a quarter of its side. uint8 in and out."""
    count, _, height, width = images.shape
    reach = height // 8
    padded = F.pad(images, (reach,) * 4)
    top, left = (torch.randint(0, 2 * reach + 1, (count, 1, 1), generator=generator) for _ in range(2))
    mirrored = torch.rand(count, 1, 1, generator=generator) < 0.5
    rows, columns = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    index = torch.arange(count).view(-1, 1, 1)
    moved = padded[index, :, top + rows, left + columns].permute(0, 3, 1, 2).clone()
    side = height // 4
    y, x = (torch.randint(0, height, (count, 1, 1), generator=generator) for _ in range(2))
    erased = (rows.sub(y).abs() <= side // 2) & (torch.arange(width).view(1, 1, -1).sub(x).abs() <= side // 2)
    return moved.masked_fill_(erased.unsqueeze(1), 0)


def normalized(images: Tensor, device: torch.device) -> Tensor:
    values = images.to(device, non_blocking=True, memory_format=torch.channels_last).float().div_(255)
    return values.sub_(torch.tensor(MEAN, device=device).view(3, 1, 1)).div_(torch.tensor(STD, device=device).view(3, 1, 1))


@torch.inference_mode()
def accuracy(model: torch.nn.Module, images: Tensor, labels: Tensor, device: torch.device) -> float:
    """The share of pictures whose class has the highest score. model: in evaluation mode, float32."""
    model.eval()
    found = [model(normalized(part, device)).argmax(1).cpu() for part in images.split(500)]
    return (torch.cat(found) == labels).float().mean().item()


def mosaic(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Test pictures side by side, uint8 (3, rows * size, columns * size), and the class of each, (rows, columns); always the same ones."""
    rows, columns = MOSAIC if len(images) >= MOSAIC[0] * MOSAIC[1] else (1, len(images))
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: rows * columns].view(rows, columns)
    return torch.cat([torch.cat(list(images[row]), 2) for row in chosen], 1), labels[chosen]


def main(words: list[str]) -> None:
    settings = given_settings(words, DEFAULTS)
    if settings["data"] not in ("cifar10", "folder"):
        raise SystemExit(f"data={settings['data']} is not known; allowed: cifar10, folder")
    epochs, batch, size, seed = (int(settings[key]) for key in ("epochs", "batch", "size", "seed"))
    root = Path(settings["root"])
    found = from_folders(root, size) if settings["data"] == "folder" else from_torchvision(root, size, settings["download"] == "true")
    (images, labels, classes), (test_images, test_labels, _) = found["train"], found["test"]
    batch = min(batch, len(images))

    accelerator = create_accelerator(settings["device"], "auto")
    device = accelerator.device
    torch.manual_seed(seed)
    model = place(Compact(len(classes)), accelerator)
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, float(settings["lr"]), total_steps=steps, pct_start=0.2)
    count = sum(value.numel() for value in model.parameters())
    print(
        f"{len(images)} pictures to train on, {len(test_images)} to test, {len(classes)} classes; {count} parameters; {device}", flush=True
    )

    generator = torch.Generator().manual_seed(seed)
    begin = time.monotonic()
    for epoch in range(epochs):
        model.train()
        total = torch.zeros((), device=device)
        for chosen in torch.randperm(len(images), generator=generator)[: len(images) // batch * batch].split(batch):
            with accelerator.autocast():
                scores = model(normalized(augmented(images[chosen], generator), device))
                loss = F.cross_entropy(scores, labels[chosen].to(device), label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        passed = time.monotonic() - begin
        mean = total.item() / (len(images) // batch)
        print(
            f"epoch {epoch + 1}/{epochs}  loss {mean:.3f}  {passed:.0f} s, {(epoch + 1) * len(images) / passed:.0f} pictures/s", flush=True
        )

    score = accuracy(model, test_images, test_labels, device)
    folder = Path(settings["output"])
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.cpu() for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "classes": classes, "size": size}, folder / "compact.pt")
    picture, truth = mosaic(test_images, test_labels)
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / "mosaic.png")
    result = {"accuracy": score, "parameters": count, "seconds": round(time.monotonic() - begin, 1), "settings": settings}
    result |= {"classes": classes, "size": size, "mosaic": truth.tolist()}
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"test accuracy {score:.4f} after {time.monotonic() - begin:.0f} s; written to {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
