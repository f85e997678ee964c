# SPDX-License-Identifier: Apache-2.0
"""The output on stdout and stderr, and line formats, with the real binary and Python's own logging."""
import fcntl
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import termios
import threading
import time

import pytest
import sawlog
from sawlog import wait_for


def config(*outputs, inputs=""):
    return f"{inputs}outputs:\n" + "".join(f"  - stdout: {{{o}}}\n" for o in outputs)


def ours(text, mark="|"):
    """The lines of the output, not what the server says of itself."""
    return [line for line in text.split("\n") if mark in line and not line.startswith("search: ")]


class Piped(sawlog.Server):
    """A server whose stdout is a pipe, which is read when the test says so."""

    def __init__(self, folder, **kw):
        super().__init__(folder, **kw)
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.got = b""

    def spawn(self, args, env=None, stdin=None):
        with open(self.folder / f"{self.name}.err", "ab") as err:
            self.child = subprocess.Popen(args, stdout=self.writer, stderr=err, stdin=subprocess.DEVNULL,
                                          env={**os.environ, **(env or {})})

    def read(self):
        """All that is there now."""
        try:
            while piece := os.read(self.reader, 1 << 16):
                self.got += piece
        except BlockingIOError:
            pass
        return self.got.decode()

    def waiting(self):
        """Bytes in the pipe."""
        return int.from_bytes(fcntl.ioctl(self.reader, termios.FIONREAD, bytes(4)), sys.byteorder)

    def close(self):
        super().close()
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def piped(tmp_path):
    made = []

    def make(text):
        made.append(Piped(tmp_path, config=text))
        return made[0]

    yield make
    for server in made:
        server.close()


class Collected(logging.Handler):
    """What a Formatter makes of the records that are logged."""

    def __init__(self, format, style):
        super().__init__()
        self.setFormatter(logging.Formatter(format, style=style))
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.mark.parametrize("style,sign,format", [
    ("percent", "%", "%(asctime)s %(levelname)-8s [%(name)s] %(module)s.%(funcName)s(%(lineno)d) "
                     "%(processName)s %(threadName)s %(process)d %(msecs)03d| %(message)s"),
    ("brace", "{", "{asctime} {levelname:<8} [{name}] {module}.{funcName}({lineno:03}) {process:,}| {message}"),
])
def test_python(nodes, style, sign, format):
    """The lines are those that Python's own handler would have written, tracebacks with them."""
    port = sawlog.free_port()
    server = nodes.server(config=config(
        f"style: {style}, multiline: raw, format: '{format}'",
        inputs=f"inputs:\n  - python: {{listen: 'tcp://127.0.0.1:{port}'}}\n"))
    logger = logging.Logger("shop.cart")
    sender, beside = logging.handlers.SocketHandler("127.0.0.1", port), Collected(format, sign)
    for handler in (beside, sender):
        logger.addHandler(handler)
    logger.info("paid %.2f %s", 17.5, "€")
    logger.warning("two\nlines")
    try:
        raise ValueError("no such card\nat all")
    except ValueError:
        logger.exception("payment %d failed", 7)
    logger.log(25, "odd level", stack_info=True)
    logger.critical("that was all")
    sender.close()
    wait_for("the last line", lambda: "that was all" in server.out)
    at = server.out.index(beside.lines[0][:23])
    assert server.out[at:] == "\n".join(beside.lines) + "\n"


def test_levels_and_streams(nodes):
    server = nodes.server(config=config(
        "format: 'usual| %(message)s', match: '{app=\"a\"}', level_formats: {ERROR: 'bad| %(levelno)d %(message)s'}",
        "name: two, stream: stderr, style: template, format: 'E| {{.app}} {{__line__ | ToUpper}}', min_severity: warn"))
    server.push({"app": "a"}, ["level=info msg=one", "level=error msg=two", "level=warn msg=three"])
    server.push({"app": "b"}, ["level=debug msg=four", "level=error msg=five"])
    wait_for("all lines", lambda: len(ours(server.out)) == 3 and len(ours(server.err)) == 3)
    assert ours(server.out) == [
        "usual| level=info msg=one", "bad| 40 level=error msg=two", "usual| level=warn msg=three"]
    assert ours(server.err) == ["E| a LEVEL=ERROR MSG=TWO", "E| a LEVEL=WARN MSG=THREE", "E| b LEVEL=ERROR MSG=FIVE"]


