"""A web server on this machine, with the faults of web servers."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple


class Offer(NamedTuple):
    data: bytes
    ranges: bool  # honours Range
    length: bool  # tells Content-Length


class Server:
    """Serves what it is offered; ``requests`` are the (path, Range or None) of those that came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.offers: dict[str, Offer] = {}
        self.cuts: dict[str, list[int]] = {}  # bytes after which the next connections end, per path
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> "Server":
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def offer(self, name: str, data: bytes, *, cuts: tuple[int, ...] = (), ranges: bool = True, length: bool = True) -> str:
        """The address of ``data``; each of ``cuts`` ends one connection after so many bytes."""
        self.offers[f"/{name}"] = Offer(data, ranges, length)
        self.cuts[f"/{name}"] = list(cuts)
        return f"http://127.0.0.1:{self.http.server_port}/{name}"

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
