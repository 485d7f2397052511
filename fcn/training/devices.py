"""Devices and number formats: which there are, and which a run uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.inference.precision import number_format

Network = TypeVar("Network", bound=nn.Module)


def create_accelerator(device: str = "auto", precision: str = "auto") -> Accelerator:
    """The processes, device and mixed precision of a run (accelerate's; several processes where ``torchrun`` started them).

    device: auto, cpu, cuda or mps; precision: auto, fp32, bf16 or fp16. Raises UserError where the machine has not what is asked for.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but torch sees no CUDA device here; use device=cpu or device=auto")
    if device == "mps" and not torch.backends.mps.is_available():
        raise UserError("device=mps, but torch sees no Apple GPU here; use device=cpu or device=auto")
    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    mixed = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}[number_format(precision, kind)]
    AcceleratorState._reset_state(reset_partial_state=False)  # a sweep makes several runs, of several precisions, in one process
    return Accelerator(cpu=kind == "cpu", mixed_precision=mixed)


@contextmanager
def accelerated(device: str, precision: str) -> Iterator[Accelerator]:
    """An accelerator for one call from Python. Accelerate's state is then as the caller had it: a process has one, and a program may use it
    for a training of its own."""
    states = (AcceleratorState, GradientState) if torch.distributed.is_initialized() else (AcceleratorState, GradientState, PartialState)
    before = [dict(state._shared_state) for state in states]
    for state in states:
        state._shared_state.clear()  # of another device, perhaps
    try:
        yield create_accelerator(device, precision)
    finally:
        if len(states) == 3 and torch.distributed.is_initialized():  # by this call, and it stays
            states, before = states[:2], before[:2]
        for state, values in zip(states, before, strict=True):
            state._shared_state.clear()
            state._shared_state.update(values)


def place(model: Network, accelerator: Accelerator, *, channels_last: bool = True) -> Network:
    """The model on the device of the run, in the layout and the formats that it computes fastest in; changed in place."""
    model = model.to(accelerator.device)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    if accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16":
        for module in model.modules():
            if type(module) is nn.Conv2d and module.groups == module.in_channels > 1:
                module.__class__ = Float32Conv2d
    return model


class Float32Conv2d(nn.Conv2d):
    """A depthwise convolution that is trained in float32 under bf16 autocast: on CPUs its backward pass is slower in bf16."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:  # as a network that was never trained here, which can be exported
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())
