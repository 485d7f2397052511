"""Settings that several decoders have, written once. Imports nothing that is slow: the command line's help reads it."""

from typing import Annotated, Literal

from fcn.core.settings import Help, at_least, one_of, share

Stride = Annotated[
    int | None,
    one_of(1, 2, 4, 8, 16, 32),
    Help("stride of the decoder's output (pixels per cell); null: 1 with a learned up-sampler, else the decoder's own"),
]
Align = Annotated[bool, Help("move feature maps onto one grid before they are joined, by the known offsets of the backbone's cells")]
Resize = Annotated[
    Literal["factor", "size"] | None,
    Help("last interpolation; factor: by a whole factor, then cropped; size: to the image's size; null: factor, or as the weights need it"),
]
Dropout = Annotated[float, share(), Help("probability of dropout before the scores")]
Rates = Annotated[
    list[int] | None,
    Help("dilations of the atrous pyramid (cells); null: 6, 12, 18 at output stride 16, and the same in pixels at other strides"),
]
Separable = Annotated[bool, Help("use depthwise separable convolutions")]
ImagePooling = Annotated[bool, Help("add a branch to the pyramid that sees the whole image")]
Width = Annotated[int, at_least(1), Help("channels inside the decoder")]
