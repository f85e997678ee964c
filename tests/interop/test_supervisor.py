# SPDX-License-Identifier: Apache-2.0
"""The units of packaging/: a real supervisord runs them, and systemd-analyze reads them."""
import configparser
import os
import shutil
import signal
import socket
import subprocess
import xmlrpc.client

import pytest
import sawlog
from sawlog import wait_for

UNITS = sawlog.ROOT / "packaging"


class Transport(xmlrpc.client.Transport):
    """XML-RPC over supervisord's unix socket."""

    def __init__(self, path):
        super().__init__()
        self.path = str(path)

    def make_connection(self, host):
        import http.client

        connection = http.client.HTTPConnection("localhost", timeout=sawlog.PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(sawlog.PATIENCE)
        connection.sock.connect(self.path)
        return connection


class Supervisor(sawlog.Process):
    def __init__(self, folder, section, env):
        super().__init__("supervisord", folder)
        self.env = env
        self.path = folder / "s.sock"
        self.config = folder / "supervisord.ini"
        self.config.write_text(f"""\
[supervisord]
logfile = {folder}/supervisor.log
pidfile = {folder}/supervisor.pid
childlogdir = {folder}
nodaemon = true

[unix_http_server]
file = {self.path}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

{section}""")

    def start(self):
        self.spawn(["supervisord", "-c", str(self.config)], env=self.env)
        wait_for("supervisord answers", self.path.exists)
        self.rpc = xmlrpc.client.ServerProxy("http://localhost", transport=Transport(self.path)).supervisor
        return self

    def state(self, name):
        return self.rpc.getProcessInfo(name)


@pytest.fixture
def supervise(tmp_path):
    if not shutil.which("supervisord"):
        pytest.skip("there is no supervisord")
    made = []

    def make(section, env=None):
        made.append(Supervisor(tmp_path, section, env))
        return made[-1].start()

    yield make
    for s in made:
        if s.running:
            s.child.terminate()
            s.child.wait(30)


def section_of(name, **replaced):
    text = (UNITS / "supervisor" / name).read_text().replace("/usr/bin/sawlog", sawlog.SAWLOG)
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


CONFIG = """\
checklist file: c.yaml
python: python3
logging:
  version: 1
  formatters: {simple: {format: '%(asctime)s %(levelname)s [%(logger_name)s] %(message)s'}}
  handlers:
    info_text:
      class: logging.handlers.RotatingFileHandler
      formatter: simple
      filename: $(NOWCAST.ENV.NOWCAST_LOGS)/nowcast.log
  root: {level: INFO, handlers: [info_text]}
zmq: {host: localhost, ports: {logging: {worker: PORT}}}
"""


def test_nowcast(supervise, tmp_path):
    """Started, told to reload, started again when it was killed, stopped: by supervisord alone."""
    config = tmp_path / "nowcast.yaml"
    config.write_text(CONFIG.replace("PORT", str(sawlog.free_port())))
    log = tmp_path / "nowcast.log"
    s = supervise(section_of("nowcast.conf"), {
        "NOWCAST_LOGS": str(tmp_path), "NOWCAST_YAML": str(config),
        "SAWLOG_HTTP_LISTEN": f"127.0.0.1:{sawlog.free_port()}"})

    def lines(text):
        return log.read_text().count(text) if log.exists() else 0

    wait_for("it runs", lambda: lines("for all messages from worker") == 1)
    wait_for("supervisord sees it", lambda: s.state("log_aggregator")["statename"] == "RUNNING")
    s.rpc.signalProcess("log_aggregator", "HUP")
    wait_for("it has reloaded", lambda: lines("for all messages from worker") == 2)
    assert lines("hangup signal (SIGHUP) received; reloading configuration") == 1
    before = s.state("log_aggregator")["pid"]
    os.kill(before, signal.SIGKILL)
    wait_for("it runs again", lambda: lines("for all messages from worker") == 3)
    wait_for("supervisord sees it", lambda: s.state("log_aggregator")["statename"] == "RUNNING")
    assert s.state("log_aggregator")["pid"] != before
    s.rpc.stopProcess("log_aggregator")
    info = s.state("log_aggregator")
    assert info["statename"] == "STOPPED" and info["exitstatus"] == 0, info
    assert lines("termination signal (SIGTERM) received; shutting down") == 1


def test_wrong_configuration(supervise, tmp_path):
    """78 is not tried again and again."""
    config = tmp_path / "nowcast.yaml"
    config.write_text(CONFIG.replace("PORT", "x"))
    s = supervise(section_of("nowcast.conf").replace("[program:log_aggregator]", "[program:log_aggregator]\nstartsecs = 0"),
                  {"NOWCAST_LOGS": str(tmp_path), "NOWCAST_YAML": str(config)})
    wait_for("it has ended", lambda: s.state("log_aggregator")["statename"] == "EXITED")
    assert s.state("log_aggregator")["exitstatus"] == 78
    assert "must be a port from 1 to 65535" in s.rpc.readProcessStderrLog("log_aggregator", 0, 10000)


def test_serve_and_forward(supervise, tmp_path):
    port = sawlog.free_port()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "sawlog.yaml").write_text(f"http: {{listen: ['127.0.0.1:{port}']}}\n")
    (tmp_path / "a.log").write_text("a line\n")
    (tmp_path / "etc" / "forward.yaml").write_text(
        f"url: ['http://127.0.0.1:{port}']\npaths: ['{tmp_path}/a.log']\n")
    moved = {"/etc/sawlog": str(tmp_path / "etc"), "/var/lib/": f"{tmp_path}/", "/var/log/sawlog": str(tmp_path),
             "user = sawlog\n": ""}
    s = supervise(section_of("sawlog.conf", **moved) + section_of("sawlog-forward.conf", **moved))
    for name in ("sawlog", "sawlog-forward"):
        wait_for(f"{name} runs", lambda: s.state(name)["statename"] == "RUNNING")

    def stored():
        r = sawlog.run("query", "--addr", f"http://127.0.0.1:{port}", "-o", "raw", "{}", "--since", "876000h")
        return r.stdout == b"a line\n"

    wait_for("the line is stored", stored)
    for name in ("sawlog-forward", "sawlog"):
        s.rpc.stopProcess(name)
        assert s.state(name)["exitstatus"] == 0


