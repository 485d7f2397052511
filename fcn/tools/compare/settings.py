"""The settings of ``fcn compare``."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fcn.core.errors import SettingError, UserError
from fcn.core.names import suggest
from fcn.core.settings import items
from fcn.tools.settings import SEEDS, TrainingConfig


@dataclass
class CompareConfig(TrainingConfig):
    """``fcn compare``.

    upsample: up-samplers to compare, with their default settings; null: all
    seeds: seeds of the trainings; each up-sampler is trained once with each
    baseline: up-sampler that the others are compared with; null: bilinear if it is among them, else the first
    thin: classes of thin structures, scored as thin IoU; null: wire on shapes, pole on camvid, else none
    quick: use a small budget: epochs=1 seeds=[0], and data.train_count=1500 on shapes
    cell: the one training to run of the comparison in resume, as nearest-1; for spreading them over machines by hand
    """

    SUMMARY: ClassVar[str] = "trains a network with each up-sampler, all else equal; reports quality and cost"
    EXAMPLES: ClassVar[str] = """fcn compare                                           all methods, three seeds, on the built-in pictures
fcn compare quick=true
fcn compare data=camvid data.root=DIR model=fcn8s backbone=resnet18 upsample=[transposed,bilinear] seeds=[0,1,2,3,4]
fcn compare resume=outputs/compare/2026-01-31_12-00-00  goes on; finished trainings are not repeated
fcn compare hydra/launcher=submitit_slurm hydra.launcher.partition=gpu   a job for each training"""

    upsample: Annotated[list[str], items(least=2, distinct=True, example="[bilinear,transposed]")] = field(
        default_factory=lambda: ["transposed", "bilinear", "pixelshuffle", "nearest", "carafe"]
    )
    seeds: Annotated[list[int], items(SEEDS, distinct=True, example="[0,1,2]")] = field(default_factory=lambda: [0, 1, 2])
    baseline: str | None = None
    thin: list[str] | None = None
    quick: bool = False
    cell: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, words in (("baseline", self.upsample), ("cell", self.cells)):
            given = getattr(self, key)
            if key == "cell" and given is not None and self.resume is None:
                raise UserError(f"cell={given} is one training of a comparison; give the comparison's folder too, as resume=DIR")
            if given is not None and given not in words:
                raise SettingError(f"{key}={given} is not known; {suggest(given, words)}", name=key)

    @property
    def quick_words(self) -> tuple[str, ...]:
        """The words that ``quick`` stands for. Words of the call itself come after them."""
        return ("epochs=1", "seeds=[0]", *(["data.train_count=1500"] if hasattr(self.data, "train_count") else []))

    @property
    def cells(self) -> list[str]:
        """The names of the trainings: all methods of a seed before the next seed, so that a comparison that was cut has whole pairs."""
        return [f"{method}-{seed}" for seed in self.seeds for method in self.upsample]
