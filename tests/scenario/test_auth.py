# SPDX-License-Identifier: Apache-2.0
"""Tokens and TLS of the HTTP server, with real certificates and the real curl."""
import base64
import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.parse

import pytest
import sawlog
from sawlog import wait_for

PEM = """
set -e
cd "$1"
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 \
        -keyout "$1.key" -out "$1.pem" -subj "/CN=$1"
}
leaf() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$2.key" -out "$2.csr" -subj "/CN=$2"
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' >ext
    openssl x509 -req -in "$2.csr" -CA "$1.pem" -CAkey "$1.key" -CAcreateserial -days 2 \
        -extfile ext -out "$2.pem"
    chmod 600 "$2.key"
}
authority ca
authority otherca
leaf ca server
leaf ca renewed
leaf ca client
leaf otherca stranger
"""


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    subprocess.run(["bash", "-c", PEM, "-", folder], check=True, capture_output=True)
    return folder


def create(tokens, name="test", **flags):
    args = [x for k, v in flags.items() for x in (f"--{k}", v)]
    made = sawlog.run("token", "create", "--tokens-file", tokens, *args, name)
    assert made.returncode == 0, made.stderr
    return made.stdout.decode().strip()


class Secure(sawlog.Server):
    """A server with tokens and, unless told otherwise, TLS; asked by curl."""

    def __init__(self, folder, pem, tls=True, client_ca=False, auth=True, **kw):
        super().__init__(folder, **kw)
        self.pem, self.tls = pem, tls
        self.tokens = self.folder / "tokens"
        text = ""
        if tls:
            text += f"http: {{tls: {{cert: {pem}/server.pem, key: {pem}/server.key"
            text += f", client_ca: {pem}/ca.pem}}}}\n" if client_ca else "}}\n"
        if auth:
            text += f"auth: {{tokens_file: {self.tokens}}}\n"
        self.config = self.folder / "sawlog.yaml"
        self.config.write_text(text)
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"

    def curl(self, path, *args, token=None, check=True):
        args = ["-sS", "--max-time", "20", "--cacert", str(self.pem / "ca.pem"), *map(str, args)]
        if token:
            args += ["-H", f"Authorization: Bearer {token}"]
        r = subprocess.run(["curl", *args, "-w", "\n%{http_code}", self.url + path],
                           capture_output=True, text=True)
        assert r.returncode == 0 or not check, r.stderr
        body, _, status = r.stdout.rpartition("\n")
        return int(status), body

    def is_ready(self):
        assert self.running, f"the server ended: {self.err[-2000:]}"
        args = ["--cert", f"{self.pem}/client.pem", "--key", f"{self.pem}/client.key"]
        return self.curl("/ready", *(args if self.tls else []), check=False)[0] == 200

    def push_line(self, line, token=None, *args):
        body = json.dumps({"streams": [{"stream": {"app": "a"},
                                        "values": [[str(time.time_ns()), line]]}]})
        return self.curl("/loki/api/v1/push", "-H", "Content-Type: application/json",
                         "-d", body, *args, token=token)

    def command(self, *args, **env):
        return sawlog.run(*args, "--addr", self.url, env={"SAWLOG_CA": str(self.pem / "ca.pem"), **env})

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        if not self.tls:
            return raw
        context = ssl.create_default_context(cafile=str(self.pem / "ca.pem"))
        return context.wrap_socket(raw, server_hostname="localhost")


@pytest.fixture
def secure(tmp_path, pem):
    made = []

    def make(start=True, **kw):
        s = Secure(tmp_path, pem, **kw)
        made.append(s)
        return s.start() if start else s

    yield make
    for s in made:
        s.close()


class Tail(sawlog.Tail):
    """A tail over the server's own kind of socket, with headers."""

    def __init__(self, server, logql, headers="", **params):
        self.sock = server.connect()
        query = urllib.parse.urlencode({"query": logql, **params})
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((
            f"GET /loki/api/v1/tail?{query} HTTP/1.1\r\nHost: localhost:{server.port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\n{headers}\r\n").encode())
        self.data, self.cursor = b"", None
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])


def bearer(token):
    return f"Authorization: Bearer {token}\r\n"