def test_supervisor_sections():
    """Each is one program that is stopped patiently."""
    for path in sorted((UNITS / "supervisor").glob("*.conf")):
        parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
        parser.read(path)
        (program,) = parser.sections()
        assert int(parser[program]["stopwaitsecs"]) > 10 and parser[program]["stopsignal"] == "TERM"


def test_systemd_units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    units = sorted((UNITS / "systemd").glob("*.service"))
    assert len(units) == 3
    for unit in units:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/bin/sawlog", sawlog.SAWLOG))
        r = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / unit.name],
                           capture_output=True, text=True, timeout=60)
        assert r.returncode == 0 and unit.name not in r.stderr, r.stderr


def test_systemd_is_told(tmp_path):
    """READY when it takes records, RELOADING and READY around a reload, STOPPING at the end."""
    path = tmp_path / "notify"
    (tmp_path / "a.log").write_text("a line\n")
    for args in (["serve", "--data", str(tmp_path / "d"), "--http", f"127.0.0.1:{sawlog.free_port()}"],
                 ["forward", "--to", f"http://127.0.0.1:{sawlog.free_port()}", "--data", str(tmp_path / "f"), "--quiet",
                  str(tmp_path / "a.log")]):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(str(path))
            s.settimeout(sawlog.PATIENCE)
            p = sawlog.Process(args[0], tmp_path)
            p.spawn([sawlog.SAWLOG, *args], env={"NOTIFY_SOCKET": str(path)})
            try:
                assert s.recv(1000) == b"READY=1"
                if args[0] == "serve":
                    p.child.send_signal(signal.SIGHUP)
                    assert s.recv(1000) == b"RELOADING=1"
                    assert s.recv(1000) == b"READY=1"
                p.child.send_signal(signal.SIGTERM)
                assert s.recv(1000) == b"STOPPING=1"
                p.child.wait(30)
            finally:
                p.close()
        path.unlink()
