import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fcn.core.files import remove_unfinished, written


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_whole_and_alone(tmp_path):
    target = tmp_path / "new" / "folder" / "a.json"
    with written(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".json"
        temporary.write_text("{}")
        assert not target.exists()
    assert target.read_text() == "{}"
    assert listed(target.parent) == ["a.json"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with written(tmp_path / "ours") as temporary:
        temporary.write_text("")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError("no"), FileNotFoundError(errno.ENOENT, "other", "input.png")])
def test_a_failure_keeps_the_old_file_and_is_passed_on(tmp_path, failure):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with written(target) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(type(failure)) as caught:
        fail()
    assert caught.value is failure
    assert target.read_text() == "old"
    assert listed(tmp_path) == ["a.txt"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with written(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_names_as_long_as_the_system_allows(tmp_path):
    name = "ä" * 125 + ".png"
    with written(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert listed(tmp_path) == [name]


def refused(path: Path) -> str:
    with pytest.raises(OSError, match=r"^cannot write") as caught, written(path) as temporary:
        temporary.write_text("x")
    message = str(caught.value)
    assert str(path) in message
    assert "Errno" not in message
    return message


def test_what_cannot_be_written_is_answered_by_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    assert "not a folder" in refused(tmp_path / "file" / "a.png")
    assert "not a folder" in refused(tmp_path / "file" / "deeper" / "a.png")
    assert "a folder has that name" in refused(tmp_path / "folder")
    assert "too long" in refused(tmp_path / ("x" * 300))
    assert listed(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    assert "may not write" in refused(tmp_path / "a.png")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("number", "sentence"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "may not write"), (errno.EROFS, "read-only")]
)
def test_a_disk_that_refuses_late(tmp_path, monkeypatch, number, sentence):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "a.png").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    assert sentence in refused(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old"
    assert listed(tmp_path) == ["a.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_real_limit_also_behind_torch(tmp_path):
    """A file-size limit stands for the full disk: the write itself fails half-way, within torch.save."""
    program = """
import resource, sys, torch
from fcn.core.files import written
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with written(sys.argv[1]) as temporary, open(temporary, "wb") as file:
        torch.save(torch.zeros(100_000), file)
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "a.pt"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {tmp_path / 'a.pt'}: it grew past the largest size")
    assert listed(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file_and_its_rest_can_be_removed(tmp_path):
    (tmp_path / "a.pt").write_text("old")
    (tmp_path / ".hidden.part").write_text("a person's own")
    program = f"""
import os, signal
from fcn.core.files import written
with written({str(tmp_path / "a.pt")!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode != 0
    assert len(listed(tmp_path)) == 3
    remove_unfinished(tmp_path)
    assert listed(tmp_path) == [".hidden.part", "a.pt"]
    assert (tmp_path / "a.pt").read_text() == "old"


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path):
    def write(letter: str) -> None:
        for _ in range(5):
            with written(tmp_path / "a.txt") as temporary:
                temporary.write_text(letter * 10_000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listed(tmp_path) == ["a.txt"]
    text = (tmp_path / "a.txt").read_text()
    assert text == text[0] * 10_000
