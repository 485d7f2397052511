"""The schema of every command: what can be set, of which type, within which range.

The command line composes ``conf/*.yaml`` into these classes; Python code may fill them by hand. A value out of range is refused when the
object is made (ValueError: the key, what was given, what is allowed). A field without a default is filled by a file under ``conf/``.
"""

from dataclasses import dataclass, field
from typing import Any

from fcn.names import suggest

REQUIRED: Any = "???"  # Hydra's mark for "must be given"


def require(condition: bool, key: str, given: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{key}={given} is not allowed; {key} is {allowed}")


def one_of(key: str, given: str, *words: str) -> None:
    if given not in words:
        raise ValueError(f"{key}={given} is not known; {suggest(given, words)}")


def whole_numbers(values: list[Any]) -> bool:
    return all(type(value) is int for value in values)  # a bool is no number of pixels


# --- parts of a model; beside `name`, the fields are the keyword parameters of the part's function ---


@dataclass
class ModelConfig:
    name: str = REQUIRED
    weights: str | None = None  # of the whole network; null: random; torchvision: downloaded; or the file of a checkpoint or a state dict
    aux: bool = False  # an auxiliary head for the training
    aux_weight: float = 0.5  # of its loss
    aux_level: int | None = None  # the feature that it stands on, -1 the deepest; null: -2, or what the weights were trained with

    def __post_init__(self) -> None:
        require(self.aux_weight > 0, "model.aux_weight", self.aux_weight, "above 0")
        require(self.aux_level is None or self.aux_level < 0, "model.aux_level", self.aux_level, "a number below 0, or null")
        if not self.aux and (self.aux_weight, self.aux_level) != (0.5, None):
            raise ValueError("model.aux_weight and model.aux_level belong to the auxiliary head, which is off; add model.aux=true")


@dataclass
class ScoresConfig(ModelConfig):
    stride: int | None = None  # of the scores that the decoder hands over; null: 1, or their own where the up-sampler has no weights

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.stride in (None, 1, 2, 4, 8, 16, 32), "model.stride", self.stride, "1, 2, 4, 8, 16, 32 or null")


@dataclass
class FCNConfig(ScoresConfig):
    align: bool = False  # bring maps that meet onto one grid, by the known offsets of the backbone's cells


@dataclass
class PlainFCNConfig(ScoresConfig):
    channels: int | None = None  # inside the head; null: a quarter of the feature's
    dropout: float = 0.1
    resize: str | None = None  # the last step: factor, or size; null: factor, or what the weights were trained with

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.channels is None or self.channels >= 1, "model.channels", self.channels, "1 or more, or null")
        check_dropout(self.dropout)
        check_resize(self.resize)


@dataclass
class PyramidConfig(ScoresConfig):
    rates: list[int] | None = None  # dilations, in cells; null: 6, 12, 18 at an output stride of 16, and the same pixels at another
    separable: bool = REQUIRED  # depthwise and pointwise convolutions instead of full ones
    image_pooling: bool = True
    channels: int = 256
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rates is None or min(self.rates, default=0) >= 1, "model.rates", self.rates, "a list of numbers from 1 up, or null")
        require(self.channels >= 1, "model.channels", self.channels, "1 or more")
        check_dropout(self.dropout)


@dataclass
class DeepLabV3Config(PyramidConfig):
    resize: str | None = None  # the last step: factor, or size; null: factor, or what the weights were trained with

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resize(self.resize)


@dataclass
class DeepLabV3PlusConfig(PyramidConfig):
    low_channels: int = 48  # made of the feature at 4 pixels a cell
    align: bool = False  # bring maps that meet onto one grid, by the known offsets of the backbone's cells

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.low_channels >= 1, "model.low_channels", self.low_channels, "1 or more")


@dataclass
class UNetConfig(ScoresConfig):
    channels: list[int] | None = None  # of each step up, deep to shallow; null: 256, 128, 64, 32, ...
    dropout: float = 0.0  # before the scores
    align: bool = False  # bring maps that meet onto one grid, by the known offsets of the backbone's cells

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.channels is None or min(self.channels, default=0) >= 1
        require(fits, "model.channels", self.channels, "a list of numbers from 1 up, or null")
        check_dropout(self.dropout)


@dataclass
class LRASPPConfig(ScoresConfig):
    channels: int = 128
    align: bool = False  # bring maps that meet onto one grid, by the known offsets of the backbone's cells
    resize: str | None = None  # the last step: factor, or size; null: factor, or what the weights were trained with

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.channels >= 1, "model.channels", self.channels, "1 or more")
        check_resize(self.resize)


@dataclass
class SMPConfig(ModelConfig):
    arch: str = "Unet"  # an architecture of segmentation-models-pytorch


def check_dropout(dropout: float) -> None:
    require(0 <= dropout < 1, "model.dropout", dropout, "a probability, 0 or more and below 1")


