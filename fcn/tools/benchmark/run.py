"""``fcn benchmark``: what ways to run a network over an image cost, and how far they agree."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from fcn.core.conf import default_parts
from fcn.core.errors import UserError
from fcn.tools.benchmark.settings import BenchmarkConfig
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.hardware import machine
from fcn.tools.parts import model_of
from fcn.tools.schema import part_schema

if TYPE_CHECKING:
    from fcn.tools.benchmark.subject import Subject

CLASSES = 21  # of Pascal VOC


def subject(config: BenchmarkConfig) -> "Subject":
    """The model whose strategies are compared."""
    from fcn.models.onnx_model import OnnxModel
    from fcn.models.spec import ModelSpec
    from fcn.tools.benchmark.subject import Subject

    if config.checkpoint is not None or config.network is not None:
        found = Subject(None, config.checkpoint, config.network, tuple(config.plugins), config.image)
        if isinstance(found.given(), OnnxModel):  # what cannot be made is refused before anything is measured
            raise UserError(
                f"checkpoint={config.checkpoint} is an exported file, whose layers cannot be streamed; "
                "give the checkpoint that it was made from"
            )
        return found
    usual = default_parts("train")
    model, backbone, upsample = (getattr(config, kind) or part_schema(kind, usual[kind])() for kind in ("model", "backbone", "upsample"))
    spec = model_of(model, backbone, upsample, CLASSES).spec
    assert isinstance(spec, ModelSpec)
    return Subject(spec, picture=config.image)


def run(config: BenchmarkConfig) -> int:
    """Print a table for each comparison as soon as it is made, and keep ``benchmark.json``, ``.md`` and ``.png`` of all so far."""
    import torch

    from fcn.tools.benchmark.labels import label_map_rows
    from fcn.tools.benchmark.report import write_report
    from fcn.tools.benchmark.rows import Section, tables
    from fcn.tools.benchmark.sliding import sliding_rows
    from fcn.tools.benchmark.strategies import strategy_rows
    from fcn.training.devices import create_accelerator

    refuse_used(config.output)
    accelerator = create_accelerator(config.device, config.precision)
    device = accelerator.device
    dtype = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[accelerator.mixed_precision]
    cases = [(config.size, config.strides)] if config.strides else []
    cases += [] if config.dense_size is None else [(config.dense_size, [1])]
    if not (config.networks and cases) and not (config.strategies and config.image_sizes) and config.labelmap_size is None:
        raise UserError("there is nothing to measure: give networks= and strides=, strategies= and image_sizes=, or labelmap_size=")
    chosen = subject(config) if config.strategies and config.image_sizes else None
    if chosen is not None:
        chosen.pixels(1)  # what cannot be read is refused before anything is measured
    folder = new_folder("benchmark", config.output)
    where = machine(accelerator)
    print(where, flush=True)
    sections: list[Section] = []

    def add(section: Section) -> None:
        sections.append(section)
        write_report(sections, where, asdict(config), folder)
        print(f"\n{tables(section)}", flush=True)

    plain = {"device": device, "dtype": dtype, "channels_last": config.channels_last, "turns": config.turns}
    for name in config.networks:
        for size, strides in cases:
            add(sliding_rows(name, size=size, strides=strides, windows=config.windows, **plain))
    if chosen is not None:
        add(strategy_rows(chosen, strategies=config.strategies, sizes=config.image_sizes, window=config.window, **plain))
    if config.labelmap_size is not None:
        size = config.labelmap_size
        add(label_map_rows(size=size, classes=CLASSES, boundary=config.boundary, device=device, turns=config.turns))
    print(f"\n{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0
