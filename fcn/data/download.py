"""Downloads of large archives: whole, or not there at all.

A file is downloaded to ``NAME.part``. A download that was cut goes on there. The file gets its final name only if its checksum is right. An
archive is unpacked beside its place, and moved there when it is complete. So a file with its final name is complete, after any crash. Two
processes that want the same file wait for each other (a file lock, if the system has them).
"""

import errno
import hashlib
import http.client
import lzma
import os
import posixpath
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fcn.core.errors import UserError
from fcn.core.progress import Progress

try:
    import fcntl
except ImportError:  # Windows: no lock; finished files are still whole
    fcntl = None  # type: ignore[assignment]

_ATTEMPTS = 5  # in a row without a single new byte
_PAUSE = 1.0  # seconds before the second attempt, doubled for each further one
_TIMEOUT = 30.0  # seconds without an answer
_BLOCK = 1 << 20  # bytes
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class Archive(NamedTuple):
    """An archive that is published at one address: checksum, size in bytes, and the folder inside that holds the data set."""

    url: str
    md5: str
    size: int
    inside: str


def fetch(archive: Archive, root: str | PathLike[str], *, progress: bool = True) -> Path:
    """Downloads and unpacks an archive to ``root / archive.inside`` unless that is there; the archive is deleted after, if it was fetched.

    An archive that already lies in ``root`` is used. Returns the folder. Raises as :func:`download` and :func:`extract` do.
    """
    folder = Path(root, archive.inside)
    file = Path(root, archive.url.rpartition("/")[2])
    with _lock(Path(root, f".{file.name}.fetch")):
        if not folder.is_dir():
            had_it = file.exists()
            download(archive.url, file, archive.md5, archive.size, progress)
            extract(file, folder, inside=archive.inside, progress=progress)
            if not had_it:
                file.unlink()
    return folder


