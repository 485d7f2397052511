"""Augmentation, loss, optimizer and schedule."""

from dataclasses import dataclass, field

from fcn.config.checks import REQUIRED, require

LARGEST = 1e9  # weight in a loss: its products with pixels and classes stay finite in float32


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
            require(0 <= value <= LARGEST, f"loss.{key}", value, f"0 or more, up to {LARGEST:g}")
        if not any(terms.values()):
            raise ValueError(f"every term of the loss is 0; give at least one of {', '.join(terms)} a weight, as loss.cross_entropy=1")
        require(0 < self.ohem_threshold <= 1, "loss.ohem_threshold", self.ohem_threshold, "a probability above 0, up to 1")
        require(0 < self.ohem_keep <= 1, "loss.ohem_keep", self.ohem_keep, "a share above 0, up to 1")
        if not self.ohem and (self.ohem_threshold, self.ohem_keep) != (0.7, 0.0625):
            raise ValueError("loss.ohem_threshold and loss.ohem_keep belong to loss.ohem, which is 0; give it a weight, as loss.ohem=1")
        if self.class_weights is not None:
            fit = all(0 <= weight <= LARGEST for weight in self.class_weights) and sum(self.class_weights) > 0
            require(fit, "loss.class_weights", self.class_weights, f"a list of numbers, 0 or more, up to {LARGEST:g}, not all 0")
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
