"""Which samples a step sees, and with which random numbers: functions of the seed, the epoch and the step, and of nothing else.

An epoch is one permutation of the samples, cut into steps; a step into ``accumulate`` batches; a batch into one slice per process. So two
processes with batches of B see, together, exactly what one process sees with batches of 2B. A run that was cut goes on at any step. The
number of reading processes changes nothing. What does not fill a step at the end of an epoch is left out of that epoch.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fcn.core.errors import UserError
from fcn.data.split import Split
from fcn.training.focus import Focus
from fcn.training.workers import read_or_fault, worker_loader

Delivery = tuple[Tensor, Tensor] | Exception  # what a worker process brings: images and labels, or what went wrong
Transform = Callable[..., tuple[Tensor, Tensor]]  # (image, labels, generator) -> both; with a focus also holding=, a class


class Place(NamedTuple):
    """A sample's place in a training: the epoch, the sample in the split, and how many samples all processes have seen before it."""

    epoch: int
    sample: int
    number: int


def derived_seed(*numbers: int) -> int:
    """A 63-bit seed from a few integers, so that (0, 1) and (1, 0) have nothing in common."""
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Plan:
    """The whole training, as lists of sample indices.

    batch_size: samples per batch and process; accumulate: batches per step. Raises UserError where one step needs more than there are.
    """

    samples: int
    batch_size: int
    epochs: int
    accumulate: int = 1
    processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < self.step_size:
            parts = [f"batch_size={self.batch_size}"]
            parts += [f"accumulate={self.accumulate}"] if self.accumulate > 1 else []
            parts += [f"{self.processes} processes"] if self.processes > 1 else []
            raise UserError(
                f"one step takes {self.step_size} samples ({', '.join(parts)}) and the training split has {self.samples}; "
                f"give a smaller batch_size or more samples"
            )

    @property
    def step_size(self) -> int:
        return self.batch_size * self.accumulate * self.processes

    @property
    def steps_per_epoch(self) -> int:
        return self.samples // self.step_size

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, 0, epoch))
        return torch.randperm(self.samples, generator=generator).tolist()

    def places(self, epoch: int) -> list[Place]:
        """The samples of an epoch, of all processes, in their order."""
        size = self.steps_per_epoch * self.step_size
        return [Place(epoch, index, epoch * size + number) for number, index in enumerate(self.order(epoch)[:size])]

    def batches(self, process: int, first_step: int = 0) -> Iterator[list[Place]]:
        """The batches of one process from ``first_step`` to the end."""
        for epoch in range(first_step // self.steps_per_epoch, self.epochs):
            places = self.places(epoch)
            start = first_step - epoch * self.steps_per_epoch if epoch * self.steps_per_epoch < first_step else 0
            for batch in range(start * self.accumulate, self.steps_per_epoch * self.accumulate):
                begin = (batch * self.processes + process) * self.batch_size
                yield places[begin : begin + self.batch_size]


class PlanSampler(Sampler[list[Place]]):
    """The batches of a plan, for a DataLoader."""

    def __init__(self, plan: Plan, process: int, first_step: int) -> None:
        self.plan, self.process, self.first_step = plan, process, first_step

    def __iter__(self) -> Iterator[list[Place]]:
        return self.plan.batches(self.process, self.first_step)

    def __len__(self) -> int:
        return (self.plan.steps - self.first_step) * self.plan.accumulate


class Augmented(Dataset[Delivery]):
    """A split seen through a transform, whose random numbers come from (seed, epoch, sample index).

    focus: takes some of the places for crops with rare classes.
    """

    def __init__(self, split: Split, transform: Transform, seed: int, focus: Focus | None = None) -> None:
        self.split, self.transform, self.seed, self.focus = split, transform, seed, focus

    def __getitem__(self, place: Place) -> Delivery:
        epoch, index, number = place
        generator = torch.Generator().manual_seed(derived_seed(self.seed, 1, epoch, index))
        holding = {}
        if self.focus is not None and self.focus.takes(number):
            holding["holding"], index = self.focus.draw(generator)
        return read_or_fault(
            lambda: self.transform(*self.split[index], generator, **holding), lambda: f"sample '{self.split.names[index]}'"
        )


def training_loader(
    samples: Augmented, plan: Plan, *, process: int = 0, first_step: int = 0, workers: int = 2, pin_memory: bool = False
) -> DataLoader[Delivery]:
    """One loader for the whole training: batches of images (B, C, h, w), uint8 or else float32, and labels (B, h, w)."""
    return worker_loader(
        samples,
        workers=workers,
        collate=stack,
        batch_sampler=PlanSampler(plan, process, first_step),
        pin_memory=pin_memory,
    )


def stack(samples: list[Delivery]) -> Delivery:
    """Images (B, C, h, w), in channels-last memory as the transform leaves them, and labels (B, h, w); or the first error."""
    good = [sample for sample in samples if not isinstance(sample, Exception)]
    if len(good) < len(samples):
        return next(sample for sample in samples if isinstance(sample, Exception))
    images, labels = zip(*good, strict=True)
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2), torch.stack(labels)


class Indexed(Dataset[Delivery]):
    """Some samples of a split, for scoring."""

    def __init__(self, split: Split, indices: list[int]) -> None:
        self.split, self.indices = split, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Delivery:
        index = self.indices[position]
        return read_or_fault(lambda: self.split[index], lambda: f"sample '{self.split.names[index]}'")


def scoring_loader(split: Split, indices: list[int], *, workers: int = 2) -> DataLoader[Delivery]:
    """The samples one by one, as they are: images (C, H, W), labels (H, W)."""
    return worker_loader(Indexed(split, indices), workers=workers, batch_size=None)