def basic(token, user="x"):
    return f"Authorization: Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}\r\n"


# -- TLS

def refused_handshakes(s, token, *args):
    """{reason: how many}"""
    return {reason: int(n) for reason, n in re.findall(
        r'sawlog_refused_connections_total\{input="http",reason="(\w+)"\} (\d+)', s.curl("/metrics", *args, token=token)[1])}


def test_https_with_curl(secure):
    s = secure()
    token = create(s.tokens, scope="ingest,read")
    time.sleep(1.1)
    assert s.push_line("over tls", token) == (204, "")
    status, body = s.curl("/loki/api/v1/query_range?query=%7B%7D", "-u", f"grafana:{token}")
    assert status == 200 and "over tls" in body
    # Without the authority the client does not go on; plain HTTP is no way in either.
    r = subprocess.run(["curl", "-sS", s.url + "/ready"], capture_output=True, text=True)
    assert r.returncode == 60, r.stderr
    r = subprocess.run(["curl", "-sS", "--max-time", "15", f"http://localhost:{s.port}/ready"],
                       capture_output=True, text=True)
    assert r.returncode != 0 and not r.stdout
    # Both are counted; who connects and says nothing is none.
    with socket.create_connection(("127.0.0.1", s.port)):
        pass
    assert s.is_ready()
    sawlog.wait_for("both are counted", lambda: refused_handshakes(s, token) == {"tls": 2})
    time.sleep(0.3)
    assert refused_handshakes(s, token) == {"tls": 2}


@pytest.mark.parametrize("args, works", [
    (["-tls1_3"], True),
    (["-tls1_2"], True),
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], True),
    (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], False),
    (["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], False),
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], False),
    (["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"], False),
])
def test_versions_and_ciphers(secure, args, works):
    s = secure()
    r = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{s.port}", "-CAfile",
                        s.pem / "ca.pem", "-brief", *args], input=b"", capture_output=True)
    assert (b"CONNECTION ESTABLISHED" in r.stderr) == works, r.stderr
    assert not works or b"Verification: OK" in r.stderr


def test_client_certificates(secure):
    s = secure(client_ca=True, auth=False)

    def status(name):
        args = ["--cert", s.pem / f"{name}.pem", "--key", s.pem / f"{name}.key"] if name else []
        return s.curl("/metrics", *args, check=False)[0]

    assert status("client") == 200
    assert status(None) == 0
    assert status("stranger") == 0
    sawlog.wait_for("both are counted", lambda: refused_handshakes(
        s, None, "--cert", s.pem / "client.pem", "--key", s.pem / "client.key") == {"tls": 2})
    r = s.command("labels", SAWLOG_CERT=str(s.pem / "client.pem"), SAWLOG_KEY=str(s.pem / "client.key"))
    assert r.returncode == 0, r.stderr
    assert s.command("labels").returncode == 69


def serial(s):
    with s.connect() as c:
        return c.getpeercert()["serialNumber"]


