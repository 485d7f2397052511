"""Memory that is freed in a training step stays with the process for the next one.

glibc maps each block of 32 MiB and more anew, and gives it back when it is freed. A step on a CPU makes hundreds of such tensors, and
spends up to a fifth of its time on the pages of new maps. So while a training runs, blocks come from the heap, whose top is kept.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # mallopt(3)
DEFAULTS = {M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 * 1024}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """For as long as it is entered; then freed memory goes back as ever. Nothing happens where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):  # no maps; never a trim
        libc.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in DEFAULTS.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)
