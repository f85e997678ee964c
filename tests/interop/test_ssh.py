# SPDX-License-Identifier: Apache-2.0
"""Hosts that only ssh reaches: a real sshd on loopback, run by whoever runs the tests."""
import getpass
import json
import logging
import logging.handlers
import os
import pickle
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import sawlog

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")
PRIVSEP = Path("/run/sshd")  # where sshd of root puts away its helper; made by its service elsewhere
WORDS = ["TERM", "STOP", "FINISH", "EXIT", "QUIT"]


class Sshd(sawlog.Process):
    """An sshd with keys and a port of its own, for the user of the tests alone."""

    def __init__(self, folder):
        super().__init__("sshd", folder)
        self.port = sawlog.free_port()
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        (self.folder / "authorized").write_text((self.folder / "user_key.pub").read_text())
        key = (self.folder / "host_key.pub").read_text().split()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {key[0]} {key[1]}\n")
        self.sshd_config = self.folder / "sshd_config"
        self.sshd_config.write_text(f"""ListenAddress 127.0.0.1
Port {self.port}
HostKey {self.folder}/host_key
AuthorizedKeysFile {self.folder}/authorized
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
MaxStartups 50
LogLevel VERBOSE
""")
        self.ssh_config = self.folder / "ssh_config"
        self.ssh_config.write_text(f"""Host far collector
  HostName 127.0.0.1
  Port {self.port}
  User {getpass.getuser()}
  IdentityFile {self.folder}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {self.folder}/known
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  BatchMode yes
  ServerAliveInterval 10
  LogLevel ERROR
""")

    def start(self):
        self.spawn([SSHD, "-D", "-e", "-f", str(self.sshd_config)])
        sawlog.wait_for("sshd listens", self.listens)
        return self

    def listens(self):
        assert self.running, self.err
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def command(self, host, *words):
        return ["ssh", "-F", str(self.ssh_config), host, *map(str, words)]


@pytest.fixture
def sshd(tmp_path):
    if not SSHD or not shutil.which("ssh"):
        pytest.skip("openssh-server is not installed")
    if os.geteuid() == 0 and not PRIVSEP.is_dir():
        try:
            PRIVSEP.mkdir(mode=0o755)
        except OSError as e:
            pytest.skip(f"sshd of root needs {PRIVSEP}, which cannot be made: {e}")
    daemon = Sshd(tmp_path / "ssh").start()
    try:
        probe = subprocess.run(daemon.command("far", "echo", "here"), capture_output=True, text=True, timeout=20)
        if "locked" in daemon.err:
            pytest.skip("the account of the tests is locked, and sshd lets nobody in by it")
        assert probe.stdout == "here\n", probe.stderr + daemon.err
        yield daemon
    finally:
        daemon.kill(signal.SIGTERM)


def yaml_list(words):
    return "[" + ", ".join('"' + str(w).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'
                           for w in words) + "]"


def fetching(sshd, *words):
    """A server that fetches by ssh what `sawlog forward --stdio` has over there."""
    command = sshd.command("far", sawlog.SAWLOG, "forward", "--stdio", *words)
    return f"inputs:\n  - exec: {{command: {yaml_list(command)}, format: forward}}\n"


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def ssh_of(server):
    """The number of the ssh process that the server runs, when there is one."""
    for pid in children(server.child.pid):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"ssh"):
                return pid
        except OSError:
            pass
    return None


def count(server, selector):
    """How many lines there are, as far as one page tells."""
    return len(server.lines(selector))


def socket_logger(port, name):
    logger = logging.Logger(name, logging.DEBUG)
    logger.addHandler(logging.handlers.SocketHandler("127.0.0.1", port))
    return logger


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_files_survive_broken_connections(nodes, sshd):
    """W-B7: ssh is killed again and again while the log grows: each line once, in order."""
    log = nodes.folder / "far.log"
    log.write_text("")
    server = nodes.server(config=fetching(sshd, "--data", nodes.folder / "far", log))
    done, lines = threading.Event(), []

    def grow():
        with log.open("a") as f:
            while not done.wait(0.001):
                lines.append(f"line {len(lines)}")
                f.write(lines[-1] + "\n")
                f.flush()

    writer = threading.Thread(target=grow, daemon=True)
    writer.start()
    try:
        for kills in range(1, 4):
            had = count(server, '{app="far"}')
            sawlog.wait_for("more lines", lambda: count(server, '{app="far"}') > had + 50, 40)
            os.kill(sawlog.wait_for("ssh", lambda: ssh_of(server)), signal.SIGKILL)
            sawlog.wait_for("the end is counted", lambda: server.metric("sawlog_exec_exits_total") >= kills)
    finally:
        done.set()
        writer.join(10)
    sawlog.wait_for("every line", lambda: count(server, '{app="far"}') >= len(lines), 40)
    assert server.lines('{app="far"}') == lines
    assert server.err.count("ssh: ended by signal 9") == 3, server.err


