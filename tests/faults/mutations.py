"""Ways to damage a file. Each takes the file's bytes and a seeded random generator, and gives other bytes.

``BYTES`` suit every file, ``TEXT`` files of lines, ``YAML`` a configuration besides. What a format claims of its size (``claims``) and what
a checkpoint holds (``contents.py``) is changed by rules of their own.
"""

import struct
import zlib
from collections.abc import Callable
from random import Random

Mutation = Callable[[bytes, Random], bytes]

SIZES = (0, 1, 2, 7, 255, 256, 4096, 30000, 65535, 2**31 - 1)  # claimed instead of the true one, besides its neighbours, half and double


def flip(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def noise(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    length = min(rng.randint(1, 64), len(data) - place)
    return data[:place] + rng.randbytes(length) + data[place + length :]


def cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def zeros(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes(len(data) - place)


def insert(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.randint(1, 64)) + data[place:]


def swap(data: bytes, rng: Random) -> bytes:
    length = rng.randint(1, max(1, len(data) // 4))
    first = rng.randrange(max(1, len(data) - 2 * length))
    second = rng.randint(first + length, max(first + length, len(data) - length))
    one, other = data[first : first + length], data[second : second + length]
    return data[:first] + other + data[first + length : second] + one + data[second + length :]


def double(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    block = data[place : place + rng.randint(1, max(1, len(data) // 4))]
    return data[:place] + block + data[place:]


def empty(data: bytes, rng: Random) -> bytes:
    return b""


BYTES: dict[str, Mutation] = {mutation.__name__: mutation for mutation in (flip, noise, cut, zeros, insert, swap, double, empty)}


# --- what a format says of its size ---


def claims(data: bytes, rng: Random, form: str) -> bytes:
    """The file with another width or height in its header, checksums corrected, so that nothing but the pixels contradicts it."""
    places = {"png": png_sizes, "jpeg": jpeg_sizes, "tiff": tiff_sizes, "bmp": bmp_sizes, "gif": gif_sizes, "webp": webp_sizes}
    place, code = rng.choice(places[form](data))
    (size,) = struct.unpack_from(code, data, place)
    most = 256 ** struct.calcsize(code) - 1
    wrong = rng.choice([value for value in (*SIZES, size + 1, size - 1, size // 2, 2 * size) if value != size and value <= most // 2 + 1])
    changed = bytearray(data)
    struct.pack_into(code, changed, place, wrong)
    if form == "png":
        struct.pack_into(">I", changed, 29, zlib.crc32(changed[12:29]))
    return bytes(changed)


def png_sizes(data: bytes) -> list[tuple[int, str]]:
    return [(16, ">I"), (20, ">I")]


def jpeg_sizes(data: bytes) -> list[tuple[int, str]]:
    place = 2
    while data[place + 1] not in (0xC0, 0xC1, 0xC2):
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return [(place + 5, ">H"), (place + 7, ">H")]


def tiff_sizes(data: bytes) -> list[tuple[int, str]]:
    (ifd,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, ifd)
    entries = [ifd + 2 + 12 * number for number in range(count)]
    short = {entry: struct.unpack_from("<HH", data, entry) for entry in entries}
    return [(entry + 8, "<H" if kind == 3 else "<I") for entry, (tag, kind) in short.items() if tag in (256, 257, 278)]


def bmp_sizes(data: bytes) -> list[tuple[int, str]]:
    return [(18, "<I"), (22, "<I")]


def gif_sizes(data: bytes) -> list[tuple[int, str]]:
    image = data.index(b"\x2c\0\0\0\0")  # the descriptor of an image at the top left
    return [(6, "<H"), (8, "<H"), (image + 5, "<H"), (image + 7, "<H")]


def webp_sizes(data: bytes) -> list[tuple[int, str]]:
    return [(21, "<H"), (22, "<H")] if data[12:16] == b"VP8L" else [(26, "<H"), (28, "<H")]


# --- text ---


def drop_line(data: bytes, rng: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def twice(data: bytes, rng: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    return b"".join([*lines[:place], lines[place], *lines[place:]])


def nul(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + bytes(rng.randint(1, 8)) + data[place:]


def control(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + bytes([rng.choice((1, 7, 8, 11, 12, 27, 127))]) + data[place:]


def latin(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + "straße".encode("latin-1") + data[place:]


def mark(data: bytes, rng: Random) -> bytes:
    return b"\xef\xbb\xbf" + data


def wide(data: bytes, rng: Random) -> bytes:
    return data.decode().encode(rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32")))


def dos(data: bytes, rng: Random) -> bytes:
    return data.replace(b"\n", b"\r\n")


def long_line(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + b"x" * 10**6 + data[place:]


TEXT: dict[str, Mutation] = {
    mutation.__name__: mutation for mutation in (drop_line, twice, nul, control, latin, mark, wide, dos, long_line, flip)
}


# --- YAML ---


def replaced(data: bytes, rng: Random, words: tuple[str, ...]) -> bytes:
    """The value of one line is another."""
    lines = data.decode().splitlines()
    place = rng.choice([number for number, line in enumerate(lines) if not line.endswith(":")])
    head = lines[place].rpartition(" ")[0]
    lines[place] = f"{head} {rng.choice(words)}"
    return ("\n".join(lines) + "\n").encode()


def key_twice(data: bytes, rng: Random) -> bytes:
    """A key is given again with the value of another line."""
    lines = data.decode().splitlines()
    leaves = [number for number, line in enumerate(lines) if ": " in line]
    place, other = rng.sample(leaves, 2)
    head = lines[place].partition(": ")[0]
    lines.insert(place + 1, f"{head}: {lines[other].partition(': ')[2]}")
    return ("\n".join(lines) + "\n").encode()


def huge(data: bytes, rng: Random) -> bytes:
    return replaced(data, rng, ("1" + "0" * 30, "1e400", "-1e400", "1" * 5000, "9223372036854775808", "0x" + "f" * 40))


def unbounded(data: bytes, rng: Random) -> bytes:
    return replaced(data, rng, (".nan", ".inf", "-.inf", "nan", "inf"))


def other_type(data: bytes, rng: Random) -> bytes:
    words = ("[1, 2]", "{a: 1}", "text", "true", "null", "-1", "0", "2020-01-01", "!!python/object/apply:os.getpid []", "${oc.env:HOME}")
    return replaced(data, rng, (*words, "${epochs}", "${nothing}", "???", "''", "!!binary aGVsbG8=", "&a [*a]", "'\\0'"))


def bomb(data: bytes, rng: Random) -> bytes:
    """Aliases of aliases: few lines that stand for ten to the ninth values."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "\n".join(levels) + "\n"
    return replaced(data, rng, ("[" * 3000,)) if rng.random() < 0.3 else text.encode() + (data if rng.random() < 0.5 else b"")


def tabs(data: bytes, rng: Random) -> bytes:
    lines = data.decode().splitlines(keepends=True)
    place = rng.choice([number for number, line in enumerate(lines) if line.startswith("  ")])
    lines[place] = "\t" + lines[place].lstrip()
    return "".join(lines).encode()


YAML: dict[str, Mutation] = {mutation.__name__: mutation for mutation in (key_twice, huge, unbounded, other_type, bomb, tabs)}