def test_certificate_is_replaced_while_running(secure, pem, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("server.pem", "server.key", "ca.pem", "client.pem", "client.key"):
        (mine / name).write_bytes((pem / name).read_bytes())
    (mine / "server.key").chmod(0o600)
    s = Secure(tmp_path, mine)
    try:
        s.start()
        token = create(s.tokens, scope="read,ingest,admin")
        time.sleep(1.1)
        before = serial(s)
        tail = Tail(s, "{}", bearer(token))
        assert tail.status == 101
        # One after the other: in between they do not fit, and the old pair stays.
        (mine / "server.pem").write_bytes((pem / "renewed.pem").read_bytes())
        status, why = s.curl("/-/reload", "-X", "POST", token=token)
        assert status == 400 and "is not the key" in why
        assert serial(s) == before
        (mine / "server.key").write_bytes((pem / "renewed.key").read_bytes())
        assert s.curl("/-/reload", "-X", "POST", token=token)[0] == 200
        assert serial(s) != before
        # And without being told, some seconds later.
        (mine / "server.key").write_bytes((pem / "server.key").read_bytes())
        (mine / "server.pem").write_bytes((pem / "server.pem").read_bytes())
        wait_for("the old one is back", lambda: serial(s) == before)
        # Connections that are open live on.
        assert s.push_line("still here", token)[0] == 204
        assert tail.entries(1)[0][1] == "still here"
    finally:
        s.close()


def test_key_that_others_may_read(secure, pem, tmp_path):
    s = secure(start=False)
    (tmp_path / "open.key").write_bytes((pem / "server.key").read_bytes())
    (tmp_path / "open.key").chmod(0o640)
    s.config.write_text(f"http: {{tls: {{cert: {pem}/server.pem, key: {tmp_path}/open.key}}}}\n")
    s.start(wait=False)
    assert s.child.wait(timeout=20) == 78
    assert "chmod 600" in s.err and "open.key" in s.err


def test_half_handshakes_stop_nobody(secure):
    s = secure()
    token = create(s.tokens, scope="ingest")
    time.sleep(1.1)
    # A client hello, cut.
    hello = bytes.fromhex("160301020001 0001fc0303".replace(" ", ""))
    crowd = []
    for i in range(400):
        c = socket.create_connection(("127.0.0.1", s.port), timeout=20)
        if i % 2:
            c.sendall(hello)
        crowd.append(c)
    start = time.monotonic()
    for i in range(20):
        assert s.push_line(f"line {i}", token)[0] == 204
    assert time.monotonic() - start < (10 if sawlog.SANITIZED else 5)
    # They are cut some ten seconds after they came, also who sends a byte now and then.
    dripping = crowd[1]
    end = time.monotonic() + 14
    while time.monotonic() < end:
        try:
            dripping.send(b"\0")
        except OSError:
            break
        time.sleep(0.5)
    else:
        raise AssertionError("the slow handshake goes on")
    for c in crowd[2:]:
        c.settimeout(5)
        try:
            while c.recv(4096):
                pass
        except ConnectionError:
            pass
        c.close()


# -- tokens

def routes():
    text = (sawlog.ROOT / "src/api/routes.def").read_text()
    found = re.findall(r'ROUTE\("([^"]+)", ([A-Z_ |]+), (\w+)(?: \| SCOPE_\w+)?,', text)
    assert len(found) > 20 and len(found) == text.count("\nROUTE(")
    names = {"SCOPE_INGEST": "ingest", "SCOPE_READ": "read", "SCOPE_ADMIN": "admin", "0": None}
    for path, flags, scope in found:
        for method in re.findall(r"HTTP_(GET|POST|PUT|DELETE)\b", flags):
            yield method, re.sub(r"\{[^}]+\}", "app", path), names[scope]


ADMIN = ("/-/", "/loki/api/v1/delete", "/api/v1/store/settle", "/api/v1/outputs", "/api/v1/notifiers", "/api/v1/drains")
# What is read by those who read, and changed by admins.
CHANGED = ("/loki/api/v1/rules", "/api/prom/rules", "/log_level", "/api/v1/silences")


def is_admins(method, path):
    return path.startswith(ADMIN) or path == "/config" or (path.startswith(CHANGED) and method != "GET")


def test_every_route(secure):
    s = secure(tls=False, start=False)
    tokens = {x: create(s.tokens, scope=x, tenant="acme") for x in ("ingest", "read", "admin")}
    revoked = create(s.tokens, scope="admin")
    assert sawlog.run("token", "revoke", "--tokens-file", s.tokens, revoked).returncode == 0
    s.start()

    def call(method, path, token=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = b"{}" if method == "POST" else None
        return s.call(method, path, body, headers)

    for method, path, scope in routes():
        where = f"{method} {path}"
        if scope is None:
            assert call(method, path).status in (200, 400), where
            continue
        assert (scope == "admin") == is_admins(method, path), where
        for wrong in (None, "slt_", "hunter2", revoked, tokens["read"][:-1] + "g"):
            answer = call(method, path, wrong)
            assert answer.status == 401, where
            assert answer.headers.get_all("WWW-Authenticate") == ["Bearer", 'Basic realm="sawlog"']
            assert not wrong or wrong not in answer.text
        for held, token in tokens.items():
            answer = call(method, path, token)
            if held in (scope, "admin"):
                assert answer.status not in (401, 403), f"{where} as {held}: {answer.text}"
            else:
                assert answer.status == 403 and f"the scope {scope}" in answer.text, where
        right = tokens[scope]
        answer = call(method, path, right, **{"X-Scope-OrgID": "other"})
        assert answer.status == 403 and "other" in answer.text and "acme" in answer.text, where
        assert call(method, path, right, **{"X-Scope-OrgID": "acme"}).status not in (401, 403), where
        # Nor by the URL, where it would stand in logs.
        assert call(method, path + f"?token={right}&access_token={right}").status == 401, where
    # 405 and 404 say nothing that is not public.
    assert call("DELETE", "/metrics").status == 405
    assert call("GET", "/nowhere").status == 404
    metrics = call("GET", "/metrics", tokens["read"]).text
    for reason in ("missing", "token", "scope", "tenant"):
        assert f'sawlog_auth_failures_total{{reason="{reason}"}}' in metrics
    assert s.err.count("warn auth") <= 30
    assert "slt_" not in s.err.replace("slt_…", "").replace("begins with slt_", "")


def test_tenants(secure):
    s = secure(tls=False, start=False)
    acme = create(s.tokens, scope="ingest,read", tenant="acme")
    every = create(s.tokens, scope="ingest,read", tenant="*")
    s.start()
    tenant = lambda name: ("-H", f"X-Scope-OrgID: {name}")
    assert s.push_line("of acme", acme)[0] == 204
    assert s.push_line("of acme too", acme, *tenant("acme"))[0] == 204
    assert s.push_line("of beta", every, *tenant("beta"))[0] == 204
    assert s.push_line("of default", every)[0] == 204
    path = "/loki/api/v1/query_range?query=%7B%7D"

    def seen(token, *args):
        status, body = s.curl(path, *args, token=token)
        assert status == 200, body
        return {v[1] for r in json.loads(body)["data"]["result"] for v in r["values"]}

    assert seen(acme) == {"of acme", "of acme too"}
    assert seen(every, *tenant("acme")) == {"of acme", "of acme too"}
    assert seen(every, *tenant("beta")) == {"of beta"}
    assert seen(every) == {"of default"}
    status, text = s.curl(path, *tenant("beta"), token=acme)
    assert status == 403 and "beta" in text
    assert s.curl(path, *tenant("../x"), token=every)[0] == 400


def test_files_of_other_tenants(secure):
    """Neither the list of a file's generations nor their bytes, by whatever name or header."""
    s = secure(tls=False, start=False)
    acme = create(s.tokens, scope="ingest,read", tenant="acme")
    beta = create(s.tokens, scope="ingest,read", tenant="beta")
    every = create(s.tokens, scope="ingest,read", tenant="*")
    s.start()
    for name, token in (("acme", acme), ("beta", beta)):
        log, key = s.folder / f"{name}.log", s.folder / f"{name}.token"
        log.write_text(f"secret of {name}\n")
        key.write_text(token)
        made = sawlog.run("forward", "--to", s.url, "--data", s.folder / name, "--token-file", key, "--tenant", name,
                          "--host", "h", "--once", log)
        assert made.returncode == 0, made.stderr
    tenant = lambda name: ("-H", f"X-Scope-OrgID: {name}")
    files = lambda name: f"/sawlog/api/v1/files?host=h&file={s.folder}/{name}.log"
    status, text = s.curl(files("beta"), token=beta)
    source = json.loads(text)["generations"][0]["source"]
    page = f"/sawlog/api/v1/cat?source={source}"
    assert s.curl(page, token=beta) == (200, "piece 0 15\n\nsecret of beta\n")
    assert "secret of beta" in s.curl(page, *tenant("beta"), token=every)[1]
    # Of two headers one may be the first.
    for headers in ((), tenant("acme"), tenant("acme") + tenant("beta"), tenant("")):
        status, text = s.curl(files("beta"), *headers, token=acme)
        assert status == 200 and json.loads(text) == {"generations": []}
        assert s.curl(page, *headers, token=acme) == (200, "\n")
    for headers in (tenant("beta"), tenant("beta") + tenant("acme"), tenant("*")):
        for path in (files("beta"), page):
            status, text = s.curl(path, *headers, token=acme)
            assert status == 403 and "secret" not in text and source not in text
    assert s.curl(page, *tenant("acme"), token=every) == (200, "\n")
    for token in (None, create(s.tokens, scope="ingest", tenant="beta")):
        assert s.curl(page, token=token)[0] in (401, 403)


def first_line(sock, seconds=5):
    sock.settimeout(seconds)
    data = b""
    while b"\r\n" not in data:
        got = sock.recv(65536)
        if not got:
            break
        data += got
    return data.split(b"\r\n")[0]


@pytest.mark.parametrize("tls", [False, True])
def test_body_of_a_stranger_is_not_read(secure, tls):
    s = secure(tls=tls)
    head = "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    before = s.rss_anon()
    for credentials in ("", bearer("slt_00000000_" + "0" * 64)):
        with s.connect() as c:
            start = time.monotonic()
            c.sendall(f"{head}{credentials}Content-Length: 1073741824\r\n\r\n".encode())
            assert first_line(c) == b"HTTP/1.1 401 Unauthorized"
            assert time.monotonic() - start < 2
    # Without a length: cut after a megabyte or so, whatever comes.
    with s.connect() as c:
        c.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        sent, chunk = 0, b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            while sent < 64 << 20:
                c.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
        assert sent < 64 << 20
    assert sawlog.SANITIZED or s.rss_anon() - before < 16 << 20
    # A common batch gets its sentence, on a connection that stays.
    body = b"x" * 300000
    with s.connect() as c:
        for _ in range(2):
            c.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            c.settimeout(5)
            data = b""
            while b"no credentials" not in data:
                data += sawlog.receive(c)
            while not data.endswith(b"Basic"):
                data += sawlog.receive(c)
            assert data.startswith(b"HTTP/1.1 401 ")


def test_revoked_and_expired_stop(secure):
    s = secure(start=False)
    leaving = create(s.tokens, scope="ingest,read")
    short = create(s.tokens, scope="ingest,read", expires="4s")
    staying = create(s.tokens, scope="ingest,read")
    s.start()
    tails = {t: Tail(s, "{}", bearer(t)) for t in (leaving, short, staying)}
    assert all(t.status == 101 for t in tails.values())
    assert s.push_line("one", leaving)[0] == 204
    assert all(t.entries(1) for t in tails.values())
    assert sawlog.run("token", "revoke", "--tokens-file", s.tokens, leaving.split("_")[1]).returncode == 0
    end = time.monotonic() + 2

    def closed(tail):
        tail.sock.settimeout(max(0.1, end - time.monotonic()))
        with pytest.raises(ConnectionError, match="revoked or has expired"):
            while True:
                tail.frame()

    closed(tails[leaving])
    assert s.push_line("two", leaving)[0] == 401
    end = time.monotonic() + 6
    closed(tails[short])
    status, text = s.push_line("two", short)
    assert status == 401 and "expired" in text
    assert s.push_line("three", staying)[0] == 204
    assert tails[staying].entries(1)[-1][1] == "three"
    # What is made later works without a reload.
    late = create(s.tokens)
    wait_for("the new token works", lambda: s.push_line("late", late)[0] == 204, 2)


@pytest.mark.parametrize("tls", [False, True])
def test_tail(secure, tls):
    s = secure(tls=tls, start=False)
    reader, writer = create(s.tokens, scope="read"), create(s.tokens, scope="ingest")
    s.start()
    host = f"{'https' if tls else 'http'}://localhost:{s.port}"
    assert Tail(s, "{}").status == 401
    assert Tail(s, "{}", bearer(writer)).status == 403
    assert Tail(s, "{}", bearer(reader) + "X-Scope-OrgID: other\r\n").status == 403
    assert Tail(s, "{}", basic(writer)).status == 403
    good = [Tail(s, "{}", bearer(reader)), Tail(s, "{}", basic(reader)),
            Tail(s, "{}", basic(reader) + f"Origin: {host}\r\n"),
            Tail(s, "{}", bearer(reader) + "Origin: http://elsewhere.example\r\n"),
            Tail(s, "{}", basic(reader) + "Origin: https://logs.example\r\n"
                 "X-Forwarded-Host: logs.example\r\n")]
    assert [t.status for t in good] == [101] * len(good)
    # The page of another site may use the browser's password for nothing.
    assert Tail(s, "{}", basic(reader) + "Origin: http://elsewhere.example\r\n").status == 403
    # Many lines, so that TLS has more than one record to carry.
    lines = [f"{i} " + "x" * 500 for i in range(2000)]
    body = json.dumps({"streams": [{"stream": {"app": "a"}, "values": [
        [str(time.time_ns() + i), line] for i, line in enumerate(lines)]}]})
    (s.folder / "body").write_text(body)
    assert s.curl("/loki/api/v1/push", "-H", "Content-Type: application/json", "--data-binary",
                  f"@{s.folder}/body", token=writer)[0] == 204
    for t in good:
        assert [line for _, line, _ in t.entries(2000)] == lines
        t.close()


def test_slow_tail_over_tls(secure):
    """Full sockets drain at speed, and clients that leave are noticed, by sockets that close."""
    s = secure(start=False)
    token = create(s.tokens, scope="admin")
    s.start()
    files = lambda: len(os.listdir(f"/proc/{s.child.pid}/fd"))
    before = files()
    tails = [Tail(s, "{}", bearer(token)) for _ in range(3)]
    assert [t.status for t in tails] == [101] * 3
    r = sawlog.run("emit", f"loki={s.url}", "--generate", "--count", "30000", "--size", "500",
                   env={"SAWLOG_CA": str(s.pem / "ca.pem"), "SAWLOG_TOKEN": token})
    assert r.returncode == 0, r.stderr
    time.sleep(1)
    start = time.monotonic()
    assert len(tails[0].entries(30000)) == 30000
    assert time.monotonic() - start < (15 if sawlog.SANITIZED else 5)
    for t in tails:
        t.sock.close()
    idle = Tail(s, "{}", bearer(token))
    idle.sock.close()
    wait_for("all sockets are closed", lambda: files() <= before, 5)


def test_page_by_basic(secure):
    s = secure(start=False)
    reader = create(s.tokens, scope="read")
    s.start()
    for path in ("/", "/page.js", "/page.css"):
        assert s.curl(path)[0] == 401
        assert s.curl(path, "-u", f"me:{reader}")[0] == 200
    # What the page asks for: same origin, the browser's credentials.
    origin = ["-u", f"me:{reader}", "-H", f"Origin: {s.url}"]
    for path in ("/healthz", "/metrics", "/loki/api/v1/labels",
                 "/loki/api/v1/query_range?query=%7Bapp%3D%22a%22%7D"):
        assert s.curl(path, *origin)[0] == 200
    assert s.curl("/metrics", "-u", f"me:{reader}", "-H", "Origin: https://elsewhere.example")[0] == 403


def test_pages_of_other_sites_without_auth(secure):
    """Where no token is asked for, a browser must not be the way in for any page it shows."""
    s = secure(tls=False, auth=False)
    other, own = ["-H", "Origin: http://elsewhere.example"], ["-H", f"Origin: {s.url}"]
    body = json.dumps({"streams": [{"stream": {"app": "a"}, "values": [["1", "x"]]}]})
    push = ["-H", "Content-Type: text/plain", "--data-binary", body]
    assert s.curl("/loki/api/v1/push", *push, *other)[0] == 403
    assert s.curl("/-/flush", "-X", "POST", *other)[0] == 403
    assert s.curl("/loki/api/v1/labels", *other)[0] == 403
    assert Tail(s, "{}", "Origin: http://elsewhere.example\r\n").status == 403
    assert s.curl("/ready", *other)[0] == 200
    # The batch API was made for pages of others.
    assert s.curl("/ruok", *other)[0] == 200
    assert s.curl("/store/log?host=h&file=f", *other)[0] in (200, 404)
    assert s.curl("/loki/api/v1/labels", *own)[0] == 200
    assert Tail(s, "{}", f"Origin: {s.url}\r\n").status == 101
    assert s.curl("/loki/api/v1/push", *push)[0] == 204


def test_tokens_file_that_others_may_write(secure):
    s = secure(tls=False, start=False)
    token = create(s.tokens, scope="read")
    s.tokens.chmod(0o622)
    s.start(wait=False)
    assert s.child.wait(timeout=20) == 78 and "chmod 600" in s.err
    assert sawlog.run("token", "list", "--tokens-file", s.tokens).returncode == 77
    s.tokens.chmod(0o600)
    s.start()
    assert s.curl("/metrics", token=token)[0] == 200
    s.tokens.chmod(0o666)
    wait_for("nobody gets in", lambda: s.curl("/metrics", token=token)[0] == 401, 3)
    s.tokens.chmod(0o600)
    wait_for("all is well again", lambda: s.curl("/metrics", token=token)[0] == 200, 3)


def test_reload(secure):
    s = secure(tls=False, start=False)
    first = create(s.tokens, scope="admin")
    other = s.folder / "other-tokens"
    second = create(other, scope="admin")
    s.start()
    assert s.curl("/-/reload", "-X", "POST", token=second)[0] == 401
    text = s.config.read_text()
    s.config.write_text(text.replace(str(s.tokens), str(other)))
    assert s.curl("/-/reload", "-X", "POST", token=first) == (200, "reloaded\n")
    assert s.curl("/-/reload", "-X", "POST", token=first)[0] == 401
    assert s.curl("/-/reload", "-X", "POST", token=second)[0] == 200
    # What cannot change while it runs says so, and nothing changes.
    s.config.write_text("{}\n")
    status, why = s.curl("/-/reload", "-X", "POST", token=second)
    assert status == 400 and "auth was added or removed: this needs a restart" in why
    s.tokens.chmod(0o666)
    s.config.write_text(text)
    status, why = s.curl("/-/reload", "-X", "POST", token=second)
    assert status == 400 and "chmod 600" in why
    assert s.curl("/metrics", token=second)[0] == 200


# -- configuration and commands

@pytest.mark.parametrize("config, says", [
    ("http: {listen: 0.0.0.0:PORT}", ["0.0.0.0:PORT", "http.tls", "auth", "insecure_allow"]),
    ("http: {listen: ':PORT'}\nauth: {tokens_file: tokens}", ["0.0.0.0:PORT", "http.tls"]),
    ("http: {listen: 0.0.0.0:PORT, tls: {cert: s.pem, key: s.key}}", ["auth.tokens_file"]),
    ("http: {listen: 127.evil.example:PORT}", ["open beyond this machine"]),
    ("http: {tls: {cert: s.pem}}", ["key is missing"]),
    ("http: {tls: {client_ca: s.pem}}", ["client_ca"]),
    ("http: {listen: 0.0.0.0:PORT, tls: {cert: s.pem, key: s.key}}\nauth: {tokens_file: t}", None),
    ("http: {listen: 0.0.0.0:PORT, tls: {cert: s.pem, key: s.key, client_ca: s.pem}}", None),
    ("http: {listen: ':PORT'}\ninsecure_allow: [0.0.0.0:PORT]", None),
    ("http: {listen: ['127.0.0.2:PORT', '[::1]:PORT', 'localhost:1']}", None),
    ("inputs: [syslog: {listen: 'udp://0.0.0.0:PORT', allow: [10.0.0.0/8]}]",
     ["inputs.syslog: udp://0.0.0.0:PORT", "insecure_allow"]),
    ("inputs: [syslog: {listen: 'udp://0.0.0.0:PORT', allow: [10.0.0.0/8]}]\n"
     "insecure_allow: ['udp://0.0.0.0:PORT']", None),
    ("inputs: [syslog: {listen: 'udp://127.0.0.1:PORT'}]", None),
])
def test_open_listeners(tmp_path, config, says):
    file = tmp_path / "sawlog.yaml"
    file.write_text(config.replace("PORT", "3999") + "\n")
    r = sawlog.run("check", file)
    text = (r.stdout + r.stderr).decode()
    assert r.returncode == (78 if says else 0), text
    for part in says or []:
        assert part.replace("PORT", "3999") in text


def test_commands(secure):
    s = secure(start=False)
    made = sawlog.run("token", "create", "-c", s.config, "--scope", "read,ingest", "for scripts")
    assert made.returncode == 0 and made.stdout.count(b"\n") == 1
    token = made.stdout.decode().strip()
    assert re.fullmatch(r"slt_[0-9a-f]{8}_[0-9a-f]{64}", token)
    assert token.encode() not in made.stderr
    assert oct(s.tokens.stat().st_mode & 0o777) == "0o600" and token not in s.tokens.read_text()
    writer = create(s.tokens, scope="ingest")
    s.start()
    file = s.folder / "secret"
    file.write_text(token + "\n")
    ca = str(s.pem / "ca.pem")
    emit = ["emit", f"loki={s.url}", "--ca", ca, "hello"]
    assert sawlog.run(*emit, "--token-file", file).returncode == 0
    assert sawlog.run(*emit, "--token", writer).returncode == 0
    r = sawlog.run(*emit)
    assert r.returncode == 77 and b"--token-file" in r.stderr
    for env in ({"SAWLOG_TOKEN": token}, {"SAWLOG_TOKEN_FILE": str(file)},
                {"LOKI_BEARER_TOKEN": token}, {"LOKI_BEARER_TOKEN_FILE": str(file)},
                {"LOKI_USERNAME": "me", "LOKI_PASSWORD": token}):
        for command in (["query", "{}"], ["labels"], ["series", "{}"], ["tail", "{}", "--no-follow"]):
            r = s.command(*command, **env)
            assert r.returncode == 0 and r.stdout, (env, command, r.stderr)
    r = sawlog.run("query", "{}", env={"LOKI_ADDR": s.url, "LOKI_CA_CERT_PATH": ca,
                                       "LOKI_BEARER_TOKEN": token})
    assert r.returncode == 0, r.stderr
    r = sawlog.run("query", "{}", env={"LOKI_ADDR": s.url, "LOKI_TLS_SKIP_VERIFY": "true",
                                       "LOKI_BEARER_TOKEN": token})
    assert r.returncode == 0, r.stderr
    for command in (["query", "{}"], ["labels"], ["series", "{}"], ["tail", "{}"]):
        r = s.command(*command)
        assert r.returncode == 77 and b"--token-file" in r.stderr, command
        r = s.command(*command, SAWLOG_TOKEN=writer)
        assert r.returncode == 77 and b"the scope read" in r.stderr, command
        r = s.command(*command, SAWLOG_TOKEN=token, SAWLOG_TENANT="other")
        assert r.returncode == 77 and b"X-Scope-OrgID" in r.stderr, command
    r = sawlog.run("query", "--addr", s.url, "{}", env={"SAWLOG_TOKEN": token})
    assert r.returncode == 69 and b"certificate" in r.stderr


def test_token_command(tmp_path):
    tokens = tmp_path / "folder" / "tokens"
    run = lambda *args: sawlog.run("token", *args)
    create(tokens, "first", scope="admin", tenant="*", expires="90d")
    token = create(tokens, "second one")
    listed = run("list", "--tokens-file", tokens).stdout.decode()
    assert "first" in listed and "second one" in listed and "never" in listed
    assert token.split("_")[2] not in listed
    ident = token.split("_")[1]
    assert run("revoke", "--tokens-file", tokens, ident).returncode == 0
    r = run("revoke", "--tokens-file", tokens, ident)
    assert r.returncode == 74 and ident.encode() in r.stderr
    assert "second one" not in run("list", "--tokens-file", tokens).stdout.decode()
    for bad in (["create", "--scope", "write", "x"], ["create", "--tenant", "a/b", "x"],
                ["create", "--expires", "-1d", "x"], ["create", ""], ["create"], ["revoke"],
                ["creat", "x"], []):
        more = ["--tokens-file", tokens] if bad else []
        r = run(*bad, *more)
        assert r.returncode == 2 and r.stderr and not r.stdout, bad
    assert b'did you mean "token create"' in run("creat", "x").stderr
    assert run("--help").stdout.startswith(b"Usage: sawlog token COMMAND")
    # The default is in the data folder, and one is told that nobody asks for it yet.
    r = sawlog.run("token", "create", "x", env={"SAWLOG_DATA": str(tmp_path / "data")})
    assert r.returncode == 0 and b"has no auth" in r.stderr
    assert (tmp_path / "data" / "tokens").exists()
