"""``fcn.export``: a model as a file for other programs, verified before it is called done."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.core.images import kind_of
from fcn.core.names import a_type, said
from fcn.data.split import Split, check_split, spread
from fcn.graph.networks import copied
from fcn.inference.predict import Picture
from fcn.models.any import Wrapped
from fcn.models.onnx_model import Gives, OnnxModel, read_onnx
from fcn.models.pretrained_folder import WEIGHTS, write_folder
from fcn.models.segmenter import Segmenter
from fcn.models.weight_files import labelled_state
from fcn.tools.export.cost import Int8Cost, int8_cost
from fcn.tools.export.int8 import write_int8
from fcn.tools.export.metadata import metadata
from fcn.tools.export.onnx_file import need_onnx, write_onnx
from fcn.tools.export.pictures import batches, framed, pictures
from fcn.tools.export.program import Exportable, exportable, program_of
from fcn.tools.export.verify import TOLERANCE, Check, table, verify
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.processes import refuse_torchrun
from fcn.training.checkpoint import load
from fcn.training.evaluate import check_classes, check_images

Format = Literal["onnx", "torch", "safetensors"]
INT8_FILE = "model.int8.onnx"
CALIBRATE = 64  # pictures
FILES: dict[str, str] = {"onnx": "model.onnx", "torch": "model.pt2", "safetensors": WEIGHTS}
REPORT = "verification.json"
METADATA = "metadata.json"  # within a .pt2 file
SMALLEST_TILE = 32


@dataclass(frozen=True)
class Exported:
    """What an export has left.

    file: file that was written. checks: how it agreed with the model, at each size. int8: what int8 costs; None for other files. Printed,
    it is what ``fcn export`` prints.
    """

    file: Path
    checks: tuple[Check, ...]
    int8: Int8Cost | None = None

    def __str__(self) -> str:
        return table(self.checks) if self.int8 is None else f"{table(self.checks)}\n\n{self.int8}"


def export(
    model: Segmenter,
    folder: str | PathLike[str] | None = None,
    *,
    format: Format = "onnx",
    labels: bool = False,
    softmax: bool = False,
    tile: int | None = None,
    images: Sequence[Picture] | None = None,
    split: Split | None = None,
    int8: bool = False,
    calibration: Split | None = None,
    calibrate: int | None = None,
) -> Exported:
    """A model as a file for other programs, for any number of images of any size. The file is run on four pictures of different sizes, and
    written only where it gives what the model gives.

    >>> model = fcn.create_model("fcn8s", backbone="compact", classes=["ground", "road"])
    >>> print(fcn.export(model, "exported", format="torch"))  # the table: size, difference of the scores, labels that differ

    model: network from ``fcn.load``, ``fcn.create_model`` or ``fcn.wrap``, with its classes as ``labels``. It is left as it was.
    folder: folder to write to, new or empty; default None: a dated one under outputs/.
    format: "onnx", one file ``model.onnx`` (needs pip install "fcn-toolkit[export]"); "torch", ``model.pt2`` of ``torch.export``; or
        "safetensors", the weights and ``config.json``, which ``fcn.load`` reads. Default "onnx".
    labels: the file gives labels (N, H, W) instead of scores, float32 (N, K, H, W); default False. Labels are uint8, with more than 255
        classes int32.
    softmax: the file gives probabilities instead of scores; default False.
    tile: side of the images, in pixels, where a file for one size is wanted; default None: any size.
    images: images to verify the file with: a list of PIL images, arrays or paths; default None: those of ``split``.
    split: split of a data set to verify the file with; default None: built-in pictures.
    int8: weights and activations of 8 bits, for format="onnx": ``model.int8.onnx``; default False. It needs ``calibration``, and a
        ``split`` of validation, on which its mean IoU and its labels are compared with those of the float file.
    calibration: split of training, on whose pictures the ranges of the activations are measured; default None.
    calibrate: number of these pictures, evenly spread; default None: 64.

    The file takes float32 images (N, C, H, W) with values as they are stored, 0 to 255 for RGB of 8 bits. It normalises and pads them.
    Scores agree to 1e-4 of their range; labels are equal but for ties within that. An int8 file's labels differ, and ``Exported`` says in
    how many pixels.

    Returns ``Exported``: ``file``, ``checks`` and ``int8``.

    Raises UserError for a model that cannot be exported for any size; it names the layer. Raises it, too, where the file does not agree
    with the model, or with int8 in less than nine tenths of the labels. Then nothing is written.
    """
    check_call(model, format, labels=labels, softmax=softmax, tile=tile)
    check_int8(model, format, int8, calibration, split, calibrate, labels=labels, tile=tile)
    output = None if folder is None else str(folder)
    refuse_used(output)
    state = labelled_state(model)
    shown = batches(model, pictures(model, images, split), tile)
    gives: Gives = "labels" if labels else "probabilities" if softmax else "scores"
    reference = Exportable(copied(model).cpu().float().eval(), gives).eval()
    name = FILES[format]
    with TemporaryDirectory(prefix="fcn-export-") as place:
        made = Path(place)
        if format == "safetensors":
            write_folder(state, made)
            run = folder_runner(made, reference)
        else:
            program = program_of(exportable(model, gives, tile), tile)
            entries = metadata(reference.segmenter, gives, tile)
            if format == "onnx":
                write_onnx(program, made / name, gives, entries)
                run = onnx_runner(made / name)
            else:
                torch.export.save(program, made / name, extra_files={METADATA: json.dumps(entries)})
                run = program_runner(made / name)
        checks, cost = verify(reference, run, shown, name), None
        if int8:
            assert calibration is not None
            assert split is not None
            places = spread(range(len(calibration)), calibrate or CALIBRATE)
            float_file, name = made / name, INT8_FILE
            write_int8(float_file, made / name, (calibration_picture(calibration, place, tile) for place in places))
            checks = verify(reference, onnx_runner(made / name), shown, name, exact=False)
            cost = int8_cost(float_file, made / name, split, shown[0], tile, len(places))
        target = new_folder("export", output)
        if format == "safetensors":
            write_folder(state, target)
        else:
            with written(target / name) as temporary:
                shutil.copyfile(made / name, temporary)
    with written(target / REPORT) as temporary:
        report = {"file": name, "tolerance": TOLERANCE, "checks": [asdict(check) for check in checks]}
        temporary.write_text(json.dumps(report | ({"int8": asdict(cost)} if cost else {}), indent=1) + "\n")
    return Exported(target / name, checks, cost)


def check_call(model: object, format: str, *, labels: bool, softmax: bool, tile: int | None) -> None:
    """Raises UserError, or TypeError for what is no model, where an export cannot be what is asked."""
    if isinstance(model, OnnxModel):
        raise UserError(f"{model.path} is exported already; give the checkpoint that it was made from")
    if not isinstance(model, Segmenter):
        mend = "fcn.wrap(network, mean=..., std=...)" if isinstance(model, nn.Module) else "what fcn.load(PATH) returns"
        raise TypeError(f"the model is {a_type(model)}; give {mend}")
    if format not in get_args(Format):
        raise UserError(f"format={format!r} is not known; it is one of {', '.join(get_args(Format))}")
    if labels and softmax:
        raise UserError("labels and softmax are both asked for, and a file gives one of them; leave one out")
    if format == "safetensors" and (labels or softmax):
        raise UserError(
            f"{'labels' if labels else 'softmax'} is part of a program, and format=safetensors holds weights; "
            "use format=onnx or format=torch"
        )
    if tile is not None and format == "safetensors":
        raise UserError(f"tile={tile} fixes the sides of a program's images, and format=safetensors holds weights; leave tile out")
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int) or tile < SMALLEST_TILE):
        raise UserError(f"tile={tile!r} is not allowed; it is a whole number of pixels, {SMALLEST_TILE} or more")
    if format == "onnx":
        need_onnx()


def check_int8(
    model: Segmenter,
    format: str,
    int8: bool,
    calibration: Split | None,
    split: Split | None,
    calibrate: int | None,
    *,
    labels: bool,
    tile: int | None,
) -> None:
    """Raises UserError, or TypeError for what is no split, where a file in int8 cannot be what is asked."""
    if not int8:
        if calibration is not None or calibrate is not None:
            raise UserError(f"{'calibration' if calibrate is None else 'calibrate'} is for int8, which is not asked for; leave it out")
        return
    refuse_torchrun("the measurement of int8")
    if format != "onnx":
        raise UserError(f"{said('int8', True)} writes an ONNX file, and format={format} is asked for; leave one of them out")
    if labels and tile is not None:
        raise UserError("a file of labels of one size cannot be scored in windows, as int8 needs it; leave labels or tile out")
    if calibrate is not None and (isinstance(calibrate, bool) or not isinstance(calibrate, int) or calibrate < 1):
        raise UserError(f"calibrate={calibrate!r} is not allowed; it is a number of pictures, 1 or more")
    if calibration is None or split is None:
        raise UserError("int8 needs pictures to measure ranges on, and others to score the file on; give calibration and split")
    for given, name in ((calibration, "the split of the calibration"), (split, "the split")):
        check_split(given, name)
        if not len(given):
            raise UserError(f"{name} has no image; give another one")
        check_images(model, kind_of(given), "the model", name)
    check_classes(model, split.labels)
    sides = split[0][0].shape[-2:]
    if tile is not None and min(sides) < tile:
        raise UserError(f"tile={tile} is more than the images of the split have, {sides[1]}x{sides[0]}; give a smaller tile")


def calibration_picture(split: Split, place: int, tile: int | None) -> Tensor:
    """A picture of a split as a batch (1, C, H, W), of the size that the file takes."""
    picture = split[place][0]
    return (picture if tile is None else framed(picture, tile, tile))[None]


def onnx_runner(path: Path) -> Callable[[Tensor], Tensor]:
    backbone = read_onnx(path).backbone
    return lambda images: backbone(images)[0]


def program_runner(path: Path) -> Callable[[Tensor], Tensor]:
    module = torch.export.load(path).module()

    def run(images: Tensor) -> Tensor:
        given: Tensor = module(images)
        return given

    return run


def folder_runner(folder: Path, reference: Exportable) -> Callable[[Tensor], Tensor]:
    """The model that is read again from a folder of safetensors. The weights of a network of a user's own go into a copy of it."""
    segmenter = reference.segmenter
    network = copied(segmenter.backbone.network) if isinstance(segmenter, Wrapped) else None
    return Exportable(load(folder, network=network), reference.gives).eval()