def check_resize(resize: str | None) -> None:
    if resize is not None:
        one_of("model.resize", resize, "factor", "size")


@dataclass
class BackboneConfig:
    name: str = REQUIRED
    weights: str | None = None  # null: random; imagenet: downloaded; or the file of a state dict
    output_stride: int | None = None  # of the deepest feature, by dilation; null: the network's own
    dilate_first: bool | None = None  # dilate what loses its stride as well; null: no, or what the model's weights were trained with

    def __post_init__(self) -> None:
        fits = self.output_stride in (None, 1, 2, 4, 8, 16, 32)
        require(fits, "backbone.output_stride", self.output_stride, "1, 2, 4, 8, 16, 32 or null")


@dataclass
class ClassifierConfig(BackboneConfig):
    taps: str | None = None  # which block of each stage is handed out, last or first; null: last, or what the model's weights need

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.taps is not None:
            one_of("backbone.taps", self.taps, "last", "first")


@dataclass
class VGGConfig(BackboneConfig):
    classifier: bool | None = None  # keep fc6 and fc7, as convolutions; null: yes, where the model's encoder has them


@dataclass
class UpsampleConfig:
    name: str = REQUIRED


@dataclass
class BilinearConfig(UpsampleConfig):
    conv: bool = False  # a 3x3 convolution after the interpolation


@dataclass
class ConvolvedConfig(UpsampleConfig):
    kernel_size: int = 3  # of the convolution, odd

    def __post_init__(self) -> None:
        require(self.kernel_size >= 1 and self.kernel_size % 2 == 1, "upsample.kernel_size", self.kernel_size, "an odd number, 1 or more")


@dataclass
class CarafeConfig(UpsampleConfig):
    channels: int | None = None  # that the weights are predicted from; null: 64, or as many as come in

    def __post_init__(self) -> None:
        require(self.channels is None or self.channels >= 1, "upsample.channels", self.channels, "1 or more, or null")


# --- data ---


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


# --- training ---


@dataclass
class AugmentConfig:
    crop_size: int = REQUIRED  # side of the crop, pixels
    scale: list[float] = REQUIRED  # smallest and largest factor of the scale jitter
    flip: float = 0.5  # probability
    brightness: float = REQUIRED  # largest relative change; the same for the next two
    contrast: float = REQUIRED
    saturation: float = REQUIRED
    hue: float = 0.0  # largest turn, as a share of the circle

    def __post_init__(self) -> None:
        require(self.crop_size >= 1, "augment.crop_size", self.crop_size, "1 or more")
        pair = len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] <= 16
        require(pair, "augment.scale", self.scale, "two factors above 0 and up to 16, the smaller first, as [0.5,2.0]")
        require(0 <= self.flip <= 1, "augment.flip", self.flip, "a probability, 0 to 1")
        for key in ("brightness", "contrast", "saturation"):
            require(0 <= getattr(self, key) <= 1, f"augment.{key}", getattr(self, key), "0 to 1")
        require(0 <= self.hue <= 0.5, "augment.hue", self.hue, "0 to 0.5")


@dataclass
class LossConfig:
    """The loss is the sum of these terms, each times its weight."""

    cross_entropy: float = 1.0
    ohem: float = 0.0
    dice: float = 0.0
    focal: float = 0.0
    lovasz: float = 0.0
    class_weights: list[float] | None = None  # of the cross entropy, one per class
    ohem_threshold: float = 0.7  # pixels whose true class has a probability above this are left out
    ohem_keep: float = 0.0625  # but at least this share of the pixels is kept

    def __post_init__(self) -> None:
        terms = {term: getattr(self, term) for term in ("cross_entropy", "ohem", "dice", "focal", "lovasz")}
        for key, value in terms.items():
            require(value >= 0, f"loss.{key}", value, "0 or more")
        if not any(terms.values()):
            raise ValueError(f"every term of the loss is 0; give at least one of {', '.join(terms)} a weight, as loss.cross_entropy=1")
        require(0 < self.ohem_threshold <= 1, "loss.ohem_threshold", self.ohem_threshold, "a probability above 0, up to 1")
        require(0 < self.ohem_keep <= 1, "loss.ohem_keep", self.ohem_keep, "a share above 0, up to 1")
        if not self.ohem and (self.ohem_threshold, self.ohem_keep) != (0.7, 0.0625):
            raise ValueError("loss.ohem_threshold and loss.ohem_keep belong to loss.ohem, which is 0; give it a weight, as loss.ohem=1")
        if self.class_weights is not None:
            positive = min(self.class_weights, default=0) >= 0 and sum(self.class_weights) > 0
            require(positive, "loss.class_weights", self.class_weights, "a list of numbers, 0 or more, not all 0")
            if not (self.cross_entropy or self.ohem):
                raise ValueError(
                    "loss.class_weights belongs to cross_entropy and ohem, which are both 0; give one of them a weight, or no class weights"
                )


