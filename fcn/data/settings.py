"""Settings that several data sets have, written once. Imports nothing that is slow: the command line's help reads it."""

from os import PathLike
from typing import Annotated, Literal

from fcn.core.settings import Help, inside

Root = Annotated[str | PathLike[str], Help("folder that holds the data set")]
Download = Annotated[bool, Help("download missing files (VOC 2012: 2 GB, SBD: 1.4 GB)")]

# Of a folder of the user's own.
ValFraction = Annotated[float, inside(0, 1), Help("share of the images for validation if the folder has no split lists; null: 0.2")]
ClassFile = Annotated[
    str, Help("file in the folder with the class names; null: classes.txt, or the list of the tool that the folder is from")
]
Values = Annotated[
    dict[int, str], Help("class of each value in the masks, by name or index, as {0: background, 255: thing}; void: not counted")
]
ReduceZeroLabel = Annotated[bool, Help("value 0 is void, and the classes begin at value 1 (as in ADE20K)")]
Unknown = Annotated[Literal["error", "void"], Help("meaning of a value or colour that no class has; void: not counted")]
ImagePattern = Annotated[str, Help("file names of the images, as {}_leftImg8bit.png; {} is the sample's name")]
MaskPattern = Annotated[str, Help("file names of the masks, as {}_mask.png; with folders, as masks/{split}/{}.png")]
