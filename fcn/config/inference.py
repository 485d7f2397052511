"""The ways to take an image through a network; the fields are the keyword parameters of the strategy."""

from dataclasses import dataclass, field

from fcn.config.checks import REQUIRED, one_of, require


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
