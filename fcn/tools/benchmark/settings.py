"""The settings of ``fcn benchmark``."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fcn.core.errors import UserError
from fcn.core.settings import at_least, inside, items, multiple, one_of
from fcn.tools.schema import PartConfig
from fcn.tools.settings import PRECISIONS, CommandConfig


@dataclass
class BenchmarkConfig(CommandConfig):
    """``fcn benchmark``.

    checkpoint: file of a model whose strategies are compared, instead of model= and backbone= with random weights
    network: network of your own whose strategies are compared, as my_module:build; with checkpoint=, the code of its network
    networks: classifiers of torchvision; NAME_valid: without padding, so that windows and the unrolled network agree
    size: side of the image (pixels)
    strides: steps from one window to the next (pixels)
    dense_size: side of an image that is also covered with a window at every pixel, as 256; null: skip this
    windows: number of windows that are timed; the time of all is scaled up from it
    strategies: inference strategies to compare: whole, stream, auto, windows
    image_sizes: sides of the images on which the strategies are compared (pixels)
    image: picture file that these images show, cut or continued in mirrors to each size; null: noise
    window: side of the blended windows (pixels)
    labelmap_size: side of the label map (pixels), a multiple of 8 from 32 on; null: skip this
    boundary: share of the label map's cells at region boundaries
    turns: number of repeats of each measurement
    """

    SUMMARY: ClassVar[str] = "compares sliding windows with the unrolled network, and the strategies for large images: cost and agreement"
    EXAMPLES: ClassVar[str] = """fcn benchmark                                         a quick one, on any machine
fcn benchmark networks=[vgg16,vgg16_valid,resnet50] size=1024 strides=[32,16,8] dense_size=256 windows=32
fcn benchmark networks=[] image_sizes=[512,1024,2048,4096] window=1024 model=fcn8s backbone=mobilenet_v2
fcn benchmark networks=[] checkpoint=net.pt network=my_module:build   a network of your own
fcn benchmark networks=[] checkpoint=best.pt image=street.jpg         on what your network was trained for
fcn benchmark device=cuda precision=bf16"""

    model: PartConfig | None = None  # whose strategies are compared; null: that of fcn train
    backbone: PartConfig | None = None
    upsample: PartConfig | None = None
    checkpoint: str | None = None
    network: str | None = None
    networks: list[str] = field(default_factory=lambda: ["vgg16_valid", "vgg16"])
    size: Annotated[int, at_least(1)] = 512
    strides: Annotated[list[int], items(at_least(1), least=0)] = field(default_factory=lambda: [32, 8])
    dense_size: Annotated[int | None, at_least(1)] = None
    windows: Annotated[int, at_least(1)] = 8
    strategies: Annotated[list[str], items(one_of("whole", "stream", "auto", "windows"), least=0)] = field(
        default_factory=lambda: ["whole", "stream", "windows"]
    )
    image_sizes: Annotated[list[int], items(at_least(1), least=0)] = field(default_factory=lambda: [512, 1024])
    image: str | None = None
    window: Annotated[int, at_least(1)] = 512
    labelmap_size: Annotated[int | None, multiple(8, 32)] = 2048
    boundary: Annotated[float, inside(0, 1)] = 0.3
    turns: Annotated[int, at_least(1)] = 3
    precision: Annotated[str, PRECISIONS] = "fp32"

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = {"model": self.model, "backbone": self.backbone, "upsample": self.upsample}
        chosen = [f"{name}={part.name}" for name, part in parts.items() if part is not None]
        given = f"checkpoint={self.checkpoint}" if self.checkpoint is not None else f"network={self.network}"
        if (self.checkpoint, self.network) != (None, None) and chosen:
            raise UserError(f"{given} and {chosen[0]} both say which network to measure; leave one of them out")
