"""Downloads from a server on this machine that cuts, lies and refuses; archives that try to leave their folder."""

import hashlib
import io
import multiprocessing
import os
import shutil
import socket
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest

from fcn.data import download as module
from fcn.data.download import Archive, download, extract, fetch
from tests.data.local_server import Server

DATA = os.urandom(3_000_000)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestDownload:
    def test_whole(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA)
        path = tmp_path / "new" / "folder" / "a.bin"
        assert download(url, path, server.md5("a.bin"), len(DATA)) == path
        assert path.read_bytes() == DATA
        assert left(path.parent) == ["a.bin"]
        download(url, path, server.md5("a.bin"))
        assert len(server.requests) == 1

    @pytest.mark.parametrize("length", [True, False])
    def test_wrong_checksum(self, tmp_path: Path, server: Server, length: bool) -> None:
        url = server.offer("a.bin", DATA, length=length)
        with pytest.raises(ValueError, match=r"has the checksum [0-9a-f]{32} instead of 0{32} and was deleted"):
            download(url, tmp_path / "a.bin", "0" * 32, progress=False)
        assert left(tmp_path) == []

    def test_wrong_size_is_seen_before(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA)
        with pytest.raises(ValueError, match="has 3000000 bytes instead of 5"):
            download(url, tmp_path / "a.bin", server.md5("a.bin"), 5, progress=False)
        assert left(tmp_path) == []

    def test_cut_connections_are_continued(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA, cuts=(1_000_000, 500_000, 0, 0, 0, 100_000, 0, 0, 0))
        download(url, tmp_path / "a.bin", server.md5("a.bin"), progress=False)
        assert (tmp_path / "a.bin").read_bytes() == DATA
        assert [asked for _, asked in server.requests][:3] == [None, "bytes=1000000-", "bytes=1500000-"]

    def test_too_many_cuts_keep_the_part_for_the_next_time(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA, cuts=(1_000_000, 0, 0, 0, 0))
        with pytest.raises(ConnectionError, match=r"cut after 1000000 of 3000000 bytes.*start again"):
            download(url, tmp_path / "a.bin", server.md5("a.bin"), progress=False)
        assert left(tmp_path) == ["a.bin.part"]
        download(url, tmp_path / "a.bin", server.md5("a.bin"), progress=False)
        assert (tmp_path / "a.bin").read_bytes() == DATA
        assert server.requests[-1][1] == "bytes=1000000-"

    def test_server_that_ignores_range(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA, ranges=False, cuts=(2_000_000,))
        download(url, tmp_path / "a.bin", server.md5("a.bin"), progress=False)
        assert (tmp_path / "a.bin").read_bytes() == DATA

    @pytest.mark.parametrize("size", [None, len(DATA)])
    def test_part_that_is_complete(self, tmp_path: Path, server: Server, size: int | None) -> None:
        url = server.offer("a.bin", DATA)
        (tmp_path / "a.bin.part").write_bytes(DATA)
        download(url, tmp_path / "a.bin", server.md5("a.bin"), size, progress=False)
        assert (tmp_path / "a.bin").read_bytes() == DATA

    def test_part_that_is_too_long(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA)
        (tmp_path / "a.bin.part").write_bytes(DATA + b"more")
        download(url, tmp_path / "a.bin", server.md5("a.bin"), len(DATA), progress=False)
        assert (tmp_path / "a.bin").read_bytes() == DATA

    def test_part_of_another_file(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA)
        (tmp_path / "a.bin.part").write_bytes(b"another")
        with pytest.raises(ValueError, match="was deleted: start again"):
            download(url, tmp_path / "a.bin", server.md5("a.bin"), progress=False)
        download(url, tmp_path / "a.bin", server.md5("a.bin"), progress=False)
        assert (tmp_path / "a.bin").read_bytes() == DATA

    def test_file_that_was_there_and_is_wrong(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA)
        (tmp_path / "a.bin").write_bytes(b"mine")
        with pytest.raises(ValueError, match="delete it and start again"):
            download(url, tmp_path / "a.bin", server.md5("a.bin"), progress=False)
        assert (tmp_path / "a.bin").read_bytes() == b"mine"

    def test_not_found(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA).replace("a.bin", "b.bin")
        with pytest.raises(ConnectionError, match=r"b\.bin answers 404 .*by hand as .*b\.bin$"):
            download(url, tmp_path / "b.bin", "", progress=False)
        assert len(server.requests) == 1

    def test_no_network(self, tmp_path: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/a.bin"
        with pytest.raises(ConnectionError, match=r"cannot be fetched .*see to the network"):
            download(url, tmp_path / "a.bin", "", progress=False)
        assert left(tmp_path) == []

    def test_disk_without_room(self, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
        with pytest.raises(OSError, match=r"needs 0\.0 GB .*make room"):
            download(server.offer("a.bin", DATA), tmp_path / "a.bin", server.md5("a.bin"), progress=False)
        assert len(server.requests) == 1

    def test_two_processes(self, tmp_path: Path, server: Server) -> None:
        url = server.offer("a.bin", DATA, cuts=(1_000_000,) * 2)
        context = multiprocessing.get_context("fork")
        arguments = (url, tmp_path / "a.bin", server.md5("a.bin"), len(DATA), False)
        workers = [context.Process(target=download, args=arguments) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert len(server.requests) == 3  # one download of three connections
        assert left(tmp_path) == ["a.bin"]
        assert (tmp_path / "a.bin").read_bytes() == DATA


def tar(path: Path, members: dict[str, bytes | str | None], mode: str = "w") -> Path:
    """Bytes are a file, None is a folder, a text is the target of a symbolic link."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


class TestExtract:
    @pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
    def test_whole(self, tmp_path: Path, mode: str) -> None:
        archive = tar(tmp_path / "a.tar", {"kit": None, "kit/a": None, "kit/a/x.txt": b"x", "kit/b/y.txt": b"y", "z.txt": b"z"}, mode)
        folder = extract(archive, tmp_path / "out" / "b", inside="kit/b")
        assert left(folder) == ["y.txt"]
        assert left(folder.parent) == ["b"]
        archive.unlink()
        assert extract(archive, folder) == folder  # it is there: nothing to do
        assert left(extract(tar(archive, {"x": b"x"}), tmp_path / "all", progress=False)) == ["x"]

    @pytest.mark.parametrize(
        "members",
        [
            {"kit/x": b"x", "../outside": b"!"},
            {"kit/out": "../../..", "kit/out/outside": b"!"},
            {"kit/link": "/etc/passwd"},
            {"a/../../outside": b""},
            {"kit/x": b"x", "kit/up": ".."},  # within the archive, and out of kit once that has moved
            {"other/x": b"x", "kit/x": "../other/x"},
            {"kit/a/x": b"x", "kit/a/b": "../../other"},
            {"kit/a/x": b"x", "kit/a/b": "../.", "kit/a/c": "b/.."},
            {"real/x": b"x", "kit": "real"},
            {"kit/x": b"x", "kit/link": "x", "kit/./link": b"over it"},
            {"kit/deep/x": b"x", "kit/link": "deep", "kit/link/y": b"below it"},
            {"kit/link": "nowhere", "kit/link/y": b"below it"},
        ],
    )
    def test_cannot_leave_its_folder(self, tmp_path: Path, members: dict[str, bytes | str | None]) -> None:
        (tmp_path / "data").mkdir()
        archive = tar(tmp_path / "bad.tar", members)
        with pytest.raises(ValueError, match=r"bad\.tar is not safe to unpack"):
            extract(archive, tmp_path / "data" / "kit", inside="kit", progress=False)
        assert left(tmp_path) == ["bad.tar", "data"]
        assert left(tmp_path / "data") == []

    @pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE])
    def test_devices_and_hard_links_out_of_the_archive_are_refused(self, tmp_path: Path, kind: bytes) -> None:
        (tmp_path / "secret").write_text("mine")
        member = tarfile.TarInfo("kit/x")
        member.type, member.linkname = kind, "../secret"
        with tarfile.open(tmp_path / "bad.tar", "w") as archive:
            archive.addfile(member)
        with pytest.raises(ValueError, match=r"bad\.tar (is not safe to unpack|cannot be unpacked)"):
            extract(tmp_path / "bad.tar", tmp_path / "kit", inside="kit", progress=False)
        assert left(tmp_path) == ["bad.tar", "secret"]

    def test_links_within_are_kept(self, tmp_path: Path) -> None:
        archive = tar(tmp_path / "a.tar", {"kit/a/x": b"x", "kit/b/y": "../a/x", "kit/c": "a", "kit/gone": "a/nothing", "up": "kit"})
        folder = extract(archive, tmp_path / "out" / "kit", inside="kit", progress=False)
        assert (folder / "b" / "y").read_bytes() == (folder / "c" / "x").read_bytes() == b"x"
        assert left(folder.parent) == ["kit"]

    @pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
    def test_broken(self, tmp_path: Path, mode: str) -> None:
        archive = tar(tmp_path / "bad.tar", {"kit/x": b"x", "kit/big": os.urandom(100_000), "kit/y": b"y"}, mode)
        archive.write_bytes(archive.read_bytes()[:50_000])
        with pytest.raises(ValueError, match=r"bad\.tar cannot be unpacked"):
            extract(archive, tmp_path / "kit", inside="kit", progress=False)
        assert left(tmp_path) == ["bad.tar"]

    def test_another_archive(self, tmp_path: Path) -> None:
        archive = tar(tmp_path / "a.tar", {"other/x": b"x"})
        with pytest.raises(ValueError, match="has no folder kit"):
            extract(archive, tmp_path / "kit", inside="kit", progress=False)
        assert left(tmp_path) == ["a.tar"]

    def test_what_a_killed_process_left_is_cleared(self, tmp_path: Path) -> None:
        (tmp_path / ".kit.unpacking").mkdir()
        (tmp_path / ".kit.unpacking" / "stale").touch()
        (tmp_path / ".kit.lock").touch()
        extract(tar(tmp_path / "a.tar", {"x": b"x"}), tmp_path / "kit", progress=False)
        assert left(tmp_path) == ["a.tar", "kit"]
        assert left(tmp_path / "kit") == ["x"]


class TestFetch:
    def offered(self, tmp_path: Path, server: Server) -> tuple[Archive, bytes]:
        data = tar(tmp_path / "made.tar", {"kit/x": b"x"}).read_bytes()
        return Archive(server.offer("kit.tar", data), hashlib.md5(data).hexdigest(), len(data), "kit"), data

    def test_archive_goes_after(self, tmp_path: Path, server: Server) -> None:
        archive, _ = self.offered(tmp_path, server)
        root = tmp_path / "root"
        for _ in range(2):
            assert left(fetch(archive, root, progress=False)) == ["x"]
        assert left(root) == ["kit"]
        assert len(server.requests) == 1

    def test_archive_that_was_there_is_used_and_kept(self, tmp_path: Path, server: Server) -> None:
        archive, data = self.offered(tmp_path, server)
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / "kit.tar").write_bytes(data)
        fetch(archive, tmp_path / "root", progress=False)
        assert left(tmp_path / "root") == ["kit", "kit.tar"]
        assert server.requests == []
