"""What a run ran on: the hardware, and the versions of what it was made with."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import Accelerator


def hardware(accelerator: "Accelerator") -> str:
    import torch

    device = accelerator.device
    threads = torch.get_num_threads()
    on_cpu = f"{device.type}, {threads} {'thread' if threads == 1 else 'threads'}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else on_cpu
    precision = "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision
    return f"{accelerator.num_processes} x {name}, {precision}" if accelerator.num_processes > 1 else f"{name}, {precision}"


def machine(accelerator: "Accelerator") -> str:
    """What stands beside times: the hardware, the processor and its instructions, the version of torch."""
    import torch

    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{hardware(accelerator)}; {processor()}, {os.cpu_count()} cores, {instructions}; torch {torch.__version__}"


def processor() -> str:
    """The processor's name as the system knows it; elsewhere that of its architecture."""
    facts = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", facts.read_text(), re.MULTILINE) if facts.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def environment(accelerator: "Accelerator") -> str:
    """The versions and the hardware of a run, for its folder."""
    packages = "fcn-toolkit torch torchvision segmentation-models-pytorch timm accelerate hydra-core pillow numpy"
    lines = [f"python {platform.python_version()} on {platform.platform()}", machine(accelerator)]
    for package in packages.split():
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} not installed")
    return "\n".join(lines) + "\n"
