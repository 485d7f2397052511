"""Small pictures of known pixels, and PNG and TIFF files byte by byte."""

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def painted(height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth RGB picture without symmetry."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 255 // height, x * 255 // width, (x + 2 * y) % 256], axis=2).astype(np.uint8)


def hwc(image: torch.Tensor) -> np.ndarray:
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    return image.permute(1, 2, 0).numpy()


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, color_type: int, rows: list[bytes], palette: bytes = b"", more: bytes = b"") -> bytes:
    """``more`` are chunks between the header and the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)) + more
    colors = chunk(b"PLTE", palette) if palette else b""
    return (
        b"\x89PNG\r\n\x1a\n" + header + colors + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b"")
    )


def png_16_bit_rgb(pixels: np.ndarray) -> bytes:
    return png(pixels.shape[1], pixels.shape[0], 16, 2, [row.astype(">u2").tobytes() for row in pixels])


def png_of_few_bits(indices: np.ndarray, bits: int, color_type: int) -> bytes:
    digits = [((indices[..., None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(indices.shape[0], -1)]
    rows = [np.packbits(row).tobytes() for row in digits[0]]
    palette = bytes(range(3 * 2**bits)) if color_type == 3 else b""
    return png(indices.shape[1], indices.shape[0], bits, color_type, rows, palette)


def tiff(
    pixels: np.ndarray, photometric: int, order: str = "<", bits: int = 0, data: bytes = b"", tags: dict[int, tuple[int, ...]] | None = None
) -> bytes:
    """A TIFF of one strip: ``pixels`` (H, W) or (H, W, bands), or ``data`` of that size.

    The photometric interpretation is 0 for gray from white, 1 for gray from black, 2 for RGB, 5 for CMYK. ``tags`` are further ones.
    """
    height, width, bands = *pixels.shape[:2], pixels.shape[2] if pixels.ndim == 3 else 1
    data = data or pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    entries = {256: (width,), 257: (height,), 258: (bits or 8 * pixels.dtype.itemsize,) * bands, 259: (1,), 262: (photometric,)}
    entries |= {273: (0,), 277: (bands,), 278: (height,), 279: (len(data),)}
    tags = tags or {}
    where = 8 + 2 + 12 * len(entries | tags) + 4  # values that do not fit into their entries
    outside = sum(2 * len(values) for values in (entries | tags).values() if len(values) > 2)
    entries |= {273: (where + outside,), **tags}
    directory = rest = b""
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}H", *values)
        if len(packed) > 4:
            rest, packed = rest + packed, struct.pack(order + "I", where + len(rest))
        directory += struct.pack(order + "HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    return head + directory + bytes(4) + rest + data
