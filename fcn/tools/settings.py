"""Settings of several commands, with their defaults, ranges and help lines."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fcn.core.errors import SettingError, UserError
from fcn.core.names import said
from fcn.core.settings import INFINITE, REQUIRED, above, at_least, between, choice, inside, interval, items
from fcn.tools.schema import Checked, LossConfig, PartConfig

AUTO_DEVICE = choice("auto", "cpu", "cuda", "mps")
PRECISIONS = choice("auto", "fp32", "bf16", "fp16")


@dataclass
class CommandConfig(Checked):
    """
    output: folder to write to, new or empty; null: a dated one under outputs/
    device: device that the network runs on
    precision: number format of the network; auto: bf16 if the hardware computes in it
    channels_last: store images and features in channels-last memory
    plugins: your own modules that register parts, as [my_parts]
    """

    output: str | None = None
    device: Annotated[str, AUTO_DEVICE] = "auto"
    precision: Annotated[str, PRECISIONS] = "auto"
    channels_last: bool = True
    plugins: list[str] = field(default_factory=list)


@dataclass
class AugmentConfig(Checked):
    """
    crop_size: side of the training crops (pixels)
    scale: smallest and largest factor of the scale jitter
    flip: probability of a mirrored sample, left and right
    flip_vertical: probability of a mirrored sample, top and bottom (for images from above)
    quarter_turns: turn samples by 0, 90, 180 or 270 degrees (for images from above and under the microscope)
    brightness: largest relative change of brightness
    contrast: largest relative change of contrast
    saturation: largest relative change of saturation
    hue: largest shift of the hue, as a share of the colour circle
    rotation: largest angle of rotation, either way (degrees); what lies outside of the image is void
    blur: largest standard deviation of a Gaussian blur (pixels); drawn from 0 for each sample
    noise: largest standard deviation of Gaussian noise, as a share of the range of values (of RGB: 0..255); drawn from 0 for each sample
    cutout: largest side of an erased square, as a share of the crop's side; its pixels are void
    transforms: transforms of torchvision.transforms.v2, last, as [RandomGrayscale,"RandomPosterize(bits=4)"]
    focus: share of the crops that must hold a rare class; their images are drawn by class, all rare classes alike
    focus_classes: classes that focus looks for; null: those with fewer pixels than the classes have on average
    """

    SECTION: ClassVar[str] = "augment."

    crop_size: Annotated[int, at_least(1)] = REQUIRED
    scale: Annotated[list[float], items(interval(0, 16), count=2, example="[0.5,2.0]")] = REQUIRED
    flip: Annotated[float, between(0, 1)] = 0.5
    flip_vertical: Annotated[float, between(0, 1)] = 0.0
    quarter_turns: bool = False
    brightness: Annotated[float, between(0, 1)] = REQUIRED
    contrast: Annotated[float, between(0, 1)] = REQUIRED
    saturation: Annotated[float, between(0, 1)] = REQUIRED
    hue: Annotated[float, between(0, 0.5)] = 0.0
    rotation: Annotated[float, between(0, 180)] = 0.0
    blur: Annotated[float, between(0, 20)] = 0.0
    noise: Annotated[float, between(0, 1)] = 0.0
    cutout: Annotated[float, between(0, 1)] = 0.0
    transforms: list[str] = field(default_factory=list)
    focus: Annotated[float, between(0, 1)] = 0.0
    focus_classes: Annotated[list[str] | None, items(distinct=True, example="[pole,sign]")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale != REQUIRED and self.scale[0] > self.scale[1]:
            raise SettingError(
                f"{said('augment.scale')}={self.scale} is not allowed; give the smaller factor first, as [0.5,2.0]", name="scale"
            )
        if self.focus_classes is not None and not self.focus:
            raise SettingError(
                f"{said('augment.focus_classes')} has no effect without a focus; write {said('augment.focus', 0.5)} too",
                name="focus_classes",
            )


@dataclass
class TrainingConfig(CommandConfig):
    """The settings of every training, alone or in a comparison.

    epochs: passes over the training split
    batch_size: samples per step and process
    accumulate: batches per optimizer step
    clip_norm: upper bound of the gradient's norm; null: no bound
    ema: decay of a moving average of the weights, as 0.999, which is scored and saved instead of them; null: no average
    workers: processes that read and augment; 0: the training process does it
    validate_every: epochs between validations
    patience: validations without a better mIoU after which a training ends early; null: never
    save_seconds: time between two checkpoints within an epoch (seconds)
    compile: run the training steps through torch.compile (for GPUs): minutes at the start; brings nothing on a CPU
    gradient_checkpointing: compute features again in the backward pass: much less memory, up to a third more time, the same loss
    resume: output folder of an interrupted run to go on with
    """

    model: PartConfig = REQUIRED
    backbone: PartConfig = REQUIRED
    data: PartConfig = REQUIRED
    augment: AugmentConfig = REQUIRED
    loss: LossConfig = REQUIRED
    optim: PartConfig = REQUIRED
    schedule: PartConfig = REQUIRED
    inference: PartConfig = REQUIRED  # of the validation
    epochs: Annotated[int, at_least(1)] = REQUIRED
    batch_size: Annotated[int, at_least(1)] = REQUIRED
    accumulate: Annotated[int, at_least(1)] = 1
    clip_norm: Annotated[float | None, above(0)] = 5.0
    ema: Annotated[float | None, inside(0, 1)] = None
    workers: Annotated[int, at_least(0)] = 2
    validate_every: Annotated[int, at_least(1)] = 1
    patience: Annotated[int | None, at_least(1)] = None
    save_seconds: Annotated[float, at_least(0), INFINITE] = 300.0
    compile: bool = False
    gradient_checkpointing: bool = False
    resume: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile and self.gradient_checkpointing:
            raise UserError(
                f"{said('compile', True)} and {said('gradient_checkpointing', True)} do not go together: torch.compile decides itself "
                "what it computes again; leave one out"
            )
        check_resume(self.resume, self.output)


def check_resume(resume: str | None, output: str | None) -> None:
    if resume is not None and output is not None:
        raise UserError("both resume and output are given; a resumed run goes on in its own folder, so leave out output")


SEEDS = between(0, 2**63 - 1)