def download(url: str, path: str | PathLike[str], md5: str, size: int | None = None, progress: bool = True) -> Path:
    """Fetches ``url`` to ``path``; does nothing if the file is there with the right checksum.

    What an earlier attempt left in ``path.part`` is continued if the server can; a cut connection is taken up again a few times. Raises
    UserError for a wrong checksum or size; the part is deleted, since it can never become right. Raises ConnectionError where the server
    cannot be reached or refuses; the part is kept. Raises OSError where the disk has no room.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with _lock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            if _md5(path) != md5:
                raise UserError(f"{path} has not the checksum {md5} of {url}: delete it and start again")
            return path
        _receive(url, part, size, progress)
        found = _md5(part)
        if found != md5:
            part.unlink()
            raise UserError(
                f"what came from {url} has the checksum {found} instead of {md5} and was deleted: start again, or get {path} by hand"
            )
        os.replace(part, path)
    return path


def extract(archive: str | PathLike[str], folder: str | PathLike[str], *, inside: str = ".", progress: bool = True) -> Path:
    """Unpacks the folder ``inside`` of a tar archive (any compression) as ``folder``; does nothing if that is there.

    No member may leave the folder, or be written below or over a link. Each is a file, a folder or a link within ``inside``: other links
    may point anywhere once their folder has moved. Raises UserError, naming the archive, for such a member, a broken archive or one without
    ``inside``; OSError where the disk has no room.
    """
    archive, folder = Path(archive), Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return folder
        _need_room(folder.parent, archive.stat().st_size, f"unpacking {archive}")
        unpacked = folder.with_name(f".{folder.name}.unpacking")
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            _unpack(archive, unpacked, progress)
            _refuse_leading_out(archive, unpacked, inside)
            if not (unpacked / inside).is_dir():
                raise UserError(f"{archive} has no folder {inside}: it is another archive than expected")
            os.replace(unpacked / inside, folder)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
    return folder


class _DiskError(OSError):
    """The disk has less room than is needed."""


class _CutError(Exception):
    """The connection ended before the file did."""


def _receive(url: str, part: Path, size: int | None, progress: bool) -> None:
    """Fills ``part`` to the end, in as many connections as it takes."""
    failures = 0
    while size is None or _size(part) != size:
        before = _size(part)
        try:
            return _connect(url, part, size, progress)
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing left to send, or a part of another file
                return
            if error.code < 500 and error.code not in (408, 429):
                raise ConnectionError(f"{url} answers {error.code} {error.reason}: get the file by hand as {_final(part)}") from None
            reason: object = f"{error.code} {error.reason}"
        except _DiskError:
            raise
        except (OSError, http.client.HTTPException, _CutError) as error:
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise OSError(f"{part} cannot be written ({error.strerror}): make room and start again; what came is kept") from None
            reason = getattr(error, "reason", None) or error
        failures = 1 if _size(part) > before else failures + 1
        if failures == _ATTEMPTS:
            raise ConnectionError(
                f"{url} cannot be fetched ({reason}): see to the network and start again (what came is continued), "
                f"or get the file by hand as {_final(part)}"
            )
        time.sleep(_PAUSE * 2 ** (failures - 1))


def _connect(url: str, part: Path, size: int | None, progress: bool) -> None:
    """One connection: asks for what is missing and appends it; begins anew where the server sends everything."""
    have = _size(part)
    if size is not None and have > size:
        part.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": "fcn", **({"Range": f"bytes={have}-"} if have else {})})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        if not (response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else size
        if size is not None and total != size:
            raise UserError(f"{url} has {total} bytes instead of {size}: it has changed; get the file by hand as {_final(part)}")
        if total is not None:
            _need_room(part.parent, total - have, f"downloading {url}")
        name = _final(part).name
        with (
            part.open("ab" if have else "wb") as file,
            Progress(name, total, "bytes", start=have, shown=progress, scaled=True) as bar,
        ):
            while block := response.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and _size(part) < total:
        raise _CutError(f"connection cut after {_size(part)} of {total} bytes")


def _unpack(archive: Path, folder: Path, progress: bool) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UserError(f"this Python ({sys.version.split()[0]}) cannot unpack archives safely: use 3.11.4 or newer")
    try:
        with (
            tarfile.open(archive) as tar,
            Progress(f"unpacking {archive.name}", None, "files", shown=progress) as bar,
        ):
            folder.mkdir()
            allowed = _filter()
            for member in tar:
                tar.extract(member, folder, filter=allowed)
                bar.update()
    except tarfile.FilterError as error:
        raise _unsafe(archive, error) from None
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise OSError(f"{archive} cannot be unpacked in {folder.parent} ({error.strerror}): make room and start again") from None
        raise UserError(f"{archive} cannot be unpacked ({error}): delete it and start again") from None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}): delete it and start again") from None


def _filter() -> "Callable[[tarfile.TarInfo, str], tarfile.TarInfo]":
    """tarfile's "data" filter, which keeps members and links within the folder. No member may lie below or over an earlier link either. So
    no path goes through a link, whatever that is resolved to."""
    links: set[str] = set()

    def allowed(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
        name = posixpath.normpath(member.name.lstrip("/"))
        parts = name.split("/")
        through = next((path for path in ("/".join(parts[: end + 1]) for end in range(len(parts))) if path in links), None)
        if through is not None:
            raise tarfile.OutsideDestinationError(member, f"{folder}, through the link '{through}'")
        if member.issym():
            links.add(name)
        return tarfile.data_filter(member, folder)

    return allowed


def _refuse_leading_out(archive: Path, unpacked: Path, inside: str) -> None:
    """Raises UserError where a link leads out of the part that is kept, or lies on the way to it."""
    kept = unpacked
    for part in PurePosixPath(inside).parts:
        kept = kept / part
        if kept.is_symlink():
            raise _unsafe(archive, f"'{kept.relative_to(unpacked)}' is a link")
    home = kept.resolve()
    for place, folders, files in os.walk(kept):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise _unsafe(archive, f"'{path.relative_to(unpacked)}' is a link to {os.readlink(path)}, outside of {inside}")


def _unsafe(archive: Path, reason: object) -> UserError:
    return UserError(f"{archive} is not safe to unpack ({reason}): nothing was unpacked")


def _need_room(folder: Path, size: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise _DiskError(
            f"{what} needs {size / 1e9:.1f} GB in {folder}, which has {free / 1e9:.1f} GB left: make room or choose another folder"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _final(part: Path) -> Path:
    return part.with_name(part.name.removesuffix(".part"))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Holds the lock file ``path``, waiting for another process that has it; it ends with its process, and the file goes with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
                continue  # its last holder has removed it
            try:
                yield
            finally:
                path.unlink()
            return
