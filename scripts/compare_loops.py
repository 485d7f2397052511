"""Our training against a plain loop in the form of torchvision's segmentation reference: same network, samples, order and rates.

    python scripts/compare_loops.py [network=lraspp_mobilenet_v3_large] [epochs=6] [seeds=2] [images=480] [size=64] [batch=16] [lr=0.2]

The plain loop: NCHW float32, cross entropy with void left out, SGD with momentum, one rate for each step. Ours: ``fcn.train`` of the same
network by ``fcn.wrap``, once in float32 and once in its default number format. All begin with the same weights for a seed, and see the same
crops of the built-in pictures. Ours is told not to decay weights, of which it would leave out norms and biases, and not to bound gradients.
The table has the mean IoU on the validation split after each epoch: the mean over the seeds, and the largest distance of a seed from it.
"""

import copy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import fcn
from fcn.core.labels import VOID
from fcn.data.shapes import shapes
from fcn.data.split import Split
from fcn.data.transforms import TrainingTransform
from fcn.models.segmenter import Segmenter
from fcn.tools.scripts import given_settings
from fcn.training.batches import Augmented, Plan, training_loader
from fcn.training.hooks import Epoch, Step
from fcn.training.optim import create_schedule
from fcn.training.workers import delivered

DEFAULTS = {"network": "lraspp_mobilenet_v3_large", "epochs": "6", "seeds": "2", "images": "480", "size": "64", "batch": "16", "lr": "0.2"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOMENTUM, WARMUP, SCALE = 0.9, 0.05, (0.5, 2.0)
FIRST = 5  # steps whose losses are compared one by one

Curve = tuple[list[float], list[float]]  # losses of the steps, mean IoU after each epoch


def wrapped(network: nn.Module, split: Split) -> Segmenter:
    return fcn.wrap(network, mean=MEAN, std=STD, classes=list(split.labels.names))


def plain_loop(network: nn.Module, training: Split, validation: Split, plan: Plan, lr: float) -> Curve:
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=MOMENTUM)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, create_schedule("poly", plan.steps, warmup=WARMUP))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    samples = Augmented(training, TrainingTransform(max(training[0][1].shape), scale=SCALE), plan.seed)
    losses, scores = [], []
    for step, (images, labels) in enumerate(delivered(training_loader(samples, plan, workers=0)), 1):
        network.train()
        values = (images.contiguous().float() / 255 - mean) / std
        loss = F.cross_entropy(network(values)["out"], labels.long(), ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if step % plan.steps_per_epoch == 0:
            scores.append(fcn.evaluate(wrapped(copy.deepcopy(network).eval(), validation), validation, progress=False).mean_iou)
    return losses, scores


def ours(network: nn.Module, training: Split, validation: Split, plan: Plan, lr: float, precision: str) -> Curve:
    losses, scores = [], []

    def on_step(step: Step) -> None:
        losses.append(step.loss)

    def on_epoch(epoch: Epoch) -> None:
        assert epoch.scores is not None
        scores.append(epoch.scores["miou"])

    with tempfile.TemporaryDirectory() as folder:
        fcn.train(
            wrapped(network, training),
            training,
            validation,
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            seed=plan.seed,
            optim="sgd",
            lr=lr,
            momentum=MOMENTUM,
            weight_decay=0.0,
            schedule="poly",
            warmup=WARMUP,
            clip_norm=None,
            precision=precision,
            crop_size=max(training[0][1].shape),
            scale=SCALE,
            brightness=0,
            contrast=0,
            saturation=0,
            strategy="whole",
            validate_every=1,
            workers=0,
            output=Path(folder, "run"),
            on_step=on_step,
            on_epoch=on_epoch,
            progress=False,
        )
    return losses, scores


def main(words: list[str]) -> None:
    settings = given_settings(words, DEFAULTS)
    epochs, seeds, images, size, batch = (int(settings[key]) for key in ("epochs", "seeds", "images", "size", "batch"))
    lr = float(settings["lr"])
    training = shapes("train", count=images, size=(size, size))
    validation = shapes("val", count=max(8, images // 4), size=(size, size))
    ways: dict[str, Callable[[nn.Module, Plan], Curve]] = {
        "plain loop": lambda network, plan: plain_loop(network, training, validation, plan, lr),
        "ours, float32": lambda network, plan: ours(network, training, validation, plan, lr, "fp32"),
        "ours, default": lambda network, plan: ours(network, training, validation, plan, lr, "auto"),
    }
    curves: dict[str, list[Curve]] = {way: [] for way in ways}
    for seed in range(seeds):
        torch.manual_seed(seed)
        count = training.labels.num_classes
        first = torchvision.models.get_model(settings["network"], weights=None, weights_backbone=None, num_classes=count)
        for way, train in ways.items():
            curves[way].append(train(copy.deepcopy(first), Plan(len(training), batch, epochs, seed=seed)))
    print(f"{settings['network']}, {images} pictures of {size}x{size}, {epochs} epochs, {seeds} seeds, torch {torch.__version__}")
    for step in range(min(FIRST, len(curves["plain loop"][0][0]))):
        print(f"loss of step {step + 1}, first seed:  " + "  ".join(f"{way} {found[0][0][step]:.6f}" for way, found in curves.items()))
    print("mean IoU after each epoch, and the largest distance of a seed from it")
    print("epoch  " + "  ".join(f"{way:>16}" for way in ways))
    for epoch in range(epochs):
        cells = []
        for found in curves.values():
            values = [100 * scores[epoch] for _, scores in found]
            cells.append(f"{mean(values):8.2f} +-{max(abs(value - mean(values)) for value in values):5.2f}")
        print(f"{epoch + 1:5}  " + "  ".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
