# SPDX-License-Identifier: Apache-2.0
"""sawlog forward --input: any input without a config file, and beside one."""
import logging
import logging.handlers
import os
import signal
import socket

import pytest
import sawlog


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def python_logger(port):
    logger = logging.Logger("far.job")
    logger.addHandler(logging.handlers.SocketHandler("127.0.0.1", port))
    return logger


def test_several_inputs_and_a_path(nodes):
    port, syslog, server = sawlog.free_port(), sawlog.free_port(), nodes.server()
    path, listed = nodes.folder / "path.log", nodes.folder / "listed.log"
    path.write_text("by path\n")
    listed.write_text("by flag\n")
    forwarder = nodes.forwarder(server, path, args=[
        "--input", f"file={listed}", "--input", f"python=tcp://127.0.0.1:{port}",
        f"--input=syslog=tcp://127.0.0.1:{syslog}"])
    sawlog.wait_for("it listens", lambda: listens(port) and listens(syslog))
    python_logger(port).error("by %s", "logging")
    with socket.create_connection(("127.0.0.1", syslog)) as s:
        s.sendall(b"<13>Nov 21 10:00:00 h app: by syslog\n")
    want = ["by flag", "by logging", "by path", "by syslog"]
    sawlog.wait_for("all four", lambda: sorted(server.lines("{}")) == want)
    assert forwarder.stop() == 0


def test_beside_a_config(nodes):
    """A reload reads the file again, and keeps what the flags said."""
    port, server = sawlog.free_port(), nodes.server()
    config, log = nodes.folder / "forward.yaml", nodes.folder / "a.log"
    log.write_text("from the file\n")
    config.write_text(f"paths: [{log}]\n")
    forwarder = nodes.forwarder(server, args=["-c", str(config), "--input", f"python=tcp://127.0.0.1:{port}"])
    sawlog.wait_for("it listens", lambda: listens(port))
    logger = python_logger(port)
    logger.warning("before")
    other = nodes.folder / "b.log"
    other.write_text("named later\n")
    config.write_text(f"paths: [{log}, {other}]\n")
    forwarder.child.send_signal(signal.SIGHUP)
    sawlog.wait_for("the reload", lambda: "reloaded" in forwarder.err)
    logger.warning("behind")
    sawlog.wait_for("all of it", lambda: sorted(server.lines("{}")) == [
        "before", "behind", "from the file", "named later"])


@pytest.mark.parametrize("args, sentence", [
    (["--input", "pyton=tcp://127.0.0.1:1"], 'there is no input "pyton" (did you mean "python"?)'),
    (["--input", "python=tpc://127.0.0.1:1"], "--input:"),
    (["--input", "python"], "listen"),
    (["--input", "syslog=tcp://0.0.0.0:5514"], "open beyond this machine"),
    (["--stdio", "--input", "python=stdin:"], "holds the server's answers"),
    (["--stdio", "--input", "stdin"], "holds the server's answers"),
    (["--input", "python=stdin:", "-"], "it can be read once"),
    (["--input", "python=stdin:", "--input", "stdin"], "it can be read once"),
    (["--input"], "--input"),
])
def test_mistakes(tmp_path, args, sentence):
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    r = sawlog.run("forward", "--data", tmp_path / "data", *args, stdin=b"", env=env)
    assert r.returncode in (2, 78) and sentence in r.stderr.decode(), r.stderr
    assert r.stdout == b""


def test_serve_has_the_same(nodes):
    port = sawlog.free_port()
    server = nodes.server(args=["--input", f"python=tcp://127.0.0.1:{port}"])
    python_logger(port).critical("here")
    sawlog.wait_for("the record", lambda: server.lines('{logger="far.job"}') == ["here"])
