"""The training loop: steps, validation, checkpoints, and going on where a run was cut.

Everything random is a function of the seed and of the place where it is drawn (see ``batches.py``; dropout: of the step and the process).
So a run that was killed and resumed ends with the same weights as one that was not, bit for bit on one machine.
"""

import logging
import math
import os
import time
from contextlib import ExitStack, nullcontext
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.data.census import need_classes
from fcn.data.split import Split
from fcn.graph.networks import evaluating
from fcn.inference.strategies import Strategy
from fcn.models.segmenter import Segmenter
from fcn.models.weight_files import model_state
from fcn.training.allocation import freed_memory_kept
from fcn.training.batches import Augmented, Plan, derived_seed, training_loader
from fcn.training.checkpoint import save_checkpoint
from fcn.training.evaluate import score_split
from fcn.training.hooks import NO_HOOKS, Epoch, Hooks, Step
from fcn.training.losses import SegmentationLoss, with_auxiliary
from fcn.training.metrics import metrics, table
from fcn.training.optim import Schedule, set_rate
from fcn.training.progress import Meter, Samples
from fcn.training.recompute import Recomputing
from fcn.training.records import Records
from fcn.training.state import State
from fcn.training.trackers import Tracker
from fcn.training.workers import delivered, telling_of_lost_workers

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]  # images (B, C, h, w), uint8 or else float32; labels uint8 (B, h, w)


