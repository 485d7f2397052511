"""One class per command: all that can be set."""

from dataclasses import dataclass
from typing import Any

from fcn.config.checks import REQUIRED, one_of, require, whole_numbers
from fcn.config.data import DataConfig, ShapesConfig
from fcn.config.inference import InferenceConfig
from fcn.config.models import BackboneConfig, ModelConfig, UpsampleConfig
from fcn.config.training import AugmentConfig, LossConfig, OptimConfig, ScheduleConfig


@dataclass
class CommandConfig:
    output: str | None = None  # the folder to write to, which must not hold anything yet; null: a dated one under outputs/
    device: str = "auto"  # auto, cpu, cuda or mps
    precision: str = "auto"  # auto, fp32, bf16 or fp16; auto is bf16 where the hardware computes in it
    channels_last: bool = True

    def __post_init__(self) -> None:
        one_of("device", self.device, "auto", "cpu", "cuda", "mps")
        one_of("precision", self.precision, "auto", "fp32", "bf16", "fp16")


@dataclass
class TrainingConfig(CommandConfig):
    """What every training is told, by itself or as one of those that are compared."""

    model: ModelConfig = REQUIRED
    backbone: BackboneConfig = REQUIRED
    data: DataConfig = REQUIRED
    augment: AugmentConfig = REQUIRED
    loss: LossConfig = REQUIRED
    optim: OptimConfig = REQUIRED
    schedule: ScheduleConfig = REQUIRED
    inference: InferenceConfig = REQUIRED  # of the validation
    epochs: int = REQUIRED
    batch_size: int = REQUIRED  # per process
    accumulate: int = 1  # batches per optimizer step
    clip_norm: float | None = None  # largest norm of the gradient
    ema: float | None = None  # decay of an exponential moving average of the weights, which is then what is scored and kept
    workers: int = 2  # processes that read and augment; 0: none beside the training itself
    validate_every: int = 1  # epochs
    save_seconds: float = 300.0  # between checkpoints within an epoch
    resume: str | None = None  # the output folder of an interrupted run

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("epochs", "batch_size", "accumulate", "validate_every"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "1 or more")
        require(self.workers >= 0, "workers", self.workers, "0 or more")
        require(self.save_seconds >= 0, "save_seconds", self.save_seconds, "0 or more", infinite=True)
        require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "above 0, or null")
        require(self.ema is None or 0 < self.ema < 1, "ema", self.ema, "between 0 and 1, or null")
        if self.resume is not None and self.output is not None:
            raise ValueError("both resume and output are given; a resumed run goes on in its own folder, so leave out output")


@dataclass
class TrainConfig(TrainingConfig):
    upsample: UpsampleConfig = REQUIRED
    seed: int = 0
    sync_batchnorm: bool = True  # across GPUs
    tensorboard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.seed < 2**63, "seed", self.seed, "0 or more and below 2^63")


@dataclass
class CompareConfig(TrainingConfig):
    upsample: list[str] = REQUIRED  # the methods that are compared, their own settings at the defaults
    seeds: list[int] = REQUIRED  # each method is trained once with each
    baseline: str | None = None  # the method that the others are set against; null: bilinear where it is compared, else the first
    thin: list[str] | None = None  # the classes of thin structures; null: wire on shapes, pole on camvid, else none
    quick: bool = False  # a small budget: `quick_words`
    cell: str | None = None  # only this cell of the comparison in `resume`, as nearest-1, for spreading cells by hand

    def __post_init__(self) -> None:
        super().__post_init__()
        distinct = len(set(self.upsample)) == len(self.upsample) >= 2
        require(distinct, "upsample", self.upsample, "a list of two methods or more, each once, as [bilinear,transposed]")
        seeds = len(set(self.seeds)) == len(self.seeds) >= 1 and min(self.seeds) >= 0 and max(self.seeds) < 2**63
        require(seeds, "seeds", self.seeds, "a list of numbers, each once, 0 or more and below 2^63, as [0,1,2]")
        if self.baseline is not None:
            one_of("baseline", self.baseline, *self.upsample)
        if self.cell is not None:
            if self.resume is None:
                raise ValueError(f"cell={self.cell} is a part of a comparison that has begun; give its folder too, as resume=DIR")
            one_of("cell", self.cell, *self.cells)

    @property
    def quick_words(self) -> tuple[str, ...]:
        """What `quick` stands for; words of the call itself come after them."""
        return ("epochs=1", "seeds=[0]", *(["data.train_count=1500"] if isinstance(self.data, ShapesConfig) else []))

    @property
    def cells(self) -> list[str]:
        """The names of the trainings, all methods of a seed before the next seed: a comparison that is cut has whole pairs."""
        return [f"{method}-{seed}" for seed in self.seeds for method in self.upsample]


@dataclass
class CeilingConfig:
    data: DataConfig = REQUIRED
    splits: list[str] | None = None  # null: the data set's validation split
    strides: list[int] = REQUIRED  # of the network's output, pixels
    method: str = "shares"  # what a cell can say: shares of the classes, or their majority
    workers: int = 2
    output: str | None = None

    def __post_init__(self) -> None:
        one_of("method", self.method, "shares", "majority")
        fits = len(self.strides) == len(set(self.strides)) >= 1 and min(self.strides) >= 1 and max(self.strides) <= 65536
        require(fits, "strides", self.strides, "a list of whole numbers, each once, 1 to 65536, as [32,16,8,4]")
        if self.splits is not None:
            require(len(self.splits) == len(set(self.splits)) >= 1, "splits", self.splits, "a list of names, each once, as [train,val]")
        require(self.workers >= 0, "workers", self.workers, "0 or more")


