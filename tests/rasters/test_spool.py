"""Finished rows: what is on the disk after a kill, and what is read of it."""

import numpy as np
import pytest

from fcn.core.errors import UserError
from fcn.rasters import spool as module
from fcn.rasters.spool import Finished, Shape, Spool
from tests.rasters.maps import label_map


@pytest.fixture(autouse=True)
def small_records(monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 2000)


def write(path, whole, first=0, last=None, sure=None, shape=None):
    with Spool(path, shape or Shape(*whole.shape, confidence=sure is not None)) as spool:
        for top in range(first, last or len(whole), 7):
            block = slice(top, min(top + 7, last or len(whole)))
            spool.write(top, 0, whole[block], None if sure is None else sure[block])
        return spool.done()


def test_rows_are_read_as_they_were_written(tmp_path):
    whole, sure = label_map(301, 113), label_map(301, 113, 1)
    write(tmp_path / "rows", whole, sure=sure)
    finished = Finished([tmp_path / "rows"])
    for rows in (1, 64, 512):
        assert (np.concatenate(list(finished.labels(rows))) == whole).all()
        assert (np.concatenate(list(finished.confidence(rows))) == sure).all()


def test_after_a_cut_anywhere_it_goes_on_behind_the_last_whole_record(tmp_path):
    whole, path = label_map(60, 113), tmp_path / "rows"
    write(path, whole)
    content = path.read_bytes()
    first = len(content) - sum(record.rows > 0 and module.RECORD.size + sum(record.sizes) for record in module.records(path))
    for length in range(first, len(content), 11):
        path.write_bytes(content[:length] + b"\0" * (length % 3 * 5))  # also with blocks of zeros, as some file systems leave
        with Spool(path, Shape(60, 113)) as spool:
            done = spool.first_row
            assert done < 60
        write(path, whole, done)
        assert path.read_bytes()[:first] == content[:first]
        assert (np.concatenate(list(Finished([path]).labels(60))) == whole).all()


def test_strips_and_several_files_make_one_map(tmp_path):
    whole = label_map(80, 113)
    shape = Shape(*whole.shape)
    for name, first, last in (("b", 40, 80), ("a", 0, 40)):
        with Spool(tmp_path / name, shape) as spool:
            for left, right in ((0, 64), (64, 113)):
                for top in range(first, last, 8):
                    spool.write(top, left, whole[top : top + 8, left:right])
    assert (np.concatenate(list(Finished([tmp_path / "a", tmp_path / "b"]).labels(9))) == whole).all()
    with pytest.raises(UserError, match="does not hold all rows"):
        Finished([tmp_path / "b"])


def test_strips_of_two_widths_are_no_map(tmp_path):
    whole = label_map(80, 100)
    for name, width in (("a", 100), ("b", 50)):
        first = 0 if name == "a" else 40
        with Spool(tmp_path / name, Shape(80, 100)) as spool:
            for left in range(0, 100, width):
                spool.write(first, left, whole[first : first + 40, left : left + width])
    for paths in (["a", "b"], ["b", "a"]):
        with pytest.raises(UserError, match="does not hold all rows of its map, each once"):
            Finished([tmp_path / path for path in paths])


def test_rows_of_another_image_are_refused(tmp_path):
    whole = label_map(20, 30)
    write(tmp_path / "rows", whole)
    with pytest.raises(UserError, match="the image or the settings are others; remove that file"):
        write(tmp_path / "rows", whole, shape=Shape(20, 31))
    with pytest.raises(UserError, match="the image has changed since"):
        write(tmp_path / "rows", whole, shape=Shape(20, 30, source="other"))
    (tmp_path / "rows").write_bytes(b"nothing of ours")
    with pytest.raises(UserError, match="is damaged: it is no file of finished rows"):
        write(tmp_path / "rows", whole)


def test_a_full_disk_is_one_sentence_and_what_was_synced_stays(tmp_path, monkeypatch):
    whole, path, sync, calls = label_map(100, 113), tmp_path / "rows", module.os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    write(path, whole, 0, 7)  # the file itself
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*rows: the disk is full"):
        write(path, whole, 7)
    monkeypatch.setattr(module.os, "fsync", sync)
    with Spool(path, Shape(*whole.shape)) as spool:
        done = spool.first_row
    assert 7 < done <= 100  # what was written may be there without the sync
    write(path, whole, done)
    assert (np.concatenate(list(Finished([path]).labels(60))) == whole).all()