def test_python_programs_log_home(nodes, sshd):
    """No port is open over there but on its loopback; records come home through ssh."""
    port = sawlog.free_port()
    server = nodes.server(config=fetching(
        sshd, "--data", nodes.folder / "far", "--host", "web7", "--input", f"python=tcp://127.0.0.1:{port}"))
    sawlog.wait_for("the far side listens", lambda: listens(port))
    logger = socket_logger(port, "shop.cart")
    for i in range(500):
        logger.warning("item %d of %s", i, "cärt", extra={"order": i})
    want = [f"item {i} of cärt" for i in range(500)]
    sawlog.wait_for("every record", lambda: count(server, '{logger="shop.cart"}') >= 500)
    assert server.lines('{logger="shop.cart", host="web7", input="python"}') == want
    assert server.lines('{logger="shop.cart"} | order="499" | detected_level="warn"') == want[-1:]
    # Another connection takes over after a break.
    first = ssh_of(server)
    os.kill(first, signal.SIGKILL)
    sawlog.wait_for("another ssh", lambda: ssh_of(server) not in (None, first))

    def heard():
        logger = socket_logger(port, "shop.again")
        logger.info("here")
        logger.handlers[0].close()
        return count(server, '{logger="shop.again"}') > 0

    sawlog.wait_for("records after the break", heard)


def frame(thing, protocol):
    data = pickle.dumps(thing, protocol)
    return struct.pack(">L", len(data)) + data


def record(name, message, *args, level=logging.INFO):
    """As a handler gets it: message and arguments not merged."""
    return logging.LogRecord(name, level, "/srv/app/job.py", 12, message, args, None, "work")


def test_pipe_of_records(nodes, sshd):
    """SSHPipe: whole LogRecord objects in each protocol, then a word that comes back."""
    server = nodes.server()
    data = b""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data += frame(record("example.e1", "%s of %d", f"protocol {protocol}", 5, level=logging.ERROR), protocol)
    data += frame("TERM", 4)
    command = sshd.command("collector", sawlog.SAWLOG, "forward", "--quiet", "--data", nodes.folder / "pipe",
                           "--input", "python=stdin:", "--to", server.url)
    r = subprocess.run(command, input=data, capture_output=True, timeout=30)
    assert (r.returncode, r.stdout) == (0, b"TERM\n"), r.stderr
    # All of it is stored when the word's sender has its answer.
    assert server.lines('{logger="example.e1"}') == [
        f"protocol {p} of 5" for p in range(2, pickle.HIGHEST_PROTOCOL + 1)]


@pytest.mark.parametrize("word", WORDS)
def test_words(nodes, word):
    server = nodes.server()
    data = frame(record("w", "before"), 4) + frame(word, 4) + frame(record("w", "behind"), 4)
    r = sawlog.run("forward", "--quiet", "--data", nodes.folder / "pipe", "--input", "python=stdin:",
                   "--to", server.url, stdin=data)
    assert (r.returncode, r.stdout) == (0, word.encode() + b"\n"), r.stderr
    assert server.lines('{logger="w"}') == ["before"]


def test_end_without_a_word(nodes):
    """A sender that is gone: what came is stored, the rest of a frame is counted."""
    server = nodes.server()
    data = frame(record("w", "whole"), 4) + frame(record("w", "half"), 4)[:40]
    r = sawlog.run("forward", "--quiet", "--data", nodes.folder / "pipe", "--input", "python=stdin:",
                   "--to", server.url, stdin=data)
    assert (r.returncode, r.stdout) == (0, b""), r.stderr
    assert server.lines('{logger="w"}') == ["whole"]


