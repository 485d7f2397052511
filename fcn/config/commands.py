"""One class per command: all that can be set, with its default, its range and its help line."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from fcn.config.parts import LossConfig, PartConfig
from fcn.core.errors import SettingError, UserError
from fcn.core.names import suggest
from fcn.core.settings import REQUIRED, above, at_least, between, choice, inside, interval, items, multiple, one_of, settings_of

AUTO_DEVICE = choice("auto", "cpu", "cuda", "mps")
PRECISIONS = choice("auto", "fp32", "bf16", "fp16")


@dataclass
class Checked:
    """Settings that are checked when they are made. ``SECTION`` stands before their names on the command line."""

    SECTION: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for setting in settings_of(type(self)):
            value = getattr(self, setting.name)
            if value != REQUIRED:
                setting.check(value, key=f"{self.SECTION}{setting.name}")


@dataclass
class CommandConfig(Checked):
    """
    output: folder to write to, new or empty; null: a dated one under outputs/
    device: where the network runs
    precision: number format of the network; auto: bf16 where the hardware computes in it
    channels_last: memory layout of images and features
    plugins: modules of yours that register parts, as [my_parts]
    """

    output: str | None = None
    device: Annotated[str, AUTO_DEVICE] = "auto"
    precision: Annotated[str, PRECISIONS] = "auto"
    channels_last: bool = True
    plugins: list[str] = field(default_factory=list)


@dataclass
class AugmentConfig(Checked):
    """
    crop_size: side of the training crops (pixels)
    scale: smallest and largest factor of the scale jitter
    flip: probability of a mirrored sample
    brightness: largest relative change of brightness
    contrast: largest relative change of contrast
    saturation: largest relative change of saturation
    hue: largest turn of the hue, as a share of the circle
    """

    SECTION: ClassVar[str] = "augment."

    crop_size: Annotated[int, at_least(1)] = REQUIRED
    scale: Annotated[list[float], items(interval(0, 16), count=2, example="[0.5,2.0]")] = REQUIRED
    flip: Annotated[float, between(0, 1)] = 0.5
    brightness: Annotated[float, between(0, 1)] = REQUIRED
    contrast: Annotated[float, between(0, 1)] = REQUIRED
    saturation: Annotated[float, between(0, 1)] = REQUIRED
    hue: Annotated[float, between(0, 0.5)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale != REQUIRED and self.scale[0] > self.scale[1]:
            raise SettingError(f"augment.scale={self.scale} is not allowed; give the smaller factor first, as [0.5,2.0]", name="scale")


@dataclass
class TrainingConfig(CommandConfig):
    """What every training is told, by itself or as one of those that are compared.

    epochs: passes over the training split
    batch_size: samples per step and process
    accumulate: batches per optimizer step
    clip_norm: largest norm of the gradient; null: no limit
    ema: decay of a moving average of the weights, as 0.999, which is then what is scored and kept; null: none
    workers: processes that read and augment; 0: none beside the training itself
    validate_every: epochs between validations
    save_seconds: time between checkpoints within an epoch (seconds)
    resume: output folder of an interrupted run
    """

    model: PartConfig = REQUIRED
    backbone: PartConfig = REQUIRED
    data: PartConfig = REQUIRED
    augment: AugmentConfig = REQUIRED
    loss: LossConfig = REQUIRED
    optim: PartConfig = REQUIRED
    schedule: PartConfig = REQUIRED
    inference: PartConfig = REQUIRED  # of the validation
    epochs: Annotated[int, at_least(1)] = REQUIRED
    batch_size: Annotated[int, at_least(1)] = REQUIRED
    accumulate: Annotated[int, at_least(1)] = 1
    clip_norm: Annotated[float | None, above(0)] = 5.0
    ema: Annotated[float | None, inside(0, 1)] = None
    workers: Annotated[int, at_least(0)] = 2
    validate_every: Annotated[int, at_least(1)] = 1
    save_seconds: Annotated[float, at_least(0)] = 300.0
    resume: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resume(self.resume, self.output)


def check_resume(resume: str | None, output: str | None) -> None:
    if resume is not None and output is not None:
        raise UserError("both resume and output are given; a resumed run goes on in its own folder, so leave out output")


SEEDS = between(0, 2**63 - 1)


@dataclass
class TrainConfig(TrainingConfig):
    """
    seed: number that every random choice follows from
    sync_batchnorm: batch norm over all GPUs
    tensorboard: also write TensorBoard's events
    """

    upsample: PartConfig = REQUIRED
    seed: Annotated[int, SEEDS] = 0
    sync_batchnorm: bool = True
    tensorboard: bool = False


@dataclass
class CompareConfig(TrainingConfig):
    """
    upsample: up-samplers to compare, with their settings at the defaults; null: all
    seeds: seeds that each up-sampler is trained with once
    baseline: up-sampler that the others are set against; null: bilinear where it is compared, else the first
    thin: classes of thin structures; null: wire on shapes, pole on camvid, else none
    quick: a small budget: epochs=1 seeds=[0], and data.train_count=1500 on shapes
    cell: only this training of the comparison in resume, as nearest-1, for spreading them by hand
    """

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
                raise UserError(f"cell={given} is a part of a comparison that has begun; give its folder too, as resume=DIR")
            if given is not None and given not in words:
                raise SettingError(f"{key}={given} is not known; {suggest(given, words)}", name=key)

    @property
    def quick_words(self) -> tuple[str, ...]:
        """What ``quick`` stands for; words of the call itself come after them."""
        return ("epochs=1", "seeds=[0]", *(["data.train_count=1500"] if hasattr(self.data, "train_count") else []))

    @property
    def cells(self) -> list[str]:
        """The names of the trainings, all methods of a seed before the next seed: a comparison that is cut has whole pairs."""
        return [f"{method}-{seed}" for seed in self.seeds for method in self.upsample]


@dataclass
class CeilingConfig(Checked):
    """
    splits: splits to measure, as [train,val,test]; null: the data set's validation split
    strides: output strides of the network (pixels)
    method: what a cell can say; shares: of the classes in it, interpolated as scores are; majority: one class
    workers: processes that read and compute
    output: folder to write to, new or empty; null: a dated one under outputs/
    plugins: modules of yours that register parts, as [my_parts]
    """

    data: PartConfig = REQUIRED
    splits: Annotated[list[str] | None, items(distinct=True, example="[train,val]")] = None
    strides: Annotated[list[int], items(between(1, 65536), distinct=True, example="[32,16,8,4]")] = field(
        default_factory=lambda: [32, 16, 8, 4]
    )
    method: Annotated[str, choice("shares", "majority")] = "shares"
    workers: Annotated[int, at_least(0)] = 2
    output: str | None = None
    plugins: list[str] = field(default_factory=list)


@dataclass
class EvaluateConfig(CommandConfig):
    """
    checkpoint: best.pt or last.pt of a run
    split: split to score; null: the data set's validation split
    submission: also write the archive that the Pascal VOC server takes
    workers: processes that read
    """

    checkpoint: str = REQUIRED
    data: PartConfig | None = None  # null: the data set that the checkpoint was trained on
    split: str | None = None
    inference: PartConfig = REQUIRED
    submission: bool = False
    precision: Annotated[str, PRECISIONS] = "fp32"
    workers: Annotated[int, at_least(0)] = 2


@dataclass
class PredictConfig(CommandConfig):
    """
    checkpoint: best.pt or last.pt of a run
    input: an image, a folder or a glob
    alpha: opacity of the labels in the overlay
    confidence: also write the probability of each pixel's label, a gray PNG, 255 for 1
    resume: output folder of an interrupted run; what is finished there is not done again
    """

    checkpoint: str = REQUIRED
    input: str = REQUIRED
    inference: PartConfig = REQUIRED
    alpha: Annotated[float, between(0, 1)] = 0.5
    confidence: bool = False
    precision: Annotated[str, PRECISIONS] = "fp32"
    resume: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resume(self.resume, self.output)


@dataclass
class BenchmarkConfig(CommandConfig):
    """
    networks: classifiers of torchvision; NAME_valid: without padding, where windows and the unrolled network are equal
    size: side of the image (pixels)
    strides: distances of the windows (pixels)
    dense_size: side of an image on which windows stand 1 pixel apart as well, as 256; null: left out
    windows: number of windows that are timed, for all
    strategies: ways to take an image through the network that are compared: whole, stream, windows
    image_sizes: sides of the images on which the strategies are compared (pixels)
    window: side of the blended windows (pixels)
    labelmap_size: side of the label map (pixels), a multiple of 8 from 32 on; null: left out
    boundary: share of the label map's cells that lie at boundaries
    turns: measurements of each time
    """

    model: PartConfig = REQUIRED  # whose strategies are compared
    backbone: PartConfig = REQUIRED
    upsample: PartConfig = REQUIRED
    networks: list[str] = field(default_factory=lambda: ["vgg16_valid", "vgg16"])
    size: Annotated[int, at_least(1)] = 512
    strides: Annotated[list[int], items(at_least(1), least=0)] = field(default_factory=lambda: [32, 8])
    dense_size: Annotated[int | None, at_least(1)] = None
    windows: Annotated[int, at_least(1)] = 8
    strategies: Annotated[list[str], items(one_of("whole", "stream", "windows"), least=0)] = field(
        default_factory=lambda: ["whole", "stream", "windows"]
    )
    image_sizes: Annotated[list[int], items(at_least(1), least=0)] = field(default_factory=lambda: [512, 1024])
    window: Annotated[int, at_least(1)] = 512
    labelmap_size: Annotated[int | None, multiple(8, 32)] = 2048
    boundary: Annotated[float, inside(0, 1)] = 0.3
    turns: Annotated[int, at_least(1)] = 3
    precision: Annotated[str, PRECISIONS] = "fp32"


@dataclass
class InspectConfig(Checked):
    """
    classifier: network to inspect instead of parts: compact, torchvision/NAME or timm/NAME
    layers: layers in words instead of parts, as 'conv3 s2 p1, pool2 s2, conv3 d2'
    num_classes: number of classes of model=; null: 21
    input_size: size of the image, one number or [height,width] (pixels); null: that of a classifier's training, else 224
    ignore_global: go on as if layers that see the whole image were not there
    pool_as_window: read a pool over all cells as a window of the size that it has at this input
    all: a row for every operation
    depth: one row for all that lies deeper than so many names; layer1.0.conv1 has three
    format: format of the table
    picture: draw the theoretical and the effective field of the centre cell
    image: photograph to draw them on; null: a drawn one
    output: folder to write to; null: a dated one under outputs/, if there is a picture
    plugins: modules of yours that register parts, as [my_parts]
    """

    model: PartConfig | None = None  # null: the backbone alone
    backbone: PartConfig | None = None
    upsample: PartConfig | None = None
    classifier: str | None = None
    layers: str | None = None
    num_classes: Annotated[int | None, at_least(2)] = None
    input_size: Any = None
    ignore_global: bool = False
    pool_as_window: bool = False
    all: bool = False
    depth: Annotated[int | None, at_least(1)] = None
    format: Annotated[str, choice("table", "markdown", "csv", "json")] = "table"
    picture: bool = True
    image: str | None = None
    output: str | None = None
    plugins: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = self.input_size if isinstance(self.input_size, list) else [self.input_size] * 2
        fits = self.input_size is None or (len(sizes) == 2 and all_whole(sizes) and min(sizes) >= 1)
        if not fits:
            raise SettingError(
                f"input_size={self.input_size} is not allowed; input_size is one whole number of pixels from 1 up, or two, as [480,640]",
                name="input_size",
            )
        parts = {"model": self.model, "backbone": self.backbone, "upsample": self.upsample}
        chosen = [f"{name}={part.name}" for name, part in parts.items() if part is not None]
        whole = [f"{key}={getattr(self, key)}" for key in ("classifier", "layers") if getattr(self, key) is not None]
        if len(whole) == 2 or (whole and chosen):
            second = (whole[1:] + chosen)[0]
            raise UserError(f"{whole[0]} and {second} both say what to inspect; give classifier=, layers= or the parts of a model")
        lonely = [] if self.upsample is None else [f"upsample={self.upsample.name}"]
        lonely += [] if self.num_classes is None else [f"num_classes={self.num_classes}"]
        if self.model is None and lonely:
            raise UserError(f"{lonely[0]} belongs to a model, and none is chosen; give model= as well, as model=fcn8s")
        if self.layers is not None:
            for key in ("ignore_global", "pool_as_window", "all", "depth"):
                if getattr(self, key):
                    raise UserError(f"{key} cannot be used with layers=; remove it")
        if self.all and self.depth is not None:
            raise UserError("all=true gives every operation a row, and depth folds them; give one of the two")
        if self.image is not None and not self.picture:
            raise UserError("image is for the picture, and picture=false asks for none; leave one of them out")


def all_whole(values: list[Any]) -> bool:
    return all(type(value) is int for value in values)  # a bool is no number of pixels
