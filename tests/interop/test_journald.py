# SPDX-License-Identifier: Apache-2.0
"""logger(1) into the real journald, read by the journald input."""
import os
import secrets
import socket
import subprocess
import time
from pathlib import Path

import pytest
import sawlog

SOCKET = Path("/run/systemd/journal/dev-log")
DAEMON = Path("/lib/systemd/systemd-journald")


def listening():
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect(str(SOCKET))
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def journald():
    """This machine's, else one of our own."""
    if listening():
        yield
        return
    if os.geteuid() != 0 or not DAEMON.exists():
        pytest.skip("no journald runs here, and starting one needs root")
    for folder in ("/run/systemd/journal", "/run/log/journal"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen([DAEMON], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 5
    while not listening() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    if not listening():
        child.kill()
        child.wait()
        pytest.skip("journald does not run here, nor does one of our own (no machine-id, no /run?)")
    yield
    child.terminate()
    child.wait(10)


def log(tag, text, priority="user.info"):
    subprocess.run(["logger", "-u", SOCKET, "-t", tag, "-p", priority, text], check=True)


def test_logger_into_journald(nodes, journald):
    tag = "sawlog-test-" + secrets.token_hex(4)  # the journal remembers earlier runs
    log(tag, "before the server")
    server = nodes.server(args=["--input", "journald"])
    lines = lambda: server.lines(f'{{app="{tag}"}}', since="1h")  # noqa: E731
    sawlog.wait_for("history", lambda: lines() == ["before the server"])
    log(tag, "live", "user.err")
    sawlog.wait_for("live", lambda: lines() == ["before the server", "live"])
    levels = [e[2]["detected_level"] for e in server.entries(f'{{app="{tag}"}}', since="1h")]
    assert levels == ["info", "error"]
    # Its cursor is committed with the data: nothing twice, nothing lost while it is down.
    server.kill()
    log(tag, "while it was down")
    server.start()
    sawlog.wait_for("the third", lambda: len(lines()) >= 3)
    time.sleep(0.3)
    assert lines() == ["before the server", "live", "while it was down"]
