# SPDX-License-Identifier: Apache-2.0
"""`sawlog cat HOST:FILE` gives back what was forwarded, byte for byte."""
import os
import random
import socket
import subprocess
import urllib.parse

import pytest

import sawlog

HOST = socket.gethostname()


def cat(server, path, *args):
    """(exit code, bytes, stderr)"""
    r = subprocess.run([sawlog.SAWLOG, "cat", "--addr", server.url, *args, f"{HOST}:{path}"],
                       capture_output=True, timeout=60)
    return r.returncode, r.stdout, r.stderr.decode()


def forward(nodes, server, *paths, args=()):
    """Forward files to their ends."""
    f = sawlog.Forwarder(nodes.folder / f"once{random.random()}", server.url, paths,
                         args=["--once", *args])
    f.start()
    assert f.child.wait(timeout=60) == 0, f.err


def stored(server, path, data):
    return sawlog.wait_for(f"{len(data)} bytes of {path}", lambda: cat(server, path)[1] == data)


CONTENTS = {
    "lf": b"one\ntwo\n\nfour\n",
    "crlf": b"one\r\ntwo\r\n\r\nfour\r\n",
    "mixed": b"lf\ncrlf\r\n\r\n\nlone \r return\n\rfirst\nlast\r",
    "no newline": b"whole\nand the rest",
    "one byte": b"x",
    "newlines": b"\n\n\n\n",
    "nul": b"a\0b\n\0\n\0\0\0\n",
    "invalid utf-8": bytes(range(256)) * 20 + b"\n\xff\xfe\n\xc3\n",
    "bom": b"\xef\xbb\xbffirst\nsecond\n",
    "bom and crlf": b"\xef\xbb\xbffirst\r\nsecond\r\n",
    "bom alone": b"\xef\xbb\xbf",
    "bom and newline": b"\xef\xbb\xbf\n",
    "times out of order": b"".join(
        f"2026-0{1 + i * 7 % 9}-0{1 + i % 9}T00:00:00Z line {i}\n".encode() for i in range(500)),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_bytes_come_back(nodes, server, name):
    path = nodes.folder / "app.log"
    path.write_bytes(CONTENTS[name])
    forward(nodes, server, path)
    assert cat(server, path) == (0, CONTENTS[name], "")
    assert server.call("POST", "/-/flush").status == 200
    assert cat(server, path) == (0, CONTENTS[name], "")


def cri(n):
    """Lines of two streams; long ones come in parts, among the lines of the other stream."""
    rng, out, when = random.Random(5), b"", 0

    def line(stream, tag, text, digits=9):
        nonlocal when
        when += rng.randrange(10**6)
        fraction = b"%09d" % (when % 10**9)
        return b"2026-08-21T10:%02d:%02d.%sZ %s %s %s\n" % (
            when // 10**9 // 60, when // 10**9 % 60, fraction[:digits], stream, tag, text)

    for i in range(n):
        kind = rng.randrange(6)
        if kind == 0:
            parts = rng.randrange(1, 5)
            for k in range(parts):
                out += line(b"stdout", b"P", b"part %d of %d " % (k, i) + b"x" * rng.randrange(8000))
                for _ in range(rng.randrange(3)):
                    out += line(b"stderr", b"F", b"meanwhile %d" % i)
            out += line(b"stdout", b"F", b"its end")
        elif kind == 1:
            out += line(b"stderr", b"F", b"few digits", rng.randrange(1, 9))
        elif kind == 2:
            out += b"no CRI line at all %d\n" % i
        elif kind == 3:
            out += line(b"stdout", b"F", b"carriage return\r")
        else:
            out += line(b"stdout", b"F", b"INFO usual \xc3\xbc %d" % i)
    return out


def docker(n):
    rng, out = random.Random(6), b""
    for i in range(n):
        text = rng.choice(['usual %d', 'quote \\" %d', 'tab\\t \\u003c html %d', 'ünï %d', 'carriage\\r %d']) % i
        end = rng.choice(["\\n", "\\n", "\\n", ""])  # without a newline: it goes on
        out += ('{"log":"%s%s","stream":"%s","time":"2026-08-21T10:00:00.%dZ"}\n' % (
            text, end, rng.choice(["stdout", "stdout", "stderr"]), rng.randrange(1, 10**9))).encode()
        if i % 50 == 7:
            out += b'{"log":"with attributes\\n","stream":"stdout","attrs":{"a":"b"},"time":"2026-08-21T10:00:01Z"}\n'
        if i % 50 == 9:
            out += b'{ "time" : "2026-08-21T10:00:01Z", "log" : "another order\\n", "stream" : "stdout" }\n'
        if i % 50 == 11:
            out += b"what the runtime did not write\n"
    return out


JAVA = b"".join(b"2026-08-21 10:00:%02d ERROR it broke\r\njava.lang.Exception: %d\r\n\tat a.b.C(D.java:1)\r\n\r\n"
                % (i, i) + b"2026-08-21 10:00:%02d INFO fine\n" % i for i in range(50))
TEXT = "first ünï\r\nsecond ✓ 𝄞\n\nfourth\r\nno newline"


@pytest.mark.parametrize("settings,data", [
    ("format: cri", cri(400)),
    ("format: cri, multiline: {rule: all}", cri(400)),
    ("format: container", cri(50)),
    ("format: docker", docker(400)),
    ("format: container, multiline: {rule: java}", docker(100)),
    ("multiline: {rule: java}", JAVA),
    ("encoding: UTF-16LE", TEXT.encode("utf-16-le")),
    ("encoding: UTF-16", b"\xff\xfe" + TEXT.encode("utf-16-le")),
    ("encoding: UTF-16", b"\xfe\xff" + TEXT.encode("utf-16-be")),
    ("encoding: ISO-8859-1", bytes(b for b in range(256) if b != 10) + b"\nab\xfc\r\n" * 30),
    ("multiline: {first: '^first'}, encoding: UTF-16LE", (TEXT + "\n").encode("utf-16-le") * 20),
], ids=["cri", "cri multiline", "container cri", "docker", "container docker java", "java crlf", "utf-16le",
        "utf-16 little", "utf-16 big", "latin-1", "multiline utf-16"])
def test_envelopes_come_back(nodes, server, settings, data):
    path = nodes.folder / "app.log"
    path.write_bytes(data)
    config = nodes.folder / "forward.yaml"
    config.write_text(f"inputs:\n  - file: {{paths: [{path}], once: true, {settings}}}\n")
    forward(nodes, server, args=["-c", str(config)])
    for _ in range(2):
        code, got, err = cat(server, path)
        assert (code, err) == (0, "")
        assert got == data
        server.call("POST", "/-/flush")
    assert any("envelope" in labels or "\n" in line for _, line, labels in server.entries("{}"))


def test_long_lines(nodes, server):
    """Pieces of 1 MiB, and what makes their borders: exactly so long, CRLF over the border."""
    mib = 1 << 20
    rng = random.Random(7)
    lines = [bytes(rng.choices(b"abcdefgh \xff\0", k=1000)) * 53_000 + b"\n",  # 50 MiB
             b"x" * mib + b"\n", b"y" * (mib - 1) + b"\r\n", b"z" * mib + b"\r\n", b"short\n",
             b"w" * (3 * mib) + b"\n", b"\r" * (2 * mib) + b"\n", b"end" * mib]
    path = nodes.folder / "long.log"
    path.write_bytes(b"".join(lines))
    forward(nodes, server, path)
    for _ in range(2):
        code, got, err = cat(server, path)
        assert (code, len(got), err) == (0, path.stat().st_size, "")
        assert got == path.read_bytes()
        server.call("POST", "/-/flush")


def test_many_pages_among_others(nodes):
    """A file's records lie among those of others, in parts and in the head."""
    server = nodes.server(config="memory: 64MiB\n")
    a, b = nodes.folder / "a.log", nodes.folder / "b.log"
    forwarder = nodes.forwarder(server, a, b)
    rng = random.Random(3)
    sent = {a: b"", b: b""}
    for turn in range(12):
        for path in (a, b):
            text = b"".join(b"%d %s\n" % (rng.randrange(10**9), b"word " * rng.randrange(60)) for _ in range(8000))
            sent[path] += text
            with path.open("ab") as f:
                f.write(text)
        server.push({"app": "other"}, [f"noise {turn} {i}" for i in range(2000)])
        if turn in (3, 7, 9):
            server.call("POST", "/-/flush")
    for path in (a, b):
        stored(server, path, sent[path])
    assert forwarder.stop() == 0
    assert server.stop() == 0
    server.start()
    for path in (a, b):
        assert cat(server, path) == (0, sent[path], "")


def test_rotations_are_generations(nodes, server):
    path = nodes.folder / "app.log"
    path.write_bytes(b"")
    config = nodes.folder / "forward.yaml"
    config.write_text(f"inputs:\n  - file: {{paths: [{path}], rotate_wait: 1s}}\n")
    forwarder = nodes.forwarder(server, args=["-c", str(config)])
    texts = []
    for n in range(4):
        text = b"".join(b"generation %d line %d\r\n" % (n, i) for i in range(100)) + b"no newline %d" % n
        with path.open("ab") as f:
            f.write(text)
        whole = text[:text.rindex(b"\n") + 1]
        stored(server, path, whole)
        path.rename(nodes.folder / f"app.log.{4 - n}")
        path.write_bytes(b"")
        texts.append(text)
        sawlog.wait_for("the last line", lambda t=text, n=n: cat(server, path, f"--generation={n + 1}")[1] == t)
    for n, text in enumerate(texts):
        assert cat(server, path, "--generation", str(n + 1)) == (0, text, "")
        assert cat(server, path, f"--generation={n - 3}") == (0, text, "")
    assert cat(server, path) == (0, texts[-1], "")
    code, listed, err = cat(server, path, "--list")
    rows = [line.split() for line in listed.decode().splitlines()]
    assert code == 0 and err == "" and rows[0][0] == "GENERATION"
    assert [(r[0], r[1], r[-1]) for r in rows[1:]] == [
        (str(n + 1), str(len(t)), "yes") for n, t in enumerate(texts)]
    code, got, err = cat(server, path, "--generation", "9")
    assert (code, got) == (2, b"") and "has 4, 1 the oldest" in err
    assert forwarder.stop() == 0


def test_copytruncate(nodes, server):
    path = nodes.folder / "app.log"
    path.write_bytes(b"first 1\nfirst 2\n")
    nodes.forwarder(server, path)
    stored(server, path, b"first 1\nfirst 2\n")
    os.truncate(path, 0)
    with path.open("ab") as f:
        f.write(b"second\n")
    stored(server, path, b"second\n")
    assert cat(server, path, "--generation=1")[1] == b"first 1\nfirst 2\n"


def test_while_it_grows_and_after_a_resend(nodes, server):
    """What is acknowledged is there; a forwarder that forgot its positions changes nothing."""
    path = nodes.folder / "app.log"
    text = b"".join(b"line %d\n" % i for i in range(20000))
    path.write_bytes(text)
    forwarder = nodes.forwarder(server, path)
    stored(server, path, text)
    assert forwarder.kill() < 0
    for file in forwarder.data.rglob("positions*"):
        content = file.read_text().splitlines()
        file.write_text("\n".join(
            " ".join([*w[:8], "0", *w[9:]]) if (w := line.split(" "))[0] == "file" else line
            for line in content) + "\n")
    with path.open("ab") as f:
        f.write(b"more\nand a part")
    forwarder.start()
    stored(server, path, text + b"more\n")


def test_what_is_not_stored_is_told(nodes, server):
    path = nodes.folder / "app.log"
    path.write_bytes(b"skipped\n" * 10)
    config = nodes.folder / "forward.yaml"
    config.write_text(
        f"inputs:\n  - file: {{paths: [{path}], start: end, drop: [noise], redact: {{'token=\\S+': 'token=*'}}}}\n")
    f = nodes.forwarder(server, args=["-c", str(config)])
    sawlog.wait_for("the file is followed", lambda: list(f.data.rglob("positions*")))
    with path.open("ab") as out:
        out.write(b"kept 1\nnoise\nnoise\nkept 2\nlogin token=abcdef ok\nkept 3\n")
    sawlog.wait_for("all lines", lambda: cat(server, path)[1].endswith(b"kept 3\n"))
    code, got, err = cat(server, path)
    assert (code, got) == (75, b"kept 1\nkept 2\nlogin token=* ok\nkept 3\n")
    assert err.splitlines() == [
        f"sawlog cat: {HOST}:{path}: 80 bytes at offset 0 are missing: not stored: dropped by a rule, or before "
        "`start`",
        f"sawlog cat: {HOST}:{path}: 12 bytes at offset 87 are missing: not stored: dropped by a rule, or before "
        "`start`",
        f"sawlog cat: {HOST}:{path}: 22 bytes at offset 106 are missing: redacted before it left the host"]
    assert b"no: 0 gaps, 2 skipped, 1 redacted" in cat(server, path, "--list")[1]


def test_what_was_deleted_is_told(nodes):
    """In the head, in a part, and when it has left the disk: a hole, and what is around it as it was."""
    server = nodes.server(config="retention: {delete_wait: 0s}\n")
    path = nodes.folder / "app.log"
    lines = [b"line %d%s\n" % (i, b" secret" if i in (3, 4, 7) else b"") for i in range(10)]
    path.write_bytes(b"".join(lines))
    forward(nodes, server, path)
    assert cat(server, path)[:2] == (0, b"".join(lines))

    def check():
        code, got, err = cat(server, path)
        assert (code, got) == (75, b"".join(line for line in lines if b"secret" not in line))
        holes = [(err_line.split(": ")[2]) for err_line in err.splitlines()]
        assert holes == ["28 bytes at offset 21 are missing", "14 bytes at offset 63 are missing"], err

    query = urllib.parse.urlencode({"query": '{file=~".+"} |= "secret"', "start": "0"})
    assert server.call("POST", "/loki/api/v1/delete?" + query).status == 204
    check()
    assert server.call("POST", "/-/flush").status == 200
    check()
    assert server.call("POST", "/api/v1/store/settle").status == 200
    sawlog.wait_for("it is carried out", lambda: [
        d["status"] for d in server.get("/loki/api/v1/delete").json()] == ["processed"])
    check()


def test_unknown_files_and_tenants(nodes, server):
    path = nodes.folder / "app.log"
    path.write_bytes(b"secret\n")
    (nodes.folder / "empty.log").write_bytes(b"")
    forward(nodes, server, path, nodes.folder / "empty.log")
    assert cat(server, path)[0] == 0
    for args in (("--tenant", "other"), ("--list", "--tenant", "other")):
        code, got, err = cat(server, path, *args)
        assert (code, got) == (74, b"") and "no byte of this file is stored" in err
    assert cat(server, nodes.folder / "empty.log")[0] == 74
    r = subprocess.run([sawlog.SAWLOG, "cat", "--addr", server.url, "/var/log/app.log"], capture_output=True)
    assert r.returncode == 2 and b"expected HOST:FILE" in r.stderr
    source = server.get("/sawlog/api/v1/files", {"host": HOST, "file": path}).json()["generations"][0]["source"]
    assert server.get("/sawlog/api/v1/cat", {"source": source}).body == b"piece 0 7\n\nsecret\n"
    assert server.get("/sawlog/api/v1/cat", {"source": source}, {"X-Scope-OrgID": "other"}).body == b"\n"
    for params in ({}, {"source": ""}, {"source": source, "cursor": "x"}, {"source": source, "until": "x"}):
        assert server.get("/sawlog/api/v1/cat", params).status == 400
    assert server.get("/sawlog/api/v1/files", {"host": HOST}).status == 400


def test_memory_is_bounded(nodes):
    """A line of 30 MiB and many short ones come out of a server that has 32 MiB for everything."""
    server = nodes.server(config="memory: 32MiB\n")
    path = nodes.folder / "app.log"
    path.write_bytes(b"abc " * (30 << 18) + b"\n" + b"".join(b"line %d of some text\n" % i for i in range(200_000)))
    forward(nodes, server, path)
    server.call("POST", "/-/flush")
    code, got, err = cat(server, path)
    assert (code, err) == (0, "") and got == path.read_bytes()
    if not sawlog.SANITIZED:
        assert server.rss_anon() < 32 << 20
