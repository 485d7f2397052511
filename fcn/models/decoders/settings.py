"""Settings that several decoders have, written once. Imports nothing that is slow: the command line's help reads it."""

from typing import Annotated, Literal

from fcn.core.settings import Help, at_least, one_of, share

Stride = Annotated[
    int | None,
    one_of(1, 2, 4, 8, 16, 32),
    Help("stride of the decoder's output (pixels per cell); null: 1 with an up-sampler that has weights, else the decoder's own"),
]
Align = Annotated[bool, Help("move maps that meet onto one grid, by the known offsets of the backbone's cells")]
Resize = Annotated[
    Literal["factor", "size"] | None,
    Help("last step to the image; factor: a whole factor, then a crop; size: to the image's size; null: factor, or what the weights need"),
]
Dropout = Annotated[float, share(), Help("probability of dropout before the scores")]
Rates = Annotated[
    list[int] | None,
    Help("dilations of the atrous pyramid (cells); null: 6, 12, 18 at an output stride of 16, and the same pixels at another"),
]
Separable = Annotated[bool, Help("depthwise and pointwise convolutions instead of full ones")]
ImagePooling = Annotated[bool, Help("a branch of the pyramid that sees the whole image")]
Width = Annotated[int, at_least(1), Help("channels inside the decoder")]
