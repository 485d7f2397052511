"""The settings of ``fcn compare``, and what a comparison is: variants of one training that differ in the settings that are compared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, ClassVar

from fcn.core.errors import SettingError, UserError
from fcn.core.names import suggest
from fcn.core.registry import KINDS
from fcn.core.settings import REQUIRED, items
from fcn.tools.schema import PartConfig
from fcn.tools.settings import SEEDS, TrainingConfig

UPSAMPLERS = ("transposed", "bilinear", "pixelshuffle", "nearest", "carafe")  # compared unless told otherwise
NOT_COMPARED = ("output", "resume", "device", "workers", "save_seconds", "plugins", "seeds", "baseline", "thin", "quick", "cell")
ONE = "training"  # the name of the only training where nothing but its scoring is compared


@dataclass
class CompareConfig(TrainingConfig):
    """``fcn compare``.

    seeds: seeds of the trainings; each variant is trained once with each
    baseline: variant that the others are compared with, as bilinear or loss.dice=0; null: bilinear if it is among them, else the first
    thin: classes of thin structures, scored as thin IoU; null: wire on shapes, pole on camvid, else none
    quick: use a small budget: epochs=1 seeds=[0], and data.train_count=1500 on shapes
    cell: the one training to run of the comparison in resume, as nearest-1; for spreading them over machines by hand
    """

    SUMMARY: ClassVar[str] = "trains a network with each value of a setting, all else equal; reports quality and cost"
    EXAMPLES: ClassVar[
        str
    ] = """fcn compare                                           all up-samplers, three seeds, on the built-in pictures
fcn compare quick=true
fcn compare model=[fcn32s,fcn16s,fcn8s]                 any setting with several values in brackets
fcn compare loss.dice=[0,1] augment.cutout=[0,0.3]      two at once: a grid
fcn compare inference.flip=[false,true]                 trained once for each seed, scored twice
fcn compare data=camvid data.root=DIR model=fcn8s backbone=resnet18 upsample=[transposed,bilinear] seeds=[0,1,2,3,4]
fcn compare experiment=camvid_quick data.root=DIR optim.lr=[1e-3,2e-3]   a whole recipe, and changes to it
fcn compare resume=outputs/compare/2026-01-31_12-00-00  goes on; finished trainings are not repeated
fcn compare hydra/launcher=submitit_slurm hydra.launcher.partition=gpu   a job for each training"""

    upsample: PartConfig = REQUIRED
    seeds: Annotated[list[int], items(SEEDS, distinct=True, example="[0,1,2]")] = field(default_factory=lambda: [0, 1, 2])
    baseline: str | None = None
    thin: list[str] | None = None
    quick: bool = False
    cell: str | None = None

    @property
    def quick_words(self) -> tuple[str, ...]:
        """The words that ``quick`` stands for. Words of the call itself come after them."""
        return ("epochs=1", "seeds=[0]", *(["data.train_count=1500"] if hasattr(self.data, "train_count") else []))


def named(choice: Mapping[str, str]) -> str:
    """The name of a variant: its values, those of a part by the word alone."""
    return ",".join(value if key in KINDS else f"{key}={value}" for key, value in choice.items()) or ONE


def choices_of(compared: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """All combinations of the values that are compared, by the name of the variant, in the order of a grid."""
    every = (dict(zip(compared, values, strict=True)) for values in product(*compared.values()))
    return {named(choice): choice for choice in every}


def is_scoring(key: str) -> bool:
    """Whether a setting is of the scoring alone, so that one training serves all its values."""
    return key.partition(".")[0] == "inference"


@dataclass
class Comparison:
    """A comparison.

    settings: those of the comparison itself, and of its first variant. compared: the values of each setting that is compared, as they are
    written on the command line. variants: the settings of each variant, by name; of a single training only the variants that it is scored
    as. words: the settings that the call gave for all variants, for those that are added later.
    """

    settings: CompareConfig
    compared: dict[str, list[str]]
    variants: dict[str, CompareConfig]
    words: list[str]

    def __post_init__(self) -> None:
        given = self.settings
        if given.cell is not None and given.resume is None:
            raise UserError(f"cell={given.cell} is one training of a comparison; give the comparison's folder too, as resume=DIR")
        for key, words in (("baseline", list(self.choices)), ("cell", self.cells)):
            value = getattr(given, key)
            if value is not None and value not in words:
                raise SettingError(f"{key}={value} is not known; {suggest(value, words)}", name=key)

    @property
    def output(self) -> str | None:
        return self.settings.output

    @output.setter
    def output(self, folder: str | None) -> None:
        self.settings.output = folder

    @property
    def choices(self) -> dict[str, dict[str, str]]:
        """By variant the value of each setting that is compared, in the order of a grid."""
        return choices_of(self.compared)

    @property
    def trainings(self) -> dict[str, list[str]]:
        """By training the variants that it is scored as. Settings of the scoring alone need no training of their own."""
        found: dict[str, list[str]] = {}
        for name, choice in self.choices.items():
            found.setdefault(named({key: value for key, value in choice.items() if not is_scoring(key)}), []).append(name)
        return found

    @property
    def cells(self) -> list[str]:
        """The names of the trainings: all of a seed before the next seed, so that a comparison that was cut has whole pairs."""
        return [f"{folder_name(training, self.trainings)}-{seed}" for seed in self.settings.seeds for training in self.trainings]

    def training_of(self, cell: str) -> tuple[str, int]:
        """The training and the seed of a cell."""
        found = {
            f"{folder_name(training, self.trainings)}-{seed}": (training, seed)
            for seed in self.settings.seeds
            for training in self.trainings
        }
        return found[cell]

    def differing(self, one: str, other: str) -> list[str]:
        """The settings that two trainings, by the names of their cells, differ in."""
        first, second = (self.choices[self.trainings[self.training_of(cell)[0]][0]] for cell in (one, other))
        return [key for key in first if first[key] != second[key] and not is_scoring(key)]

    @property
    def baseline(self) -> str:
        """The variant that the others are compared with."""
        if self.settings.baseline is not None:
            return self.settings.baseline
        return named(
            {key: "bilinear" if key == "upsample" and "bilinear" in values else values[0] for key, values in self.compared.items()}
        )


def folder_name(name: str, names: Sequence[str] | Mapping[str, object]) -> str:
    """A name as that of a file, different for each of ``names``."""
    plain = [re.sub(r"[^\w=.,+-]+", "_", each)[:150] for each in names]
    place = list(names).index(name)
    again = plain[:place].count(plain[place])
    return f"{plain[place]}_{again + 1}" if again else plain[place]
