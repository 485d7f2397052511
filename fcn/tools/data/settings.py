"""The settings of ``fcn data``."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fcn.core.settings import REQUIRED, at_least, between, items
from fcn.tools.schema import Checked, PartConfig


@dataclass
class DataCommandConfig(Checked):
    """``fcn data``.

    splits: splits to look at, the training split first, as [train,val,test]; null: the two that fcn train uses
    samples: samples to look at in each split; 0: all
    strides: output strides whose ceilings are measured (pixels)
    pictures: samples on the sheet
    output: folder to write to, new or empty; null: a dated one under outputs/
    plugins: your own modules that register parts, as [my_parts]
    """

    SUMMARY: ClassVar[str] = "looks at a data set before a training: classes, void, sizes, duplicates, and what may go wrong"
    EXAMPLES: ClassVar[str] = """fcn data data=folder data.root=DIR
fcn data data=folder data.root=DIR data.values='{0: background, 255: thing}'
fcn data data=camvid data.root=DIR splits=[train,val,test] samples=0"""

    data: PartConfig = REQUIRED
    splits: Annotated[list[str] | None, items(distinct=True, example="[train,val]")] = None
    samples: Annotated[int, at_least(0)] = 500
    strides: Annotated[list[int], items(between(1, 65536), distinct=True, example="[32,16,8,4]")] = field(
        default_factory=lambda: [32, 16, 8, 4]
    )
    pictures: Annotated[int, between(1, 100)] = 6
    output: str | None = None
    plugins: list[str] = field(default_factory=list)
