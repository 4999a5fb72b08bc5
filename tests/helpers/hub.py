"""A hub on this machine, which speaks as much of the Hugging Face Hub's protocol as its client asks for here.

Repositories are dictionaries; files whose names end as below go the way of large files, by a storage that is another host
than the hub, and must never be sent a token.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_of_ada"
OWNER = "ada"
LARGE = (".safetensors", ".png", ".bin", ".pkl")


@dataclass
class Repo:
    """A repository: what each commit holds, and which commit each branch or tag names."""

    private: bool = False
    gated: bool = False
    commits: dict = field(default_factory=dict)
    refs: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)

    def commit(self, files, branch="main", message=""):
        number = hashlib.sha1(f"{len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[number] = dict(files)
        self.refs[branch] = number
        self.messages.append(message)
        return number

    def find(self, revision):
        return self.refs.get(revision, revision if revision in self.commits else None)


class Hub:
    """All repositories, what was uploaded, and each request that was made.

    Attributes:
        repos: by OWNER/NAME.
        asked: method and path of each request.
        sizes: what is said of the size of a file in place of the truth, by name.
        commit: what is said of the commit of each file and repository in place of the truth; None for the truth.
        fails: a status that everything is answered with; None for none.
    """

    def __init__(self):
        self.repos, self.blobs, self.asked, self.sizes, self.commit, self.fails = {}, {}, [], {}, None, None
        self.address = self.storage = ""

    def put(self, repo, files, **state):
        """A repository with these files in its newest commit, whose hash this gives."""
        found = self.repos.setdefault(repo, Repo(**state))
        return found.commit(files)

    def head(self, repo, branch="main"):
        """The files of the newest commit."""
        return self.repos[repo].commits[self.repos[repo].refs[branch]]


class Refused(Exception):
    """A status, and the code by which the client knows what it means."""

    def __init__(self, status, code=""):
        super().__init__(status, code)
        self.status, self.code = status, code


class Answers(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        """Nothing is said of requests."""

    def do_GET(self):
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self._chunks())
        place = urlsplit(self.path)
        path, self.query = unquote(place.path), parse_qs(place.query)
        self.hub.asked.append((self.command, path))
        try:
            if self.hub.fails is not None:
                raise Refused(self.hub.fails)
            for pattern, method, name in ROUTES:
                if self.command in method and (found := re.fullmatch(pattern, path)):
                    return getattr(self, name)(*found.groups(), body=body)
            raise Refused(404)
        except Refused as why:
            self._send(why.status, b'{"error": "no"}', {"X-Error-Code": why.code} if why.code else {})

    def _chunks(self):
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, status, content=b"", headers=()):
        self.send_response(status)
        said = {"Content-Length": str(len(content)), **dict(headers)}
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content, status=200):
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repo(self, name):
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self._known()):
            raise Refused(404 if self._known() else 401, "RepoNotFound")
        if repo.gated:
            raise Refused(403, "GatedRepo")
        return repo

    def _files(self, name, revision):
        repo = self._repo(name)
        commit = repo.find(revision)
        if commit is None:
            raise Refused(404, "RevisionNotFound")
        return commit, repo.commits[commit]

    def _writes(self, name):
        if not self._known():
            raise Refused(401)
        if not name.startswith(f"{OWNER}/"):
            raise Refused(403)
        return self._repo(name)

    # what may be asked

    def create(self, body):
        said = json.loads(body)
        name = f"{said['organization'] or OWNER}/{said['name']}"
        if not self._known():
            raise Refused(401)
        if not name.startswith(f"{OWNER}/"):
            raise Refused(403)
        url = {"url": f"{self.hub.address}/{name}"}
        if name in self.hub.repos:
            return self._json({**url, "error": "You already created this model repo"}, 409)
        self.hub.put(name, {".gitattributes": b""}, private=said.get("visibility") == "private")
        return self._json(url)

    def yaml(self, body):
        import yaml

        text = json.loads(body)["content"]
        assert isinstance(yaml.safe_load(text.split("---\n")[1]), dict)
        self._json({"errors": [], "warnings": []})

    def branch(self, name, branch, body):
        repo = self._writes(name)
        if branch in repo.refs:
            return self._json({"error": "there already"}, 409)
        repo.refs[branch] = repo.refs["main"]
        return self._json({})

    def modes(self, name, revision, body):
        self._writes(name)
        found = [
            {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular", "shouldIgnore": False}
            for one in json.loads(body)["files"]
        ]
        self._json({"files": found})

    def batch(self, name, body):
        self._writes(name)
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.storage}/put/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def store(self, oid, body):
        assert "Authorization" not in self.headers
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.blobs[oid] = body
        self._send(200)

    def commit(self, name, revision, body):
        repo = self._writes(name)
        files, message = dict(self._files(name, revision)[1]), ""
        for line in body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "header":
                message = value["summary"]
            elif said["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif said["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            else:
                del files[value["path"]]
        number = repo.commit(files, revision, message)
        self._json({"commitUrl": f"{self.hub.address}/{name}/commit/{number}", "commitOid": number})

    def info(self, name, revision="main", body=b""):
        commit, _ = self._files(name, revision)
        self._json({"id": name, "sha": self.hub.commit or commit, "private": self._repo(name).private})

    def paths(self, name, revision, body):
        _, files = self._files(name, revision)
        wanted = parse_qs(body.decode())["paths"]
        self._json([
            {"type": "file", "path": path, "size": self.hub.sizes.get(path, len(files[path])), "oid": "0" * 40}
            for path in wanted
            if path in files
        ])  # fmt: skip

    def resolve(self, name, revision, path, body):
        commit, files = self._files(name, revision)
        if path not in files:
            raise Refused(404, "EntryNotFound")
        content, headers = files[path], {"X-Repo-Commit": self.hub.commit or commit}
        if not path.endswith(LARGE):
            etag = hashlib.sha1(content).hexdigest()
            return self._send(200, content, {**headers, "ETag": f'"{etag}"'})
        oid = hashlib.sha256(content).hexdigest()
        self.hub.blobs[oid] = content
        place = {"Location": f"{self.hub.storage}/get/{oid}"}
        linked = {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        return self._send(302, b"", {**headers, **linked, **place})

    def fetch(self, oid, body):
        assert "Authorization" not in self.headers
        self._send(200, self.hub.blobs[oid], {"ETag": f'"{oid}"'})


NAME, REST = r"([^/]+/[^/]+)", r"(.+)"
ROUTES = [
    (r"/api/repos/create", ("POST",), "create"),
    (r"/api/validate-yaml", ("POST",), "yaml"),
    (rf"/api/models/{NAME}/branch/{REST}", ("POST",), "branch"),
    (rf"/api/models/{NAME}/preupload/{REST}", ("POST",), "modes"),
    (rf"/api/models/{NAME}/commit/{REST}", ("POST",), "commit"),
    (rf"/api/models/{NAME}/paths-info/{REST}", ("POST",), "paths"),
    (rf"/api/models/{NAME}/revision/{REST}", ("GET",), "info"),
    (rf"/api/models/{NAME}", ("GET",), "info"),
    (rf"/{NAME}\.git/info/lfs/objects/batch", ("POST",), "batch"),
    (rf"/{NAME}/resolve/([^/]+)/{REST}", ("GET", "HEAD"), "resolve"),
    (r"/put/([0-9a-f]+)", ("PUT",), "store"),
    (r"/get/([0-9a-f]+)", ("GET", "HEAD"), "fetch"),
]
"""What is asked for, by which methods, and who answers."""


@contextmanager
def running():
    """A hub that answers, until the end."""
    hub = Hub()
    kind = type("Bound", (Answers,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        # two names of one machine are two hosts to a client
        hub.address, hub.storage = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