@dataclass
class EvaluateConfig(CommandConfig):
    checkpoint: str = REQUIRED
    data: DataConfig | None = None  # null: the data set that the checkpoint was trained on
    split: str | None = None  # null: the data set's validation split
    inference: InferenceConfig = REQUIRED
    submission: bool = False  # also write the archive that the Pascal VOC server takes
    workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.workers >= 0, "workers", self.workers, "0 or more")


@dataclass
class PredictConfig(CommandConfig):
    checkpoint: str = REQUIRED
    input: str = REQUIRED  # an image, a folder or a glob
    inference: InferenceConfig = REQUIRED
    alpha: float = 0.5  # opacity of the labels in the overlay
    confidence: bool = False  # also write the probability of each pixel's label, a gray PNG, 255 for 1
    resume: str | None = None  # the output folder of a run that was cut: what is finished there is not done again

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.alpha <= 1, "alpha", self.alpha, "0 to 1")
        if self.resume is not None and self.output is not None:
            raise ValueError("both resume and output are given; a resumed run goes on in its own folder, so leave out output")


@dataclass
class BenchmarkConfig(CommandConfig):
    model: ModelConfig = REQUIRED  # whose strategies are compared
    backbone: BackboneConfig = REQUIRED
    upsample: UpsampleConfig = REQUIRED
    networks: list[str] = REQUIRED  # classifiers of torchvision; NAME_valid: without padding
    size: int = REQUIRED  # side of the image, pixels
    strides: list[int] = REQUIRED  # pixels between windows
    dense_size: int | None = None  # side of an image on which windows stand 1 pixel apart as well
    windows: int = REQUIRED  # that are timed, for all
    strategies: list[str] = REQUIRED  # that are compared
    image_sizes: list[int] = REQUIRED  # sides of the images on which the strategies are compared
    window: int = REQUIRED  # side of the blended windows
    labelmap_size: int | None = None  # side of the label map
    boundary: float = REQUIRED  # share of its cells that lie at boundaries
    turns: int = REQUIRED  # measurements of each time

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("size", "windows", "window", "turns"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "1 or more")
        for key in ("strides", "image_sizes"):
            require(min(getattr(self, key), default=1) >= 1, key, getattr(self, key), "a list of numbers, 1 or more")
        for name in self.strategies:
            one_of("strategies", name, "whole", "stream", "windows")
        fits = self.labelmap_size is None or (self.labelmap_size >= 32 and self.labelmap_size % 8 == 0)
        require(fits, "labelmap_size", self.labelmap_size, "a multiple of 8 from 32 on, or null")
        require(0 < self.boundary < 1, "boundary", self.boundary, "a share between 0 and 1")


@dataclass
class InspectConfig:
    model: ModelConfig | None = None  # null: the backbone alone
    backbone: BackboneConfig | None = None
    upsample: UpsampleConfig | None = None
    classifier: str | None = None  # compact, torchvision/NAME or timm/NAME
    layers: str | None = None  # layers in words, see geometry/notation.py
    num_classes: int | None = None  # that the model tells apart
    input_size: Any = None  # pixels: one number, or [height, width]
    ignore_global: bool = False  # go on as if layers that see the whole image were not there
    pool_as_window: bool = False  # read a pool over all cells as a window
    all: bool = False  # a row for every operation
    depth: int | None = None  # fold what lies deeper than so many names
    format: str = "table"
    picture: bool = True  # draw the fields of the centre cell
    image: str | None = None  # the photograph to draw them on
    output: str | None = None

    def __post_init__(self) -> None:
        one_of("format", self.format, "table", "markdown", "csv", "json")
        sizes = self.input_size if isinstance(self.input_size, list) else [self.input_size] * 2
        fits = self.input_size is None or (len(sizes) == 2 and whole_numbers(sizes) and min(sizes) >= 1)
        require(fits, "input_size", self.input_size, "a whole number of pixels, 1 or more, or two of them, as [480,640]")
        require(self.num_classes is None or self.num_classes >= 2, "num_classes", self.num_classes, "2 or more")
        require(self.depth is None or self.depth >= 1, "depth", self.depth, "1 or more, or null")
        parts = {"model": self.model, "backbone": self.backbone, "upsample": self.upsample}
        chosen = [f"{name}={part.name}" for name, part in parts.items() if part is not None]
        whole = [f"{key}={getattr(self, key)}" for key in ("classifier", "layers") if getattr(self, key) is not None]
        if len(whole) == 2 or (whole and chosen):
            second = (whole[1:] + chosen)[0]
            raise ValueError(f"{whole[0]} and {second} both say what to inspect; give classifier=, layers= or the parts of a model")
        lonely = [] if self.upsample is None else [f"upsample={self.upsample.name}"]
        lonely += [] if self.num_classes is None else [f"num_classes={self.num_classes}"]
        if self.model is None and lonely:
            raise ValueError(f"{lonely[0]} belongs to a model, and none is chosen; give model= as well, as model=fcn8s")
        if self.layers is not None:
            for key in ("ignore_global", "pool_as_window", "all", "depth"):
                if getattr(self, key):
                    raise ValueError(f"{key} means nothing to layers=, of which each has its row and none is global; leave it out")
        if self.all and self.depth is not None:
            raise ValueError("all=true gives every operation a row, and depth folds them; give one of the two")
        if self.image is not None and not self.picture:
            raise ValueError("image is for the picture, and picture=false asks for none; leave one of them out")
