"""A small hub on this machine: what ``huggingface_hub`` asks of the real one to make a repository, to write to it and to read it."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler

from tests.local_http import LocalServer

TOKEN = "hf_of_the_test"


class Hub(LocalServer):
    """Repositories as commits, each all files by name. ``requests`` are those that came, as "METHOD path"."""

    def __init__(self) -> None:
        super().__init__("HTTP/1.1")
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.requests: list[str] = []

    def offer(self, name: str, **files: bytes) -> None:
        """Make a repository with one commit; ``__`` in a name of a file stands for the dot."""
        self.repositories[name] = [{key.replace("__", "."): value for key, value in files.items()}]

    def commit(self, name: str) -> str:
        """The name of the last commit of a repository: another one for other files."""
        return hashlib.sha1(repr(sorted(self.repositories[name][-1].items())).encode(), usedforsecurity=False).hexdigest()

    def asked(self, part: str) -> int:
        """How many requests had ``part`` in their path."""
        return sum(part in request for request in self.requests)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.requests.append(f"{handler.command} {path}")
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        may_write = handler.headers.get("Authorization") == f"Bearer {TOKEN}"
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(handler, *found.groups())
        elif not may_write:
            self.send(handler, 401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in self.repositories
            self.repositories.setdefault(name, [{}])
            self.send(handler, 409 if known else 200, {"url": f"{self.address}/{name}"})
        elif path == "/api/validate-yaml":
            self.send(handler, 200, {"warnings": [], "errors": []})
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self.send(handler, 200, {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            lines = [json.loads(line) for line in body.splitlines()]
            files = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"}
            commits = self.repositories[found[1]]
            commits.append({**commits[-1], **files})
            commit = self.commit(found[1])
            self.send(handler, 200, {"commitUrl": f"{self.address}/{found[1]}/commit/{commit}", "commitOid": commit})
        else:
            self.send(handler, 500, {"error": f"the hub of the tests does not know {path}"})

    def resolve(self, handler: BaseHTTPRequestHandler, name: str, revision: str, file: str) -> None:
        if name not in self.repositories:
            self.send(handler, 401, {}, ("X-Error-Code", "RepoNotFound"))
        elif name.endswith("-gated"):
            self.send(handler, 403, {}, ("X-Error-Code", "GatedRepo"))
        elif revision not in ("main", self.commit(name)):
            self.send(handler, 404, {}, ("X-Error-Code", "RevisionNotFound"))
        elif file not in self.repositories[name][-1]:
            self.send(handler, 404, {}, ("X-Error-Code", "EntryNotFound"), ("X-Repo-Commit", self.commit(name)))
        else:
            data = self.repositories[name][-1][file]
            tag = hashlib.sha256(data).hexdigest()
            self.send(handler, 200, data, ("X-Repo-Commit", self.commit(name)), ("ETag", f'"{tag}"'))

    def send(self, handler: BaseHTTPRequestHandler, status: int, content: bytes | dict[str, object], *headers: tuple[str, str]) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(data)))):
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)
