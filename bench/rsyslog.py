# SPDX-License-Identifier: Apache-2.0
"""rsyslogd tails the same files, for comparison: processor time and lines until nothing more comes."""
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
QUIET = 2.0  # seconds without a byte: that was all
TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Sink(threading.Thread):
    """Takes whatever a TCP connection brings, and counts lines."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.n_lines, self.n_bytes = self.socket.getsockname()[1], 0, 0
        self.start()

    def run(self):
        connection, _ = self.socket.accept()
        buffer = bytearray(1 << 20)
        while n := connection.recv_into(buffer):
            self.n_lines += buffer.count(b"\n", 0, n)
            self.n_bytes += n
        connection.close()
        self.socket.close()


def measure(folder, files, action, received):
    """Run rsyslogd over the files until received() stands still: (CPU seconds, wall seconds, received)."""
    work = folder / "work"
    shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True)
    inputs = "".join(f'input(type="imfile" File="{f}" Tag="{f.stem}:")\n' for f in files)
    (folder / "conf").write_text(
        f'global(workDirectory="{work}" maxMessageSize="1m")\nmodule(load="imfile")\n{inputs}{action}\n')
    child = subprocess.Popen([RSYSLOGD, "-n", "-f", folder / "conf", "-i", folder / "pid"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        began, last, since, used = time.monotonic(), 0, time.monotonic(), 0.0
        while time.monotonic() - since < (QUIET if last else 20):
            time.sleep(0.05)
            if (now := received()) != last:
                last, since, used = now, time.monotonic(), cpu(child.pid)
        return used, since - began, last
    finally:
        child.terminate()
        child.wait(20)


def to_tcp(folder, files):
    """imfile to omfwd.  A line of the corpus is a line for the sink: (CPU seconds, wall seconds, lines)."""
    sink = Sink()
    return measure(folder, files, f'action(type="omfwd" target="127.0.0.1" port="{sink.port}" protocol="tcp" '
                   'template="RSYSLOG_SyslogProtocol23Format" queue.type="LinkedList" '
                   'action.resumeRetryCount="-1")', lambda: sink.n_lines)


def to_file(folder, files):
    """imfile to omfile, a buffered write of the plain lines: (CPU seconds, wall seconds, bytes)."""
    out = folder / "out"
    return measure(folder, files, f'template(name="plain" type="string" string="%msg%\\n")\n'
                   f'action(type="omfile" file="{out}" template="plain" ioBufferSize="64k" flushOnTXEnd="off")',
                   lambda: out.stat().st_size if out.exists() else 0)
