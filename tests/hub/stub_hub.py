"""A small Hub on localhost: the endpoints that `upload_folder` uses, with faults on demand."""

import base64
import hashlib
import json
import re
import socket
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


TOKEN = "hf_the_one_token_the_stub_accepts"


class StubHub:
    """Keeps the files of every repository in memory.

    `faults` maps a word of the path to a list of answers used up one by one: a status, or `"drop"` to close the
    connection without an answer. `lfs_suffixes` says which files go through LFS.
    """

    def __init__(self, lfs_suffixes: tuple[str, ...] = (".safetensors",)):
        self.files: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.repos: dict[str, dict] = {}
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.faults: dict[str, list] = {}
        self.lfs_suffixes = lfs_suffixes
        self.objects: dict[str, bytes] = {}
        hub = self

        class Handler(_Handler):
            stub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "StubHub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: StubHub

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_HEAD = do_GET

    def _handle(self) -> None:
        body = self._body()
        path = self.path.split("?")[0]
        self.stub.requests.append(f"{self.command} {path}")
        for word, answers in self.stub.faults.items():
            if word in path and answers:
                fault = answers.pop(0)
                if fault == "drop":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return None
                return self._send(fault, {"error": f"fault {fault}"})
        if path.startswith("/lfs/"):
            return self._store_object(path.removeprefix("/lfs/"), body)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"error": "Invalid user token."})
        if path == "/api/whoami-v2":
            return self._send(200, {"name": "tester", "type": "user", "orgs": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._send(200, {"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            return self._preupload(json.loads(body))
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return self._lfs_batch(json.loads(body))
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            return self._commit(match[1], body)
        if (match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main)?", path)) and match[
            1
        ] in self.stub.repos:
            return self._send(200, {"id": match[1], "sha": "0" * 40, "siblings": []})
        return self._send(404, {"error": f"no such endpoint {path}"})

    def _create(self, request: dict) -> None:
        name = f"{request.get('organization') or 'tester'}/{request['name']}"
        url = {"url": f"{self.stub.url}/{name}", "id": name, "name": name}
        if name in self.stub.repos:
            return self._send(409, {"error": "You already created this model repo", **url})
        self.stub.repos[name] = request
        return self._send(200, url)

    def _preupload(self, request: dict) -> None:
        answers = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(self.stub.lfs_suffixes) else "regular",
                "shouldIgnore": False,
            }
            for file in request["files"]
        ]
        self._send(200, {"files": answers})

    def _lfs_batch(self, request: dict) -> None:
        objects = []
        for item in request["objects"]:
            if item["oid"] not in self.stub.objects:
                item = {**item, "actions": {"upload": {"href": f"{self.stub.url}/lfs/{item['oid']}"}}}
            objects.append(item)
        self._send(200, {"transfer": "basic", "objects": objects})

    def _store_object(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._send(400, {"error": "the content does not match its oid"})
        self.stub.objects[oid] = body
        return self._send(200, {})

    def _commit(self, repo: str, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.stub.messages.append(value["summary"])
            elif entry["key"] == "file":
                self.stub.files[repo][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.stub.files[repo][value["path"]] = self.stub.objects[value["oid"]]
        self._send(200, {"commitUrl": f"{self.stub.url}/{repo}/commit/{'a' * 40}", "commitOid": "a" * 40})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, content: dict) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
