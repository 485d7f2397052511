"""``fcn ceiling``: what the grid of an output stride costs on a data set, before anything is trained."""

import json
import time
from dataclasses import asdict

from fcn.core.errors import UserError
from fcn.tools.ceiling.settings import CeilingConfig
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.parts import load_splits


def run(config: CeilingConfig) -> int:
    """Print the table of ceilings and leave it as ``ceiling.md``, with ``ceiling.json`` and ``ceiling.png``, in a folder."""
    from fcn.core.files import written
    from fcn.tools.ceiling.measure import ceilings, draw, markdown, rows_of
    from fcn.tools.tables import text_table
    from fcn.training.metrics import metrics, remark

    begin = time.monotonic()
    refuse_used(config.output)
    data = asdict(config.data)
    names = config.splits or [config.data.options()["val"]]
    splits = load_splits(data, *names)
    labels = splits[0].labels
    matrices = [ceilings(split, config.strides, config.method, workers=config.workers) for split in splits]
    summed = {stride: sum((found[stride] for found in matrices[1:]), matrices[0][stride]) for stride in config.strides}
    if not summed[config.strides[0]].any():
        raise UserError(f"the label maps of data={config.data.name} {', '.join(names)} hold nothing but void; give other splits")
    results = {stride: metrics(matrix) for stride, matrix in summed.items()}
    folder = new_folder("ceiling", config.output)
    images = sum(map(len, splits))
    about = f"{config.data.name} {', '.join(names)}: {images} label maps, method={config.method}"
    with written(folder / "ceiling.json") as temporary:
        content = {
            "data": data,
            "splits": names,
            "images": images,
            "method": config.method,
            "strides": {str(stride): result.as_dict(labels.names) for stride, result in results.items()},
        }
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    with written(folder / "ceiling.md") as temporary:
        temporary.write_text(markdown(results, labels.names, about))
    draw(results, labels.names, about, folder / "ceiling.png")
    print(text_table(*rows_of(results, labels.names)))
    print(remark(summed[config.strides[0]], labels.names), end="")
    print(f"{about}, void left out, {time.monotonic() - begin:.0f} s; {folder}")
    return 0
