"""The suite itself: that it finds planted faults, and a few of its items, in the tests that everybody runs."""

import zlib
from pathlib import Path

import pytest

from tests.faults import planted
from tests.faults.children import attempt
from tests.faults.formats import whole
from tests.faults.outcomes import ELSE, REFUSED, RIGHT, TOLD, differing, of_command, of_library
from tests.faults.subjects import SUBJECTS, save_pictures
from tests.faults.test_files import check
from tests.faults.unseen import unseen


@pytest.mark.parametrize(
    ("reader", "what", "words"),
    [
        (planted.right, RIGHT, ""),
        (planted.refused, REFUSED, "is damaged"),
        (planted.silent, ELSE, "other values without a word"),
        (planted.unnamed, ELSE, "not named"),
        (planted.two_lines, ELSE, "several lines"),
        (planted.other_kind, ELSE, "KeyError"),
        (planted.hangs, ELSE, "hung"),
        (planted.waits, ELSE, "hung"),
        (planted.hungry, ELSE, "memory"),
        (planted.large, ELSE, "memory"),
        (planted.dies, ELSE, "SIGSEGV"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_planted_faults_are_found(reader, what: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file.png"
    attempt(planted.right, path)  # the server's start is not to be counted
    ended = attempt(reader, path, cpu=1 if reader is planted.hangs else 20, patience=1 if reader is planted.waits else 60)
    outcome = of_library(path, "png", ended, b"damaged", "content")
    assert outcome.what == what
    assert words in outcome.words


@pytest.mark.parametrize(
    ("status", "errors", "broken", "what"),
    [
        (1, "reading a.png\nfcn: a.png is damaged\n", [], REFUSED),
        (0, "", [], RIGHT),
        (1, "fcn: something is damaged\n", [], ELSE),
        (1, "fcn: a.png is damaged\nfcn: a.png is damaged\n", [], ELSE),
        (1, "Traceback (most recent call last)\nfcn: a.png is damaged\n", [], ELSE),
        (3, "fcn: a.png is damaged\n", [], ELSE),
        (1, "fcn: a.png is damaged\n", ["best.pt (half)"], ELSE),
    ],
)
def test_answers_of_the_command_are_judged(status: int, errors: str, broken: list[str], what: str) -> None:
    assert of_command(status, errors, "a.png", same=True, hidden=None, broken=broken).what == what


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("config.yaml has no optim.lr, seed; the default is used", TOLD),
        ("config.yaml has no seed; the default is used", ELSE),
        ("the file has no optim.lr, seed; the default is used", ELSE),
        ("", ELSE),
    ],
)
def test_only_a_warning_that_names_all_makes_another_result_right(line: str, what: str) -> None:
    changed = differing({"optim": {"lr": 1}, "seed": 2, "epochs": 3}, {"optim": {"lr": 0}, "seed": 0, "epochs": 3})
    assert of_command(0, f"{line}\n", "config.yaml", same=False, hidden=None, broken=[], changed=changed).what == what


def test_whole_pictures_are_known_from_cut_ones(tmp_path: Path) -> None:
    save_pictures(tmp_path)
    for path in tmp_path.glob("*/*"):
        form, data = SUBJECTS[path.parent.name].form, path.read_bytes()
        assert whole(form, data), path.parent.name
        assert not any(whole(form, data[:length]) for length in range(0, len(data) - 12, 7)), path.parent.name


def test_every_flipped_bit_of_a_png_is_seen_and_no_one_of_a_bitmap_s_pixels(tmp_path: Path) -> None:
    save_pictures(tmp_path)
    data = (tmp_path / "mask-png" / "picture.png").read_bytes()
    assert not any(whole("png", flipped(data, place)) for place in range(len(data)))
    data = (tmp_path / "mask-bmp" / "picture.bmp").read_bytes()
    assert unseen("bmp", flipped(data, len(data) - 1), "other", "value") == "bmp: sound, other content"


def test_only_a_photograph_may_claim_fewer_rows_under_a_right_checksum(tmp_path: Path) -> None:
    save_pictures(tmp_path)
    data = bytearray((tmp_path / "rgb-png" / "picture.png").read_bytes())
    data[23] -= 1
    photograph, label_map = ("torch.uint8", (3, 27, 40), ""), ("torch.uint8", (27, 40), "")
    assert unseen("png", bytes(data), photograph, None) is None
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    assert unseen("png", bytes(data), photograph, None) == "png: a photograph's header of fewer rows, its checksum put right"
    assert unseen("png", bytes(data), label_map, None) is None


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


SOME = ("rgb-png", "baseline-jpg", "mask-png", "classes", "config", "best", "safetensors")


@pytest.mark.parametrize("way", ["cut", "empty"])
@pytest.mark.parametrize("name", SOME)
def test_a_few_damaged_files(name: str, way: str, originals: Path, place: Path, judged) -> None:
    check(name, way, 0, originals, place, judged)
