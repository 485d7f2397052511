"""The parts of a model. Beside ``name`` and ``weights``, the fields are the keyword parameters of the part's function."""

from dataclasses import dataclass

from fcn.config.checks import REQUIRED, one_of, require


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
