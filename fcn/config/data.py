"""Data sets: where they are, which splits are used, and how `fcn train` trains on them unless told otherwise."""

from dataclasses import dataclass

from fcn.config.checks import REQUIRED, one_of, require


@dataclass
class Recipe:
    """What `fcn train` uses on this data set unless told otherwise."""

    epochs: int = REQUIRED
    compare_epochs: int = REQUIRED  # of each training of `fcn compare`
    batch_size: int = REQUIRED
    crop_size: int = REQUIRED  # side of the training crops, pixels
    scale: list[float] = REQUIRED  # smallest and largest factor of the scale jitter
    color: float = REQUIRED  # largest relative change of brightness, contrast and saturation


@dataclass
class DataConfig:
    name: str = REQUIRED
    train: str = "train"  # the split to train on
    val: str = "val"  # the split to score
    recipe: Recipe = REQUIRED


@dataclass
class ShapesConfig(DataConfig):
    train_count: int = 4000  # pictures
    val_count: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.train_count >= 1, "data.train_count", self.train_count, "1 or more")
        require(self.val_count >= 1, "data.val_count", self.val_count, "1 or more")
        require(0 <= self.seed < 2**63, "data.seed", self.seed, "0 or more and below 2^63")


@dataclass
class FilesConfig(DataConfig):
    root: str = REQUIRED  # the folder that holds the data set
    verify: str = "auto"  # pairs checked before training: auto (all of a small set, a sample of a large one), all, none

    def __post_init__(self) -> None:
        one_of("data.verify", self.verify, "auto", "all", "none")


@dataclass
class DownloadConfig(FilesConfig):
    download: bool = False  # fetch what is missing


@dataclass
class FolderConfig(FilesConfig):
    val_fraction: float | None = None  # share kept for validation where the folder has no split lists; null: 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.val_fraction is None or 0 < self.val_fraction < 1
        require(fits, "data.val_fraction", self.val_fraction, "between 0 and 1, or null")
