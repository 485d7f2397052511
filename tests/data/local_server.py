"""A web server on this machine, with the faults of web servers."""

import hashlib
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from tests.local_http import LocalServer


class Offer(NamedTuple):
    data: bytes
    ranges: bool  # honours Range
    length: bool  # tells Content-Length


class Server(LocalServer):
    """Serves what it is offered; ``requests`` are the (path, Range or None) of those that came."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str | None]] = []
        self.offers: dict[str, Offer] = {}
        self.cuts: dict[str, list[int]] = {}  # bytes after which the next connections end, per path

    def offer(self, name: str, data: bytes, *, cuts: tuple[int, ...] = (), ranges: bool = True, length: bool = True) -> str:
        """The address of ``data``; each of ``cuts`` ends one connection after so many bytes."""
        self.offers[f"/{name}"] = Offer(data, ranges, length)
        self.cuts[f"/{name}"] = list(cuts)
        return f"{self.address}/{name}"

    def md5(self, name: str) -> str:
        return hashlib.md5(self.offers[f"/{name}"].data).hexdigest()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        if handler.path not in self.offers:
            handler.send_error(404)
            return
        data, ranges, length = self.offers[handler.path]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ranges else 0
        if start and start >= len(data):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if length:
            handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        cut = self.cuts[handler.path].pop(0) if self.cuts[handler.path] else len(data)
        handler.wfile.write(data[start : start + cut])