def test_many_pipes_at_once(nodes):
    """Senders of one host need not agree on a folder: what a pipe brings has no positions."""
    server = nodes.server()
    # Root's default folder is the system's: nobody has one of his own.
    user = 65534 if os.geteuid() == 0 else None
    started = []
    with tempfile.TemporaryDirectory(prefix="sawlog-") as home:
        os.chmod(home, 0o777)
        # Nobody need not be let into the folder of the program.
        program = shutil.copy(sawlog.SAWLOG, f"{home}/program")
        args = [program, "forward", "--quiet", "--input", "python=stdin:", "--to", server.url]
        for i in range(5):
            child = subprocess.Popen(
                args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                user=user, env={**os.environ, "XDG_STATE_HOME": home, "HOME": home})
            child.stdin.write(frame(record("many", f"first of {i}"), 4))
            child.stdin.flush()
            started.append(child)
        try:
            sawlog.wait_for("all at once", lambda: count(server, '{logger="many"}') == 5)
            for child in started:
                out, err = child.communicate(frame("QUIT", 4), timeout=30)
                assert (child.returncode, out) == (0, b"QUIT\n"), err
        finally:
            for child in started:
                child.kill()
                child.wait()


CLIENT = """
import json, logging, sys
sys.path.insert(0, {library!r})
from nwlogger import NwLogger
info = json.load(open({info!r}))
logger = NwLogger.get_logger(info, name="example.far", via="ssh")
for i in range(300):
    logger.info("far %d", i)
"""


def test_nwlogger_through_ssh(nodes, sshd, monkeypatch):
    """A program on another host: its logger runs ssh, and its end waits for what it sent."""
    sys.path.insert(0, str(sawlog.ROOT / "examples/b-python"))
    try:
        from nwlogger import NwLogger
    finally:
        sys.path.pop(0)
    monkeypatch.setenv("SAWLOG", sawlog.SAWLOG)
    logs = nodes.folder / "logs"
    with NwLogger(name="example", logdir=logs, ssh_host="collector", ssh_config=str(sshd.ssh_config)) as nwlogger:
        info = nodes.folder / "info.json"
        info.write_text(json.dumps(nwlogger.logger_info()))
        script = nodes.folder / "client.py"
        script.write_text(CLIENT.format(library=str(sawlog.ROOT / "examples/b-python"), info=str(info)))
        subprocess.run([sys.executable, str(script)], check=True, timeout=60)
    lines = (logs / "example.far.log").read_text().splitlines()
    assert [line.split(" ][ ")[4].removesuffix(" ]") for line in lines] == [f"far {i}" for i in range(300)]


def test_an_ssh_that_goes_nowhere(tmp_path, monkeypatch):
    """Records wait, programs go on, and ssh is not run for each of them."""
    sys.path.insert(0, str(sawlog.ROOT / "examples/b-python"))
    try:
        import nwlogger as library
    finally:
        sys.path.pop(0)
    (tmp_path / "config").write_text(f"Host collector\n  HostName 127.0.0.1\n  Port {sawlog.free_port()}\n")
    runs = []
    popen = subprocess.Popen
    monkeypatch.setattr(library.subprocess, "Popen", lambda *a, **kw: runs.append(a) or popen(*a, **kw))
    monkeypatch.setattr(library, "CLOSE_SECONDS", 0.2)
    handler = library._SSHHandler({"ssh_config": str(tmp_path / "config"), "ssh_host": "collector", "data": "/d",
                                   "sawlog": "sawlog", "url": "http://127.0.0.1:1"})
    logger = logging.Logger("nowhere")
    logger.addHandler(handler)
    for i in range(500):
        logger.warning("record %d", i)
    assert len(handler._backlog) == 500 and 1 <= len(runs) <= 3
    handler.close()
    assert len(handler._backlog) == 500


def test_the_example_of_a_remote_program(nodes, sshd):
    logs = nodes.folder / "logs"
    r = subprocess.run(
        [sys.executable, str(sawlog.ROOT / "examples/b-python/remote.py"), "far", str(logs), "--here", "collector",
         "--ssh-config", str(sshd.ssh_config)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "SAWLOG": sawlog.SAWLOG, "PYTHONDONTWRITEBYTECODE": "1"})
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    lines = (logs / "example.log").read_text().splitlines()
    assert "a program begins on far" in lines[0] and "quick brown fox" in lines[1] and "liquor jugs" in lines[2]
    assert (logs / "example.remote.log").read_text().splitlines() == lines[1:]
