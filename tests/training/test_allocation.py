import platform
import resource
from pathlib import Path

import pytest
import torch

from fcn.training.allocation import freed_memory_kept

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc maps large blocks anew")

BLOCK = 48 * 2**20  # bytes, above the size from which glibc maps


def pages_of_blocks() -> int:
    """Pages that the system had to give while large blocks were made and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(BLOCK, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_freed_block_is_used_again_and_given_back_at_the_end():
    """Small objects behind a block can keep it from being used again at once; after some blocks there is one that fits."""
    whole = 8 * BLOCK // resource.getpagesize()
    with freed_memory_kept():
        assert any(pages_of_blocks() < whole / 3 for _ in range(8))
        kept = resident()
    assert resident() < kept - BLOCK / 2
