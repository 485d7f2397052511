"""What a training run leaves behind beside its checkpoints: ``metrics.jsonl``, ``curves.png``, and TensorBoard's events on request."""

import json
from pathlib import Path
from typing import Any

from fcn.core.files import written
from fcn.training.plots import draw_curves


class Records:
    """The lines of ``metrics.jsonl``: {"kind": "train" or "val", "step": steps done, "epoch": epochs done, ...}.

    step: the step that the run goes on from; lines of a cut run beyond it are dropped, since they will be written again.
    """

    def __init__(self, folder: Path, *, step: int = 0, tensorboard: bool = False) -> None:
        self.folder = folder
        self.path = folder / "metrics.jsonl"
        self.lines = [line for line in read_lines(self.path) if line["step"] <= step]
        with written(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        self.board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, kind: str, *, step: int, epoch: float, **values: Any) -> None:
        line = {"kind": kind, "step": step, "epoch": round(epoch, 4), **values}
        self.lines.append(line)
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OSError(
                f"cannot write {self.path}: {error.strerror or error}; free some space there, then go on with resume={self.folder}"
            ) from error
        if self.board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(f"{kind}/{name}", value, step)
            self.board.flush()

    def draw(self) -> None:
        """Write ``curves.png``: the loss and the rate of training, the mIoU of validation, over epochs."""
        draw_curves(self.lines, self.folder / "curves.png")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``, less a last one that was cut while it was written."""
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
