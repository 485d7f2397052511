"""An exported ONNX file as a model: it runs through onnxruntime, with the strategies that need nothing of a network but its scores.

The file normalises images by itself. What else a model knows stands in the file's metadata (``fcn export`` writes it): classes, colours,
mean and deviation, and what the file gives.
"""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn.core.errors import UserError
from fcn.core.images import ImageKind, from_plain
from fcn.core.labels import LabelSet
from fcn.core.names import first_line, said
from fcn.models.any import AsItIs
from fcn.models.segmenter import Cell, Segmenter
from fcn.models.weight_files import labels_of

SUFFIX = ".onnx"
FORMAT = 1
Gives = Literal["scores", "probabilities", "labels"]  # what an exported file gives, by the name of its output
STRATEGIES = ("auto", "whole", "windows")
INSTALL = 'pip install "fcn-toolkit[export]"'


class Facts(NamedTuple):
    """What an exported file says of itself.

    labels: classes. images: kind of the images. mean, std: of the channels, as values. stride: pixels per score within the network.
    divisor: what the sides are padded to multiples of, within the file. gives: what its output is. tile: side of the images where it is
    fixed; None: free.
    """

    labels: LabelSet
    images: ImageKind
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stride: int
    divisor: int
    gives: Gives
    tile: int | None


class Session(nn.Module):
    """The file in the place of a backbone: float images (N, C, H, W), as values, to its output."""

    def __init__(self, path: Path, session: Any, facts: Facts) -> None:
        super().__init__()
        self.path, self.session, self.tile, self.gives = path, session, facts.tile, facts.gives
        self.mean, self.std = (tuple(value / 255 for value in values) for values in (facts.mean, facts.std))
        self.strides, self.divisor = (1,), facts.divisor

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:  # whoever reads a network's layers copies it first
        raise UserError(f"{self.path} is an exported file, whose layers cannot be read; give the checkpoint that it was made from")

    def forward(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        if self.tile is not None and (height, width) != (self.tile, self.tile):
            windows = f"use {said('inference', 'windows')} with {said('inference.size', self.tile)}"
            mend = windows if min(height, width) >= self.tile else "give a larger image"
            mend = "export it without labels" if self.gives == "labels" else mend  # which cannot be blended
            raise UserError(
                f"{self.path} takes images of {self.tile}x{self.tile} pixels alone, and this one has {width}x{height}; "
                f"{mend}, or export it without tile"
            )
        try:
            (given,) = self.session.run(None, {self.session.get_inputs()[0].name: images.numpy()})
        except Exception as error:  # the library's own kinds
            if "alloc" in str(error).lower():
                raise MemoryError(f"out of memory: {first_line(error)}") from error
            raise UserError(
                f"{self.path} cannot be run on an image of {width}x{height} pixels ({first_line(error)}); give a larger image, "
                "or export the model again"
            ) from error
        return [torch.from_numpy(given)]


class OnnxModel(Segmenter):
    """A segmenter that is an exported file. Its scores are of the image's own size, and are computed on the CPU."""

    def __init__(self, path: Path, session: Any, facts: Facts) -> None:
        super().__init__(Session(path, session, facts), AsItIs(1))  # type: ignore[arg-type]
        self.path, self.gives, self.labels, self.images = path, facts.gives, facts.labels, facts.images
        self.probabilities = facts.gives == "probabilities"
        self.eval()

    def normalize(self, images: Tensor) -> Tensor:
        """Images as floats, of the same values: the file normalises them."""
        return images.to("cpu", torch.float32)

    def scores(self, images: Tensor) -> Tensor:
        """What the file gives (N, num_classes, H, W): scores or probabilities; of labels, 1 for the label and 0 for all others."""
        (given,) = self.backbone(images)
        if self.gives == "labels":
            assert self.labels is not None
            return F.one_hot(given.long(), self.labels.num_classes).movedim(-1, 1).float()
        return given

    def coarse(self, images: Tensor) -> tuple[Tensor, Cell]:
        return self.scores(images), Cell(1, 1)

    def forward(self, images: Tensor) -> Tensor:
        scores = self.scores(images)
        return scores.clamp_min(torch.finfo(scores.dtype).tiny).log() if self.probabilities else scores

    def check_use(self, strategy: str, *, augmented: bool, confidence: bool, memory: object = None) -> None:
        """Raises UserError, naming the setting, for a way of prediction that the file cannot go."""
        if strategy not in STRATEGIES:
            raise UserError(
                f"{said('inference', strategy)} reads a network's layers, and {self.path} is an exported file; "
                f"use {said('inference', 'whole')} or {said('inference', 'windows')}, or give the checkpoint"
            )
        if memory is not None:
            raise UserError(f"{said('inference.memory', memory)} bounds a stream, and {self.path} cannot be streamed; leave it out")
        asked = [*["test-time augmentation"] * augmented, *["confidence"] * confidence, *["blending of windows"] * (strategy == "windows")]
        if self.gives == "labels" and asked:
            raise UserError(f"{asked[0]} needs scores, and {self.path} gives labels; leave it out, or export the model with labels=false")
        if torch.is_autocast_enabled("cpu") or (torch.cuda.is_available() and torch.is_autocast_enabled("cuda")):
            raise UserError(f"{self.path} computes in the number format of the file; leave precision out")


def is_onnx(path: str | PathLike[str]) -> bool:
    """Whether a path names an exported ONNX file."""
    return Path(path).suffix.lower() == SUFFIX


def read_onnx(path: str | PathLike[str], *, network: object = None) -> OnnxModel:
    """The model of an exported file. Raises FileNotFoundError for a missing one, UserError for one that is damaged or not of fcn.

    network: what a caller gave for the weights; a file needs none, and UserError says so.
    """
    path = Path(path)
    if network is not None:
        raise UserError(f"{path} holds its network itself; leave network out")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give what fcn export wrote")
    return OnnxModel(path, session := session_of(path), facts_of(session, path))


def session_of(path: Path) -> Any:
    """An onnxruntime session of a file, on the CPU, with as many threads as torch has. Raises UserError where it is not installed, and
    where the file is damaged."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise UserError(f"an ONNX file needs onnxruntime, which is not installed; install it with: {INSTALL}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own kinds
        raise UserError(f"{path} cannot be read as an ONNX file ({first_line(error)}); export the model again") from error


def facts_of(session: Any, path: Path) -> Facts:
    """What stands in the metadata of a file. Raises UserError for a file that ``fcn export`` did not write."""
    found: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    if "fcn" not in found:
        raise UserError(f"{path} has no classes and no mean in its metadata: it is not of fcn export; export the checkpoint again")
    try:
        content = json.loads(found["fcn"])
        if content["format"] != FORMAT:
            raise UserError(f"{path} has the format {content['format']!r:.60}; this version reads {FORMAT}: export the model again")
        mean, std = (tuple(map(float, content[key])) for key in ("mean", "std"))
        if content["gives"] not in get_args(Gives):
            raise ValueError(f"it gives {content['gives']!r}")
        tile = None if content["tile"] is None else int(content["tile"])
        stride, divisor = int(content["stride"]), int(content["divisor"])
        return Facts(labels_of(content["labels"]), from_plain(content["images"]), mean, std, stride, divisor, content["gives"], tile)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the metadata of {path} is damaged ({first_line(error)}); export the model again") from error
