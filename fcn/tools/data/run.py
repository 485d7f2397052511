"""``fcn data``: a data set looked at before anything is trained on it."""

import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fcn.tools.data.settings import DataCommandConfig
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.parts import load_splits

if TYPE_CHECKING:
    from torch import Tensor

    from fcn.data.split import Split

_MAPS = 50  # label maps that the ceilings are measured on


def run(config: DataCommandConfig) -> int:
    """Print the report and leave it as ``data.json``, ``data.html`` and ``data.png`` in a folder."""
    from fcn.core.files import written
    from fcn.data.pictures import label_sheet
    from fcn.data.split import spread
    from fcn.data.survey import survey
    from fcn.data.visible import visible
    from fcn.tools.ceiling.measure import ceilings
    from fcn.tools.data.report import page, report, text
    from fcn.training.metrics import metrics

    begin = time.monotonic()
    refuse_used(config.output)
    options = config.data.options()
    names = config.splits or list(dict.fromkeys([options["train"], options["val"]]))
    splits = load_splits(asdict(config.data), *names)
    surveys = [survey(split, name, most=config.samples) for split, name in zip(splits, names, strict=True)]
    first = surveys[0]
    maps = spread(first.indices, _MAPS)
    measured = ceilings(_Some(splits[0], maps), config.strides) if maps else {}
    found = report(config.data.name, surveys, {stride: metrics(matrix) for stride, matrix in measured.items()}, len(maps))
    folder = new_folder("data", config.output)
    with written(folder / "data.json") as temporary:
        temporary.write_text(json.dumps(found | {"settings": asdict(config.data)}, indent=1) + "\n")
    sheet = b""
    chosen = spread(first.indices, config.pictures)
    if chosen:
        samples = [splits[0][index] for index in chosen]
        rows = [(visible(image, first.images), labels) for image, labels in samples]
        picture = label_sheet(rows, splits[0].labels, names=[splits[0].names[index] for index in chosen])
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        sheet = buffer.getvalue()
        with written(folder / "data.png") as temporary:
            temporary.write_bytes(sheet)
    with written(folder / "data.html") as temporary:
        temporary.write_text(page(found, sheet), encoding="utf-8")
    print(text(found))
    print(f"\n{config.data.name} {', '.join(names)}, {time.monotonic() - begin:.0f} s; {folder / 'data.html'}")
    return 0


class _Some:
    """Some samples of a split."""

    def __init__(self, split: "Split", indices: Sequence[int]) -> None:
        self.split, self.indices = split, indices
        self.labels = split.labels
        self.names = [split.names[index] for index in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> tuple[Any, Any]:
        return self.split[self.indices[index]]

    def truth(self, index: int, /) -> "Tensor":
        return self.split.truth(self.indices[index])
