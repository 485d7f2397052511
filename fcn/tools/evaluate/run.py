"""``fcn evaluate``: a checkpoint's scores on a split of a data set."""

import logging
import time
from dataclasses import asdict

from fcn.core.errors import UserError
from fcn.core.plugins import check_plugins
from fcn.tools.evaluate.settings import EvaluateConfig
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.networks import network_of
from fcn.tools.parts import known_data, known_splits, load_split

log = logging.getLogger(__name__)


def run(config: EvaluateConfig) -> int:
    """Score a checkpoint on a split of a data set. The folder then holds the table, ``metrics.json``, ``images.csv``, ``confusion.png``,
    ``worst.png`` and ``report.html``."""
    from fcn.core.images import kind_of
    from fcn.data.census import refuse_scoring, scoring_warnings
    from fcn.data.submission import Submission
    from fcn.data.verify import verify
    from fcn.inference.strategies import check_exported, create_strategy
    from fcn.models.onnx_model import is_onnx, read_onnx
    from fcn.rasters.scenes import Scenes
    from fcn.tools.evaluate.images import ImageScores
    from fcn.tools.evaluate.page import what_was_scored
    from fcn.tools.evaluate.report import write_report
    from fcn.tools.evaluate.worst import Worst
    from fcn.training.checkpoint import model_from_state, read_checkpoint
    from fcn.training.devices import create_accelerator, place
    from fcn.training.evaluate import check_classes, check_images, score_split
    from fcn.training.metrics import Evaluation
    from fcn.training.scored import Scored

    refuse_used(config.output)
    accelerator = create_accelerator(config.device, config.precision)
    network = None if config.network is None else network_of(config.network)
    exported = read_onnx(config.checkpoint, network=network) if is_onnx(config.checkpoint) else None
    state = read_checkpoint(config.checkpoint, network) if exported is None else {}
    check_plugins(state.get("plugins", ()), config.checkpoint)
    data = known_data(config.data, state, config.checkpoint)
    name = config.split or data.get("val")
    if not isinstance(name, str):
        raise UserError(f"{config.checkpoint} does not say which split it was scored on; give split=NAME")
    with accelerator.main_process_first():
        split = load_split(data, name) if config.data is not None else known_splits(data, [name], config.checkpoint)[0]
    model = exported or model_from_state(state, config.checkpoint, network)
    model = place(model, accelerator, channels_last=config.channels_last)
    check_classes(model, split.labels, config.checkpoint, f"data={data['name']}")
    check_images(model, kind_of(split), config.checkpoint, f"data={data['name']}")
    if "verify" in data and accelerator.is_main_process:
        census = verify(split, data["verify"])
        if census.samples and not config.submission:  # the truth of a test split may be void throughout
            refuse_scoring(census, f"data={data['name']} {name}")
            for warning in scoring_warnings(census):
                log.warning("note: %s", warning)
    strategy = create_strategy(config.inference.name, **config.inference.options())
    with accelerator.autocast():
        check_exported(model, config.inference.name, **config.inference.options())
    if config.submission and not data["name"].startswith("voc2012"):
        raise UserError(f"submission=true writes the Pascal VOC server's archive, and data={data['name']} is not VOC; use data=voc2012")
    folder = new_folder("evaluate", config.output, accelerator)
    submission = Submission(folder, split.names, split.labels) if config.submission else None
    images, worst = ImageScores(split.labels), Worst(split.labels, split.names, model.images)

    def visit(sample: Scored) -> None:
        images.add(sample)
        worst.add(sample)
        if submission is not None:
            submission.add(sample.index, sample.image, sample.truth, sample.prediction)

    begin = time.monotonic()
    with accelerator.autocast():
        matrix = score_split(model, split, strategy, accelerator, workers=config.workers, visit=visit, confidence=config.calibration)
    result, seconds = Evaluation(split.labels, matrix), time.monotonic() - begin
    images.write(folder / "images.csv", split.names, accelerator)
    sums = images.summed(accelerator)
    worst.gather(accelerator)
    if accelerator.is_main_process:
        protocol = {
            "checkpoint": str(config.checkpoint),
            "data": data["name"],
            "split": name,
            "images": len(split),
            **({"scenes": len(split.scenes)} if isinstance(split, Scenes) else {}),
            "resolution": "the images' own",
            "inference": asdict(config.inference),
            "precision": "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision,
            "void": "left out",
            "absent classes": "left out of the means",
        }
        print(write_report(folder, result, sums, worst, protocol))
        print(
            f"{data['name']} {name}: {what_was_scored(protocol)} at their own resolution, inference={config.inference.name}, "
            f"{protocol['precision']}, void left out, {seconds:.0f} s; look at {folder / 'report.html'}"
        )
    if submission and accelerator.is_main_process:
        print(f"checked, for the VOC server: {submission.pack()}")
    return 0
