"""What settings of a training step cost and save: the step as ``fcn train`` makes it (plain) and with each setting, in one run.

    python scripts/benchmark_steps.py [model=fcn8s] [backbone=resnet18] [crop=320] [batch=4] [steps=3] [turns=3] [device=cpu]
        [classes=21] [loss=cross_entropy,lovasz] [with=gradient_checkpointing,compile] [freed_memory=kept]

``freed_memory=given_back``: as without ``fcn/training/allocation.py``; compare two runs. Steps are timed in turns; the best turn counts.
Memory is that of the tensors which the forward pass keeps for the backward pass. The loss of the first step
stands beside it.
"""

import copy
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial

import torch
from torch import Tensor

from fcn.models.segmenter import Segmenter, create_model
from fcn.tools.scripts import given_settings
from fcn.training.allocation import freed_memory_kept
from fcn.training.devices import create_accelerator, place
from fcn.training.losses import SegmentationLoss
from fcn.training.recompute import Recomputing
from fcn.training.train import compiled, train_step

WORDS = {"model": "fcn8s", "backbone": "resnet18", "crop": "320", "batch": "4", "steps": "3", "turns": "3", "device": "cpu"}
WORDS |= {"classes": "21", "loss": "cross_entropy", "with": "gradient_checkpointing,compile", "freed_memory": "kept"}


class Kept:
    """Counts the bytes of the tensors that are kept for a backward pass, each once."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def keep(self, tensor: Tensor) -> Tensor:
        self.sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    @property
    def megabytes(self) -> float:
        return sum(self.sizes.values()) / 1e6


def main(words: list[str]) -> None:
    given = given_settings(words, WORDS)
    accelerator = create_accelerator(given["device"])
    crop, batch, steps, classes = (int(given[word]) for word in ("crop", "batch", "steps", "classes"))
    kinds = ["plain", *filter(None, given["with"].split(","))]
    torch.manual_seed(0)
    first = place(create_model(given["model"], backbone=given["backbone"], num_classes=classes).train(), accelerator)
    models: dict[str, Segmenter] = {kind: copy.deepcopy(first) for kind in kinds}
    images = torch.randint(0, 256, (batch, 3, crop, crop), dtype=torch.uint8)
    samples = (images.contiguous(memory_format=torch.channels_last), torch.randint(0, classes, (batch, crop, crop), dtype=torch.uint8))
    loss = SegmentationLoss(classes, dict.fromkeys(given["loss"].split(","), 1.0)).to(accelerator.device)
    with freed_memory_kept() if given["freed_memory"] == "kept" else nullcontext(), ExitStack() as stack:
        if "gradient_checkpointing" in models:
            stack.enter_context(Recomputing(models["gradient_checkpointing"]))
        calls: dict[str, Callable[[], float]] = {}
        for kind, model in models.items():
            network = compiled(model, accelerator.device) if kind == "compile" else model
            optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
            calls[kind] = partial(train_step, network, optimizer, [samples], loss, accelerator)
        losses: dict[str, float] = {}
        memory: dict[str, float] = {}
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for kind, call in calls.items():
            kept = Kept()
            with torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor):
                losses[kind] = call()
            memory[kind] = kept.megabytes
            call()
        for _ in range(int(given["turns"])):
            for kind, call in calls.items():
                begin = time.perf_counter()
                for _ in range(steps):
                    call()
                times[kind].append((time.perf_counter() - begin) / steps)
    best = {kind: min(each) for kind, each in times.items()}
    print(f"{given['model']} {given['backbone']}, crop {crop}, batch {batch}, {accelerator.device}, {accelerator.mixed_precision}")
    for kind in kinds:
        print(
            f"{kind:<24}{best[kind]:8.3f} s/step ({best[kind] / best['plain']:.2f})  kept {memory[kind]:8.1f} MB "
            f"({memory[kind] / memory['plain']:.2f})  loss {losses[kind]:.7f}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
