"""The model whose strategies are compared, and what it is shown, in plain values: a process of its own can make both again."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fcn.core.plugins import load_plugins
from fcn.data.images import read_image
from fcn.inference.halo import mirrored
from fcn.models.any import wrap
from fcn.models.segmenter import Segmenter, assemble
from fcn.models.spec import ModelSpec, spec_words
from fcn.tools.benchmark.sliding import image, placed
from fcn.tools.networks import network_of, saved_model


@dataclass(frozen=True)
class Subject:
    """The words of a model with random weights, or a checkpoint, a network of a user's own, or both (see ``fcn.tools.networks``).

    picture: file of what it is shown; None: noise.
    """

    spec: ModelSpec | None = None
    checkpoint: str | None = None
    network: str | None = None
    plugins: tuple[str, ...] = ()
    picture: str | None = None

    def made(self, device: str, channels_last: bool) -> Segmenter:
        """The model, in evaluation mode."""
        torch.manual_seed(0)
        if self.spec is not None:
            load_plugins(self.spec.plugins)
            model = randomized(self.spec)
        else:
            load_plugins(self.plugins)
            model = self.given()
        placed(model.eval(), device=torch.device(device), dtype=torch.float32, channels_last=channels_last)
        return model

    def given(self) -> Segmenter:
        if self.checkpoint is not None:
            return saved_model(self.checkpoint, self.network)
        assert self.network is not None
        network = network_of(self.network)
        return network if isinstance(network, Segmenter) else wrap(network, mean=0.5, std=0.25)  # which change no time

    def pixels(self, size: int) -> Tensor:
        """What it is shown, uint8 (3, size, size)."""
        if self.picture is None:
            return image(size)[0].mul_(50).add_(128).clamp_(0, 255).to(torch.uint8)
        shown = read_image(self.picture)
        return shown[:, mirrored(shown.shape[1], size)][:, :, mirrored(shown.shape[2], size)]

    def name(self, model: Segmenter) -> str:
        if self.spec is not None:
            return f"{self.spec.model} on {self.spec.backbone}"
        return type(model).__name__ if model.spec is None else spec_words(model.spec)


def randomized(spec: ModelSpec) -> Segmenter:
    """The model with random weights, also where those of a new one are zero, which would leave no labels to compare."""
    network = assemble(spec)
    for module in network.decoder.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
    return network
