"""The number format that a network computes in: ``precision=`` of Python and of every command."""

import torch

from fcn.core.errors import UserError
from fcn.core.names import said

WORDS = ("auto", "fp32", "bf16", "fp16")


def number_format(precision: str, device: str) -> torch.dtype:
    """The type that convolutions are computed in on a device, "cpu", "cuda" or "mps". "auto": bfloat16 where the hardware computes in it.

    Raises UserError for another word, and for fp16 on a CPU.
    """
    if precision not in WORDS:
        raise UserError(f"{said('precision', precision)} is not allowed; it is one of {', '.join(WORDS)}")
    if precision == "fp16" and device == "cpu":
        raise UserError(f"{said('precision', precision)} is for GPUs; on a CPU use fp32, or bf16 where it computes in it")
    if precision == "auto":
        return torch.bfloat16 if computes_bf16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def computes_bf16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 itself: GPUs from Ampere on, CPUs with AVX-512 BF16 or AMX."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
