# SPDX-License-Identifier: Apache-2.0
"""`sawlog prompt`, typed into a terminal and piped into."""
import contextlib
import os
import pty
import re
import select
import subprocess
import time

import pytest
import sawlog


class Terminal:
    def __init__(self, server, home, **env):
        self.master, slave = pty.openpty()
        self.child = subprocess.Popen(
            [sawlog.SAWLOG, "prompt", "--addr", server.url], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 0),
            env={**os.environ, "TERM": "xterm", "PAGER": "cat", "XDG_STATE_HOME": str(home), **env})
        os.close(slave)
        self.out = ""

    def read(self, until, seconds=sawlog.PATIENCE):
        """What comes up to a text."""
        end = time.monotonic() + seconds
        while until not in self.out:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {until!r} within {seconds} s: {self.out[-2000:]!r}"
            # Editing moves the cursor about: the text alone is looked at.
            self.out += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(self.master, 65536).decode())
        seen, self.out = self.out.split(until, 1)
        return seen

    def type(self, text):
        os.write(self.master, text.encode())

    def interrupt(self):
        """Ctrl-C until the prompt is back, as one does: the editor may be drawing just then."""
        for _ in range(10):
            self.type("\x03")
            with contextlib.suppress(AssertionError):
                self.read("sawlog> ", 2)
                return
        raise AssertionError(f"no prompt after ten interrupts: {self.out[-2000:]!r}")


@pytest.fixture
def server(nodes):
    server = nodes.server()
    server.push({"app": "billing", "host": "web-1"}, ["first", "second \x1b[31m red"])
    server.push({"app": "shipping"}, ["third"])
    return server


@pytest.fixture
def terminal(server, tmp_path):
    t = Terminal(server, tmp_path)
    t.read("sawlog> ")
    yield t
    t.child.kill()
    t.child.wait()


def test_a_query(terminal):
    terminal.type('{app="billing"}\n')
    seen = terminal.read("first")
    # A line cannot drive the terminal.
    assert "second \\x1b[31m red" in seen
    terminal.read("sawlog> ")
    terminal.type("\\set -o raw --forward\n{app=\"billing\"}\n")
    assert "web-1" not in terminal.read("second")
    terminal.read("sawlog> ")
    terminal.type('{app=\n')
    terminal.read("parse error")
    terminal.read("sawlog> ")
    terminal.type("\\nonsense\n")
    terminal.read("there is no \\nonsense")
    terminal.type("\\labels app\n")
    terminal.read("billing")
    terminal.type("\\quit\n")
    assert terminal.child.wait(sawlog.PATIENCE) == 0


def test_completion(terminal):
    # How a completed word is drawn is the editor's business: what is run tells.
    terminal.type('{ap\t="bi\t"} |= "fir" | decol\t\n')
    terminal.read("first")
    terminal.read("sawlog> ")
    terminal.type('{app="\t')
    terminal.read("billing  shipping")
    terminal.type("\x15\x04")  # what was typed is dropped, and the end
    assert terminal.child.wait(sawlog.PATIENCE) == 0


def test_an_interrupt_ends_the_query_alone(terminal, server):
    terminal.type("\\tail {app=\"billing\"}\n")
    terminal.read("first")
    server.push({"app": "billing"}, ["live"])
    terminal.read("live")
    terminal.interrupt()
    terminal.type("half a quer")
    terminal.interrupt()
    terminal.type("\\labels\n")
    terminal.read("app")
    assert terminal.child.poll() is None


def test_history(server, tmp_path):
    for keys, want in (('{app="shipping"} \\\n|= "thi"\n', "third"), ("\x1b[A\n", "third")):
        t = Terminal(server, tmp_path)
        t.read("sawlog> ")
        t.type(keys)
        t.read(want)
        t.read("sawlog> ")
        t.type("\x04")
        assert t.child.wait(sawlog.PATIENCE) == 0
    assert os.stat(tmp_path / "sawlog" / "history").st_mode & 0o777 == 0o600


def test_a_pager_that_is_left(server, tmp_path):
    """It need not read all: the query ends, and the prompt goes on."""
    server.push({"app": "long"}, [f"line {i} " + "x" * 500 for i in range(20000)])
    t = Terminal(server, tmp_path, PAGER="head -n 3")
    t.read("sawlog> ")
    t.type('{app="long"}\n')
    t.read("line ")
    t.read("sawlog> ")
    t.type("\\quit\n")
    assert t.child.wait(sawlog.PATIENCE) == 0


def test_piped(server):
    def prompt(text, *flags):
        return subprocess.run([sawlog.SAWLOG, "prompt", "--addr", server.url, *flags], input=text, text=True,
                              capture_output=True, timeout=sawlog.PATIENCE)

    got = prompt('{app="shipping"}\n\\labels app\n', "-o", "raw")
    assert (got.returncode, got.stdout) == (0, "third\nbilling\nshipping\n"), got.stderr
    assert prompt("{\n").returncode == 2
    assert prompt("").returncode == 0