def run_training(
    state: State,
    samples: Augmented,
    validation: Split,
    *,
    plan: Plan,
    loss: SegmentationLoss,
    schedule: Schedule,
    strategy: Strategy,
    accelerator: Accelerator,
    folder: Path,
    clip_norm: float | None = None,
    workers: int = 2,
    validate_every: int = 1,
    patience: int | None = None,
    save_seconds: float = 300.0,
    tracker: str | None = None,
    compile: bool = False,
    gradient_checkpointing: bool = False,
    hooks: Hooks = NO_HOOKS,
    progress: bool = True,
    settings: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
) -> float:
    """Train from ``state.step`` to the end of the plan, or until ``patience`` validations brought no better mIoU.

    Returns the best mIoU on ``validation``.

    tracker: one of ``TRACKERS``, which gets the records as well, and ``settings`` when it begins. compile: run the steps through
    ``torch.compile``. gradient_checkpointing: see ``recompute.py``. hooks: functions that are called on the way.
    progress: show progress and each validation's table on stderr. facts: plain values for the checkpoints to carry.

    Leaves ``last.pt`` (before the first step, after every epoch and every ``save_seconds``), ``best.pt``, ``metrics.jsonl``,
    ``curves.png`` and ``samples.png`` in ``folder``.

    Raises UserError, before the first step, where the label maps of ``samples`` hold fewer than two classes or those of ``validation``
    only void. Raises FloatingPointError at a loss that is not finite, and LostWorkerError where a worker process is gone; the last
    checkpoint stays.
    """
    need_classes(samples.split, 2, "the training split")
    need_classes(validation, 1, "the validation split")
    device, main = accelerator.device, accelerator.is_main_process
    facts = facts or {}
    network, optimizer = accelerator.prepare(state.model, state.optimizer)
    accelerator.unwrap_model(network, keep_fp32_wrapper=False)  # autocast is the training step's; scoring stays in float32
    if compile:
        network = compiled(network, device)
    recomputing = Recomputing(state.model) if gradient_checkpointing else None
    if recomputing is not None:
        log.info("gradient checkpointing: %d blocks are computed again in the backward pass", len(recomputing.parts))
    loss.to(device)
    loader = training_loader(
        samples,
        plan,
        process=accelerator.process_index,
        first_step=state.step,
        workers=workers,
        pin_memory=device.type == "cuda",
    )
    batches = delivered(loader)
    network.train()

    def save() -> None:
        save_checkpoint(model_state(state.model, validation.labels, training=state.checkpoint(plan), **facts), folder / "last.pt")

    if main and state.step == 0:  # a folder without a last.pt is then one that lost it
        save()
    saved = time.monotonic()
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(freed_memory_kept())
        stack.enter_context(telling_of_lost_workers(workers, f"; then go on with resume={folder}"))
        bar = stack.enter_context(Meter(plan, state.step, state.losses, shown=main and progress))
        records = None
        if main:
            board = Tracker(tracker, folder, step=state.step, settings=settings) if tracker else None
            records = stack.enter_context(Records(folder, step=state.step, tracker=board))
        while state.step < plan.steps and (patience is None or state.stale < patience):
            rate = set_rate(optimizer, schedule(state.step))
            torch.manual_seed(derived_seed(plan.seed, 2, state.step, accelerator.process_index))  # dropout
            batch = [next(batches) for _ in range(plan.accumulate)]
            with recomputing or nullcontext():
                value = train_step(network, optimizer, batch, loss, accelerator, clip_norm=clip_norm)
            if state.average is not None:
                state.average.update_parameters(state.model)
            state.step += 1
            if not math.isfinite(value):
                raise not_finite(f"the loss became {value}", state.step)
            bar.update(value, rate)
            epoch, into = divmod(state.step, plan.steps_per_epoch)
            if records is not None and (bar.due() or state.step == plan.steps):
                records.add("train", step=state.step, epoch=state.step / plan.steps_per_epoch, **bar.take())
            if main and hooks.on_step is not None:
                hooks.on_step(Step(state.step, state.step / plan.steps_per_epoch, value, rate))
            scores = None
            last = state.step == plan.steps
            if into == 0 and (epoch % validate_every == 0 or last):
                agree_on_buffers(state.scored, accelerator)
                pictures = Samples(len(validation), accelerator.num_processes, state.model.images)
                matrix = score_split(
                    state.scored,
                    validation,
                    strategy,
                    accelerator,
                    workers=workers,
                    title="  validation",
                    visit=pictures.keep,
                    progress=progress,
                )
                result = metrics(matrix)
                scores = result.as_dict(validation.labels.names)
                if records is not None:
                    records.add("val", step=state.step, epoch=epoch, **scores)
                    records.draw()
                    pictures.draw(validation, folder / "samples.png")
                    bar.write(f"epoch {epoch}/{plan.epochs}\n{table(result, matrix, validation.labels.names)}\n")
                    if result.miou > state.best or not (folder / "best.pt").exists():
                        best = model_state(state.scored, validation.labels, miou=result.miou, epoch=epoch, **facts)
                        save_checkpoint(best, folder / "best.pt")
                state.stale = 0 if result.miou > state.best else state.stale + 1
                state.best = max(state.best, result.miou)
                if state.stale == patience and not last:
                    log.info("no better mIoU for %d validations: the training ends after epoch %d of %d", patience, epoch, plan.epochs)
                bar.restart()
            if main and (into == 0 or time.monotonic() - saved >= save_seconds):
                check_sound(state, batch[-1], loss)
                save()
                saved = time.monotonic()
            if main and into == 0 and hooks.on_epoch is not None:
                hooks.on_epoch(Epoch(epoch, state.step, scores, state.best, state.scored))
    return state.best


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """The network through ``torch.compile``, for steps of one size. Raises UserError where the machine lacks what that needs."""
    if device.type == "cpu" and not any(map(which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise UserError(f"{said('compile', True)} needs a C++ compiler on a CPU: install g++, or leave it out")
    if device.type == "cuda" and find_spec("triton") is None:
        raise UserError(f"{said('compile', True)} needs the package triton on a GPU: pip install triton, or leave it out")
    log.info("compiling the network in the first step, which takes up to some minutes")
    return torch.compile(network, dynamic=False)  # type: ignore[return-value]


def check_sound(state: State, batch: Batch, loss: SegmentationLoss) -> None:
    """Raise FloatingPointError where the weights that are about to be saved cannot be gone on from: a step whose loss was still finite
    can ruin them. They must be finite, and so must be their loss on ``batch``."""
    model = state.model
    images, labels = (part.to(model.mean.device) for part in batch)
    with evaluating(model):
        value = loss(model(model.normalize(images)), labels, loss.counts(labels))
    if not (torch.isfinite(value) and all(torch.isfinite(value).all() for value in model.state_dict().values())):
        raise not_finite("the weights or their loss are no longer finite", state.step)


def not_finite(what: str, step: int) -> FloatingPointError:
    return FloatingPointError(
        f"{what} in step {step}; the checkpoint before it is kept: "
        f"start again with a lower {said('optim.lr')}, with clip_norm=1, or with precision=fp32"
    )


def agree_on_buffers(model: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the first one's buffers, so that all score the same model: without SyncBatchNorm their statistics differ."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[Batch],
    loss: SegmentationLoss,
    accelerator: Accelerator,
    *,
    clip_norm: float | None = None,
) -> float:
    """One optimizer step over the batches of all processes; returns the loss of the whole step, a mean over its valid pixels."""
    device = accelerator.device
    model: Segmenter = accelerator.unwrap_model(network)
    moved = [(images.to(device, non_blocking=True), labels.to(device, non_blocking=True)) for images, labels in batches]
    totals = torch.stack([loss.counts(labels) for _, labels in moved]).sum(0)
    totals = accelerator.reduce(totals, "sum") if accelerator.num_processes > 1 else totals
    optimizer.zero_grad(set_to_none=True)
    value = torch.zeros((), device=device)
    for index, (images, labels) in enumerate(moved):
        with synchronizing(accelerator, network, last=index == len(moved) - 1):
            with accelerator.autocast():
                outputs = network(model.normalize(images))
            part = with_auxiliary(loss, outputs, labels, totals, weight=model.aux_weight)
            accelerator.backward(part * accelerator.num_processes)  # gradients are averaged over processes, parts are to be summed
        value += part.detach()
    value = accelerator.reduce(value, "sum") if accelerator.num_processes > 1 else value
    result = value.item()
    if math.isfinite(result):
        norm = accelerator.clip_grad_norm_(network.parameters(), math.inf if clip_norm is None else clip_norm)
        if accelerator.mixed_precision != "fp16" and not math.isfinite(float(norm)):  # fp16's scaler skips such steps itself
            return math.nan
        optimizer.step()
    return result


def synchronizing(accelerator: Accelerator, network: nn.Module, *, last: bool) -> Any:
    """Gradients travel between processes with the last batch of a step only."""
    return nullcontext() if last else accelerator.no_sync(network)
