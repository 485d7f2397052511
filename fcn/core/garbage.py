"""Pauses of Python's cyclic garbage collection, for work that makes many small objects that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it nothing is collected. Imports, exports and graphs make millions of objects that stay; looking through them again and again
    takes much of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
