"""The settings of ``fcn ceiling``."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fcn.core.settings import REQUIRED, at_least, between, choice, items
from fcn.tools.schema import Checked, PartConfig


@dataclass
class CeilingConfig(Checked):
    """``fcn ceiling``.

    splits: splits to measure, as [train,val,test]; null: the data set's validation split
    strides: output strides of the network (pixels)
    method: content of a cell; shares: the share of each class in it, interpolated like scores; majority: one class
    workers: processes that read and compute
    output: folder to write to, new or empty; null: a dated one under outputs/
    plugins: your own modules that register parts, as [my_parts]
    """

    SUMMARY: ClassVar[str] = "measures how much mIoU an output stride costs on a data set, before anything is trained"
    EXAMPLES: ClassVar[str] = """fcn ceiling data=camvid data.root=DIR splits=[train,val,test]
fcn ceiling data=voc2012 data.root=DIR strides=[32,8] method=majority"""

    data: PartConfig = REQUIRED
    splits: Annotated[list[str] | None, items(distinct=True, example="[train,val]")] = None
    strides: Annotated[list[int], items(between(1, 65536), distinct=True, example="[32,16,8,4]")] = field(
        default_factory=lambda: [32, 16, 8, 4]
    )
    method: Annotated[str, choice("shares", "majority")] = "shares"
    workers: Annotated[int, at_least(0)] = 2
    output: str | None = None
    plugins: list[str] = field(default_factory=list)
