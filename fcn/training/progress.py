"""What a training shows of itself while it runs: the line on the screen and a sheet of samples."""

import time
from pathlib import Path
from typing import Any

from torch import Tensor

from fcn.core.files import written
from fcn.core.images import ImageKind
from fcn.core.progress import Progress, tell
from fcn.data.pictures import sample_sheet
from fcn.data.split import Split
from fcn.data.visible import visible
from fcn.training.batches import Plan
from fcn.training.scored import Scored


class Samples:
    """A few samples, evenly spread over those that the first process scores, kept while a split is scored and drawn as ``samples.png``.

    images: their kind.
    """

    def __init__(self, count: int, processes: int, images: ImageKind, *, shown: int = 6) -> None:
        self.images = images
        mine = range(0, count, processes)
        self.chosen = {mine[place * len(mine) // min(shown, len(mine))] for place in range(min(shown, len(mine)))}
        self.kept: list[tuple[int, tuple[Any, Tensor, Tensor]]] = []

    def keep(self, sample: Scored) -> None:
        if sample.index in self.chosen:
            self.kept.append((sample.index, (visible(sample.image, self.images), sample.truth, sample.prediction)))

    def draw(self, split: Split, path: Path) -> None:
        names = [str(split.names[index]) for index, _ in self.kept]
        sheet = sample_sheet([row for _, row in self.kept], split.labels, names=names, errors=True)
        with written(path) as temporary:
            sheet.save(temporary, format="PNG")


class Meter:
    """The progress on the screen, and what is recorded: the mean loss since the last record, the rate, and images per second.

    losses: of the steps since the last record, which a run that goes on has from its checkpoint; added to and emptied here.
    """

    def __init__(self, plan: Plan, step: int, losses: list[float], *, shown: bool) -> None:
        self.plan, self.step, self.losses, self.shown = plan, step, losses, shown
        self.bar = Progress("training", plan.steps, "steps", start=step, shown=shown)
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
        epoch = (self.step - 1) // self.plan.steps_per_epoch + 1
        note = f"loss {loss:.4f}, lr {rate:.2e}, {self.images_per_second():.1f} images/s"
        self.bar.describe(f"epoch {epoch}/{self.plan.epochs}", note)
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
            tell(text)

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.__exit__(None, None, None)
