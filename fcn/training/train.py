"""The training loop: steps, validation, checkpoints, and going on where a run was cut.

Everything random is a function of the seed and of the place where it is drawn (see ``batches.py``; dropout: of the step and the process).
So a run that was killed and resumed ends with the same weights as one that was not, bit for bit on one machine.
"""

import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from fcn.core.files import written
from fcn.core.images import ImageKind
from fcn.core.names import said
from fcn.data.census import need_classes
from fcn.data.pictures import sample_sheet
from fcn.data.split import Split
from fcn.data.visible import visible
from fcn.graph.networks import evaluating
from fcn.inference.strategies import Strategy
from fcn.models.segmenter import Segmenter
from fcn.training.batches import Plan, Transform, derived_seed, training_loader
from fcn.training.checkpoint import model_state, save_checkpoint
from fcn.training.evaluate import score_split
from fcn.training.losses import SegmentationLoss, with_auxiliary
from fcn.training.metrics import metrics, table
from fcn.training.optim import Schedule, set_rate
from fcn.training.records import Records
from fcn.training.state import State
from fcn.training.workers import delivered, telling_of_lost_workers

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]  # images (B, C, h, w), uint8 or else float32; labels uint8 (B, h, w)


def run_training(
    state: State,
    training: Split,
    validation: Split,
    *,
    plan: Plan,
    transform: Transform,
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
    tensorboard: bool = False,
    progress: bool = True,
    facts: dict[str, Any] | None = None,
) -> float:
    """Train from ``state.step`` to the end of the plan, or until ``patience`` validations brought no better mIoU.

    Returns the best mIoU on ``validation``.

    progress: show progress and each validation's table on stderr. facts: plain values for the checkpoints to carry.

    Leaves ``last.pt`` (before the first step, after every epoch and every ``save_seconds``), ``best.pt``, ``metrics.jsonl``,
    ``curves.png`` and ``samples.png`` in ``folder``.

    Raises UserError, before the first step, where the label maps of ``training`` hold fewer than two classes or those of ``validation``
    only void. Raises FloatingPointError at a loss that is not finite, and LostWorkerError where a worker process is gone; the last
    checkpoint stays.
    """
    need_classes(training, 2, "the training split")
    need_classes(validation, 1, "the validation split")
    device, main = accelerator.device, accelerator.is_main_process
    facts = facts or {}
    records = Records(folder, step=state.step, tensorboard=tensorboard) if main else None
    network, optimizer = accelerator.prepare(state.model, state.optimizer)
    accelerator.unwrap_model(network, keep_fp32_wrapper=False)  # autocast is the training step's; scoring stays in float32
    loss.to(device)
    loader = training_loader(
        training,
        transform,
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
    lost = telling_of_lost_workers(workers, f"; then go on with resume={folder}")
    with lost, Progress(plan, state.step, state.losses, shown=main and progress) as bar:
        while state.step < plan.steps and (patience is None or state.stale < patience):
            rate = set_rate(optimizer, schedule(state.step))
            torch.manual_seed(derived_seed(plan.seed, 2, state.step, accelerator.process_index))  # dropout
            batch = [next(batches) for _ in range(plan.accumulate)]
            value = train_step(network, optimizer, batch, loss, accelerator, clip_norm=clip_norm)
            if state.average is not None:
                state.average.update_parameters(state.model)
            state.step += 1
            if not math.isfinite(value):
                raise not_finite(f"the loss became {value}", state.step)
            bar.update(value, rate)
            epoch, into = divmod(state.step, plan.steps_per_epoch)
            if records is not None and bar.due():
                records.add("train", step=state.step, epoch=state.step / plan.steps_per_epoch, **bar.take())
            last = state.step == plan.steps
            if into == 0 and (epoch % validate_every == 0 or last):
                agree_on_buffers(state.scored, accelerator)
                samples = Samples(len(validation), accelerator.num_processes, state.model.images)
                matrix = score_split(
                    state.scored,
                    validation,
                    strategy,
                    accelerator,
                    workers=workers,
                    title="  validation",
                    visit=samples.keep,
                    progress=progress,
                )
                result = metrics(matrix)
                if records is not None:
                    records.add("val", step=state.step, epoch=epoch, **result.as_dict(validation.labels.names))
                    records.draw()
                    samples.draw(validation, folder / "samples.png")
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
    return state.best


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
    from contextlib import nullcontext

    return nullcontext() if last else accelerator.no_sync(network)


class Samples:
    """A few samples, evenly spread over those that the first process scores, kept while a split is scored and drawn as ``samples.png``."""

    def __init__(self, count: int, processes: int, images: ImageKind, *, shown: int = 6) -> None:
        self.images = images
        mine = range(0, count, processes)
        self.chosen = {mine[place * len(mine) // min(shown, len(mine))] for place in range(min(shown, len(mine)))}
        self.kept: list[tuple[int, tuple[Any, Tensor, Tensor]]] = []

    def keep(self, index: int, image: Tensor, truth: Tensor, prediction: Tensor) -> None:
        if index in self.chosen:
            self.kept.append((index, (visible(image, self.images), truth, prediction)))

    def draw(self, split: Split, path: Path) -> None:
        names = [str(split.names[index]) for index, _ in self.kept]
        sheet = sample_sheet([row for _, row in self.kept], split.labels, names=names, errors=True)
        with written(path) as temporary:
            sheet.save(temporary, format="PNG")


class Progress:
    """The line on the screen, and what is recorded: the mean loss since the last record, the rate, and images per second.

    losses: of the steps since the last record, which a run that goes on has from its checkpoint; added to and emptied here.
    """

    def __init__(self, plan: Plan, step: int, losses: list[float], *, shown: bool) -> None:
        self.plan, self.step, self.losses, self.shown = plan, step, losses, shown
        terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=plan.steps,
            initial=step,
            disable=not shown,
            unit="step",
            mininterval=0.2 if terminal else 10.0,
            bar_format="{desc} {percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}",
        )
        self.every = max(1, min(50, plan.steps_per_epoch))
        self.rate = 0.0
        self.restart()

    def restart(self) -> None:
        """Start the clock anew, after time that was not spent on training."""
        self.begin, self.timed = time.monotonic(), 0

    def update(self, loss: float, rate: float) -> None:
        self.step += 1
        self.rate = rate
        self.timed += 1
        self.losses.append(loss)
        self.bar.set_description_str(f"epoch {(self.step - 1) // self.plan.steps_per_epoch + 1}/{self.plan.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.4f}, lr {rate:.2e}, {self.images_per_second():.1f} images/s", refresh=False)
        self.bar.update()

    def images_per_second(self) -> float:
        return self.timed * self.plan.step_size / max(1e-9, time.monotonic() - self.begin)

    def due(self) -> bool:
        return self.step % self.every == 0

    def take(self) -> dict[str, float]:
        values = {"loss": sum(self.losses) / len(self.losses), "lr": self.rate, "images_per_second": round(self.images_per_second(), 2)}
        self.losses.clear()
        self.restart()
        return values

    def write(self, text: str) -> None:
        if self.shown:
            tqdm.write(text, file=sys.stderr)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
