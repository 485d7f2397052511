"""What a run ran on: the hardware, and the versions of what it was made with."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import Accelerator


def hardware(accelerator: "Accelerator") -> str:
    import torch

    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {torch.get_num_threads()} threads"
    precision = "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision
    return f"{accelerator.num_processes} x {name}, {precision}" if accelerator.num_processes > 1 else f"{name}, {precision}"


def environment(accelerator: "Accelerator") -> str:
    """The versions and the hardware of a run, for its folder."""
    packages = ("fcn", "torch", "torchvision", "segmentation-models-pytorch", "timm", "accelerate", "hydra-core", "pillow", "numpy")
    lines = [f"python {platform.python_version()} on {platform.platform()}", hardware(accelerator)]
    for package in packages:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} not installed")
    return "\n".join(lines) + "\n"
