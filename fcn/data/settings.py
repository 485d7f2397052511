"""Settings that several data sets have, written once. Imports nothing that is slow: the command line's help reads it."""

from os import PathLike
from typing import Annotated

from fcn.core.settings import Help

Root = Annotated[str | PathLike[str], Help("folder that holds the data set")]
Download = Annotated[bool, Help("download missing files (VOC 2012: 2 GB, SBD: 1.4 GB)")]