@pytest.mark.parametrize("breaks", ["indent", "escape"])
def test_forged(nodes, breaks):
    """No message makes a second line that seems to be a record, whatever ends lines for whom."""
    server = nodes.server(config=config(f"format: '%(levelname)s [%(app)s]| %(message)s', multiline: {breaks}"))
    ends = ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029", "\x1b[1A\r", "\x1e"]
    server.push({"app": "x\nCRITICAL [root]| label"}, [f"m{i}{end}CRITICAL [root]| forged" for i, end in enumerate(ends)])
    server.push({"app": "last"}, ["\tCRITICAL"])
    wait_for("all lines", lambda: "[last]|" in server.out)
    text = server.out.split("search: ")[1].split("\n", 1)[1]
    lines = text.splitlines()
    first = [line for line in lines if not line.startswith("\t")]
    assert len(first) == len(ends) + 1
    assert not any(line.startswith("CRITICAL [root]|") for line in lines)
    assert not set(text) & set("\r\v\f\x85\u2028\u2029\x1b\x1e")
    if breaks == "escape":
        assert lines == first


def numbered(n, size=200):
    return [f"|{i:06d} {'x' * size}" for i in range(n)]


def test_stopped_reader(piped):
    """Who reads no more holds up neither what comes in nor the end; nothing is lost or cut, all comes once."""
    server = piped(config("")).start()
    expected = numbered(5000)
    for at in range(0, len(expected), 500):
        assert server.push({"app": "a"}, expected[at:at + 500]).status == 204
    wait_for("a full pipe", lambda: server.waiting() > 50_000)
    # A dump goes to the same pipe.
    server.child.send_signal(signal.SIGUSR1)
    assert len(server.lines('{app="a"}')) == len(expected)
    for _ in range(2):
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 15
        server.read()
        assert server.got.endswith(b"\n")
        assert len(ours(server.read())) < len(expected)
        server.start()
    wait_for("all lines", lambda: len(ours(server.read())) >= len(expected))
    assert server.stop() == 0
    assert ours(server.read()) == expected


def test_slow_reader(piped):
    """A pipe of one page: each line comes whole and once."""
    server = piped(config("")).start()
    fcntl.fcntl(server.writer, 1031, 4096)  # F_SETPIPE_SZ
    expected = [line for size in (10, 3000, 5000, 70_000, 1) for line in numbered(20, size)]
    assert server.push({"app": "a"}, expected).status == 204
    wait_for("all lines", lambda: len(ours(server.read())) >= len(expected), 60)
    assert ours(server.read()) == expected


def test_kill(piped):
    """kill -9 while lines are written: all come, in their order, those of the last moments maybe again."""
    server = piped(config("")).start()
    expected, sent = numbered(3000), []

    def send():
        for at in range(0, len(expected), 100):
            sent.append(server.push({"app": "a"}, expected[at:at + 100]).status)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    wait_for("some lines", lambda: len(ours(server.read())) > 500)
    sender.join(timeout=sawlog.PATIENCE)
    assert sent == [204] * 30
    server.kill(signal.SIGKILL)
    server.read()
    server.start()
    wait_for("the last line", lambda: expected[-1] in ours(server.read()))
    lines = ours(server.read())
    assert list(dict.fromkeys(lines)) == expected


def test_reload(nodes):
    """Another format from one line to the next: none is lost or written twice."""
    server = nodes.server(config=config("format: 'old|%(message)s'"))
    server.push({"app": "a"}, ["1", "2"])
    wait_for("old lines", lambda: len(ours(server.out)) == 2)
    server.config.write_text(config("format: 'new|%(message)s'"))
    server.child.send_signal(signal.SIGHUP)

    def pushed():
        server.push({"app": "a"}, ["more"])
        return "new|more" in server.out

    wait_for("a new line", pushed)
    assert [line.split("|")[0] for line in ours(server.out)] == \
        sorted((line.split("|")[0] for line in ours(server.out)), reverse=True)
    assert ours(server.out)[:2] == ["old|1", "old|2"]


@pytest.mark.parametrize("option,sentence", [
    ("format: '%(message'", "format: column 1: incomplete format key"),
    ("format: '{message}'", "for '%' style: no fields"),
    ("style: brace, format: '{message:>{width}}'", "a field within"),
    ("style: brace, format: '{message!x}'", "invalid conversion: 'x'"),
    ("style: template, format: '{{.app'", "unclosed action"),
    ("datefmt: '%H:%Q'", "datefmt: column 4: a time has no '%Q'"),
    ("level_formats: {INFO: '%(x)'}", "level_formats: INFO: column 1: incomplete format"),
    ("multiline: folded", "indent"),
])
def test_refused(tmp_path, option, sentence):
    path = tmp_path / "sawlog.yaml"
    path.write_text(config(option))
    done = sawlog.run("check", path)
    assert done.returncode != 0
    text = (done.stdout + done.stderr).decode()
    assert sentence in text and "sawlog.yaml:2" in text, text
