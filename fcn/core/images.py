"""Images: how many channels they have, the type and range of their values, and which three channels a picture shows.

A data set says of what kind its images are, and a network what kind it takes. ``RGB``, 8 bits a channel, is what a viewer shows of a file.
Every other kind is read as it is stored. Its range, mean and deviation are measured on the training split, and travel with the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from fcn.core.errors import UserError

Dtype = Literal["uint8", "uint16", "float32"]

DTYPES: tuple[str, ...] = get_args(Dtype)
LARGEST = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}  # white, until a range is measured or given
BYTES = {"uint8": 1, "uint16": 2, "float32": 4}
MOST = 4096  # channels

Range = tuple[float, float]


@dataclass(frozen=True)
class ImageKind:
    """The kind of a data set's images, or of those that a network takes: the attribute ``images`` of both.

    >>> kind = fcn.ImageKind(5, "uint16")
    >>> kind.is_rgb, kind.measured  # (False, False): fcn.train measures mean and deviation

    channels: number of channels, 1 to 4096; default 3.
    dtype: type of the values: "uint8", "uint16" or "float32"; default "uint8".
    ranges: black and white of each channel, for pictures, as values; default: 0 and the largest value of the type (float32: 1).
    shown: three channels that pictures show as red, green and blue, counted from 0; default: the first three, or the first one thrice.
    mean: mean of each channel, as values; empty: not measured.
    std: standard deviation of each channel, as values; empty: not measured.

    Raises UserError for numbers that do not fit each other.
    """

    channels: int = 3
    dtype: Dtype = "uint8"
    ranges: tuple[Range, ...] = ()
    shown: tuple[int, int, int] = ()  # type: ignore[assignment]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.channels, bool) or not isinstance(self.channels, int) or not 1 <= self.channels <= MOST:
            raise UserError(f"{self.channels!r} channels are not allowed; give a whole number from 1 to {MOST}")
        if self.dtype not in DTYPES:
            raise UserError(f"images of type {self.dtype!r} are not known; the types are {', '.join(DTYPES)}")
        if not self.ranges:
            object.__setattr__(self, "ranges", ((0.0, LARGEST[self.dtype]),) * self.channels)
        if not self.shown:
            object.__setattr__(self, "shown", (0, 1, 2) if self.channels >= 3 else (0, 0, 0))
        counts = {"ranges": len(self.ranges), "mean": len(self.mean or self.ranges), "std": len(self.std or self.ranges)}
        for name, count in counts.items():
            if count != self.channels:
                raise UserError(f"{name} has {count} entries for {self.channels} channels; give one for each")
        if not all(low < high for low, high in self.ranges):
            raise UserError(f"a range of values has its smaller number first; given are {self.ranges}")
        if len(self.shown) != 3 or not all(0 <= channel < self.channels for channel in self.shown):
            raise UserError(f"a picture shows three of the {self.channels} channels, counted from 0; given are {self.shown}")

    @property
    def is_rgb(self) -> bool:
        """Whether they are RGB images of 8 bits."""
        return (self.channels, self.dtype) == (3, "uint8")

    @property
    def measured(self) -> bool:
        """Whether mean and deviation are known. Those of RGB images are the backbone's."""
        return bool(self.mean) or self.is_rgb

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel with all its channels."""
        return self.channels * BYTES[self.dtype]

    def __str__(self) -> str:
        return f"{self.channels} {'channel' if self.channels == 1 else 'channels'} of {self.dtype}"

    def same_as(self, other: "ImageKind") -> bool:
        """Whether one is used in place of the other: channels and type are the same."""
        return (self.channels, self.dtype) == (other.channels, other.dtype)

    def plain(self) -> dict[str, Any]:
        """Plain values for a checkpoint; none for RGB."""
        return {} if self.is_rgb else {key: _plain(value) for key, value in asdict(self).items()}


RGB = ImageKind()


def from_plain(entry: Any) -> ImageKind:
    """The kind that ``ImageKind.plain`` was made of. Raises UserError for anything else."""
    if not entry:
        return RGB
    try:
        return ImageKind(
            entry["channels"],
            entry["dtype"],
            tuple((float(low), float(high)) for low, high in entry["ranges"]),
            tuple(map(int, entry["shown"])),  # type: ignore[arg-type]
            tuple(map(float, entry["mean"])),
            tuple(map(float, entry["std"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the entry images in the spec is {entry!r:.80}, which describes no kind of images ({error})") from error


def kind_of(split: Any) -> ImageKind:
    """The kind of a split's images: its ``images``; RGB where it has none."""
    found = getattr(split, "images", None)
    return found if isinstance(found, ImageKind) else RGB


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
