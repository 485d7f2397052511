"""The words that describe a model, so that it can be built again."""

from dataclasses import dataclass, field, fields
from typing import Any

from fcn.core.errors import UserError
from fcn.core.images import from_plain


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a model again, in plain values.

    output_stride: None is what the model asks for, else the backbone's own. plugins: the modules of users that its parts are from.
    images: kind of the images, as ``ImageKind.plain`` gives it; empty for RGB.
    """

    model: str
    backbone: str
    upsample: str
    num_classes: int
    output_stride: int | None = None
    model_options: dict[str, Any] = field(default_factory=dict)
    backbone_options: dict[str, Any] = field(default_factory=dict)
    upsample_options: dict[str, Any] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    images: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WrapSpec:
    """How a network of a user's own was wrapped, in plain values; the network itself is code, of which nothing is kept.

    network: name of its class, for messages. The rest: see ``fcn.wrap``.
    """

    network: str
    num_classes: int
    output: str | int | None
    divisor: int
    stride: int
    labels: str
    images: dict[str, Any] = field(default_factory=dict)


def is_wrap_spec(spec: Any) -> bool:
    """Whether the plain form of a spec is that of a ``WrapSpec``."""
    return isinstance(spec, dict) and "network" in spec


def spec_words(spec: ModelSpec | WrapSpec) -> str:
    """A model in its words, for messages: ``model=fcn8s backbone=resnet18 upsample=bilinear``."""
    if isinstance(spec, WrapSpec):
        return f"a {spec.network} of your own"
    return f"model={spec.model} backbone={spec.backbone} upsample={spec.upsample}"


LATER = ("plugins", "images")  # entries that older checkpoints do not have
AUXILIARY: dict[str, Any] = {"aux": False, "aux_weight": 0.5, "aux_level": None}  # the settings of the auxiliary head
ELSEWHERE = {  # arguments of other libraries, and what is meant here
    "encoder_name": "the encoder is backbone=",
    "encoder": "the encoder is backbone=",
    "encoder_weights": 'the weights of the encoder are backbone_weights="imagenet"',
    "weights_backbone": 'the weights of the backbone are backbone_weights="imagenet"',
    "pretrained": 'give backbone_weights="imagenet", or weights="torchvision" for a whole network',
    "pretrained_backbone": 'give backbone_weights="imagenet"',
    "encoder_output_stride": "the stride of the deepest feature is output_stride=",
    "aux_loss": "an auxiliary head is aux=True",
    "aux_params": "an auxiliary head is aux=True",
    "activation": "a network gives logits; take their softmax, or fcn.predict(..., confidence=True)",
}


def check_auxiliary(aux: bool, **rest: Any) -> None:
    """UserError for settings of an auxiliary head that is off."""
    if not aux and any(value != AUXILIARY[name] for name, value in rest.items()):
        raise UserError("aux_weight and aux_level belong to the auxiliary head, which is off; add aux=true")


def check_spec(spec: Any) -> None:
    """Raises UserError, naming the entry, where ``spec`` is not what ``asdict`` makes of a ``ModelSpec`` or a ``WrapSpec``."""
    wrapped = is_wrap_spec(spec)
    names = [field.name for field in fields(WrapSpec if wrapped else ModelSpec)]
    if not isinstance(spec, dict):
        raise UserError(f"the entry spec is {type(spec).__name__} where a dict is expected")
    missing, unknown = [name for name in names if name not in spec and name not in LATER], [str(name) for name in spec if name not in names]
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has the unknown {', '.join(unknown)}"] * bool(unknown)
        raise UserError(f"the entry spec {' and '.join(parts)}")
    allowed: dict[str, tuple[type, ...]] = {name: (dict,) if name.endswith("options") else (str,) for name in names}
    allowed["images"] = (dict,)
    allowed |= {"num_classes": (int,), "output_stride": (int, type(None)), "plugins": (tuple, list)}
    allowed |= {"output": (str, int, type(None)), "divisor": (int,), "stride": (int,)} if wrapped else {}
    for name, value in spec.items():
        if type(value) not in allowed[name]:
            raise UserError(f"{name} in the entry spec is {value!r:.60}, no {allowed[name][0].__name__}")
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise UserError(f"{name} in the entry spec has a name that is no str")
    from_plain(spec.get("images"))
