"""The settings of ``fcn inspect``."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from fcn.core.errors import SettingError, UserError
from fcn.core.images import MOST
from fcn.core.settings import at_least, between, choice
from fcn.tools.schema import Checked, PartConfig


@dataclass
class InspectConfig(Checked):
    """``fcn inspect``.

    classifier: classifier to inspect instead of model= and backbone=: compact, torchvision/NAME or timm/NAME
    checkpoint: file of a model to inspect instead of model= and backbone=
    network: network of your own, instead of model= and backbone=, as my_module:build (a module, or a function that makes one)
    layers: layers in words, instead of model= and backbone=, as 'conv3 s2 p1, pool2 s2, conv3 d2'
    num_classes: number of classes of model=; null: 21
    channels: number of channels of the images of model= or backbone=; null: 3
    input_size: size of the image, one number or [height,width] (pixels); null: the classifier's training size, else 224
    ignore_global: compute receptive fields without the layers that see the whole image
    pool_as_window: read a global pool as a window of the size that it has at this input size
    all: print a row for every operation
    depth: number of names in a row's path; deeper layers are folded into one row. layer1.0.conv1 has three
    format: format of the table
    picture: draw the theoretical and the effective receptive field of the centre cell
    image: photograph to draw the fields on, read as it is stored with channels=; null: a drawn picture
    output: folder to write the picture to; null: a dated one under outputs/
    plugins: your own modules that register parts, as [my_parts]
    """

    SUMMARY: ClassVar[str] = "prints a network's layers: sizes, receptive fields, parameters, multiply-adds"
    EXAMPLES: ClassVar[str] = """fcn inspect                                           the small classifier of the project, as a backbone
fcn inspect model=fcn8s backbone=vgg16                a whole segmentation network
fcn inspect backbone=resnet50 depth=2 ignore_global=true
fcn inspect classifier=torchvision/googlenet pool_as_window=true image=photo.jpg
fcn inspect network=my_module:build                   a network of your own, and how much overlap its tiles need
fcn inspect layers='conv3 s2 p1, pool2 s2, conv3 d2'  layers in words: kind and size, s stride, p padding, d dilation, c channels
fcn inspect backbone=vgg16 format=csv picture=false > vgg16.csv"""

    model: PartConfig | None = None  # null: the backbone alone
    backbone: PartConfig | None = None
    upsample: PartConfig | None = None
    classifier: str | None = None
    checkpoint: str | None = None
    network: str | None = None
    layers: str | None = None
    num_classes: Annotated[int | None, at_least(2)] = None
    channels: Annotated[int | None, between(1, MOST)] = None
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
        keys = ["classifier", "network" if self.checkpoint is None else "checkpoint", "layers"]  # a checkpoint may need the network's code
        whole = [f"{key}={getattr(self, key)}" for key in keys if getattr(self, key) is not None]
        if len(whole) > 1 or (whole and chosen):
            second = (whole[1:] + chosen)[0]
            raise UserError(
                f"{whole[0]} and {second} both say what to inspect; "
                f"give classifier=, checkpoint=, network=, layers= or the parts of a model"
            )
        lonely = [] if self.upsample is None else [f"upsample={self.upsample.name}"]
        lonely += [] if self.num_classes is None else [f"num_classes={self.num_classes}"]
        if self.model is None and lonely:
            raise UserError(f"{lonely[0]} belongs to a model, and none is chosen; give model= as well, as model=fcn8s")
        if whole and self.channels is not None:
            raise UserError(f"channels={self.channels} is for model= and backbone=, and {whole[0]} says itself what it takes: leave it out")
        if self.layers is not None:
            for key in ("ignore_global", "pool_as_window", "all", "depth"):
                if getattr(self, key):
                    raise UserError(f"{key} cannot be used with layers=; remove it")
        if self.all and self.depth is not None:
            raise UserError("all=true prints every operation, and depth folds them; give one of the two")
        if self.image is not None and not self.picture:
            raise UserError("image needs the picture, and picture=false turns it off; leave one of them out")


def all_whole(values: list[Any]) -> bool:
    return all(type(value) is int for value in values)  # a bool is no number of pixels