@dataclass
class OptimConfig:
    name: str = REQUIRED
    lr: float = REQUIRED  # at its peak, of the backbone
    head_lr_factor: float = 1.0  # the decoder's rate is this times the backbone's
    weight_decay: float = REQUIRED  # not on biases and norms

    def __post_init__(self) -> None:
        require(self.lr > 0, "optim.lr", self.lr, "above 0")
        require(self.head_lr_factor > 0, "optim.head_lr_factor", self.head_lr_factor, "above 0")
        require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")


@dataclass
class SGDConfig(OptimConfig):
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.momentum < 1, "optim.momentum", self.momentum, "0 or more and below 1")
        require(self.momentum > 0 or not self.nesterov, "optim.momentum", self.momentum, "above 0 with optim.nesterov=true")


@dataclass
class AdamWConfig(OptimConfig):
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])

    def __post_init__(self) -> None:
        super().__post_init__()
        pair = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(pair, "optim.betas", self.betas, "two numbers, 0 or more and below 1, as [0.9,0.999]")


@dataclass
class ScheduleConfig:
    name: str = REQUIRED
    warmup: float = 0.0  # share of the training in which the rate rises linearly from zero

    def __post_init__(self) -> None:
        require(0 <= self.warmup < 1, "schedule.warmup", self.warmup, "a share, 0 or more and below 1")


@dataclass
class PolyConfig(ScheduleConfig):
    power: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.power > 0, "schedule.power", self.power, "above 0")


@dataclass
class InferenceConfig:
    name: str = REQUIRED
    flip: bool = False  # also the mirrored image; probabilities are averaged
    scales: list[float] = field(default_factory=lambda: [1.0])  # factors of the image's size, averaged likewise

    def __post_init__(self) -> None:
        fits = bool(self.scales) and all(0 < scale <= 16 for scale in self.scales)
        require(fits, "inference.scales", self.scales, "a list of factors above 0 and up to 16, as [0.75,1,1.25]")


@dataclass
class WindowsConfig(InferenceConfig):
    size: int = 512  # side of the window, pixels
    overlap: float = 0.5  # of neighbouring windows, as a share of the side
    batch_size: int = 1  # windows per pass
    weights: str = "gaussian"  # in the blend: gaussian or constant

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size >= 1, "inference.size", self.size, "1 or more")
        require(0 <= self.overlap < 1, "inference.overlap", self.overlap, "a share, 0 or more and below 1")
        require(self.batch_size >= 1, "inference.batch_size", self.batch_size, "1 or more")
        one_of("inference.weights", self.weights, "gaussian", "constant")


# --- commands ---


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
        require(self.save_seconds >= 0, "save_seconds", self.save_seconds, "0 or more")
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
        fits = len(self.strides) == len(set(self.strides)) >= 1 and min(self.strides) >= 1
        require(fits, "strides", self.strides, "a list of whole numbers, each once, 1 or more, as [32,16,8,4]")
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

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.alpha <= 1, "alpha", self.alpha, "0 to 1")


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
    image_sizes: list[int] = REQUIRED  # sides of the images on which the strategies are compared
    window: int = REQUIRED  # side of the blended windows
    labelmap_size: int | None = None  # side of the label map
    boundary: float = REQUIRED  # share of its cells that lie at boundaries
    turns: int = REQUIRED  # measurements of each time
    memory: bool = True  # measure the peak memory of each way too

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("size", "windows", "window", "turns"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "1 or more")
        for key in ("strides", "image_sizes"):
            require(min(getattr(self, key), default=1) >= 1, key, getattr(self, key), "a list of numbers, 1 or more")
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


# The schemas of the groups' files: group -> name of the schema in a file's defaults list -> class.
SCHEMAS: dict[str, dict[str, type]] = {
    "model": {
        "fcn": FCNConfig,
        "plain_fcn": PlainFCNConfig,
        "deeplabv3": DeepLabV3Config,
        "deeplabv3plus": DeepLabV3PlusConfig,
        "unet": UNetConfig,
        "lraspp": LRASPPConfig,
        "smp": SMPConfig,
    },
    "backbone": {"plain": BackboneConfig, "classifier": ClassifierConfig, "vgg": VGGConfig},
    "upsample": {"plain": UpsampleConfig, "bilinear": BilinearConfig, "convolved": ConvolvedConfig, "carafe": CarafeConfig},
    "data": {"shapes": ShapesConfig, "files": FilesConfig, "download": DownloadConfig, "folder": FolderConfig},
    "optim": {"sgd": SGDConfig, "adamw": AdamWConfig},
    "schedule": {"plain": ScheduleConfig, "poly": PolyConfig},
    "inference": {"plain": InferenceConfig, "windows": WindowsConfig},
}

COMMANDS: dict[str, type] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "inspect": InspectConfig,
    "benchmark": BenchmarkConfig,
    "compare": CompareConfig,
    "ceiling": CeilingConfig,
}
