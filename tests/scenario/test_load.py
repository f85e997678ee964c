# SPDX-License-Identifier: Apache-2.0
"""A forwarder with a thousand files, and one whose server is away: what that costs."""
import os
import random
import time
from pathlib import Path

import pytest
import rotate
import sawlog

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(process):
    fields = Path(f"/proc/{process.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@pytest.mark.skipif(sawlog.SANITIZED, reason="a sanitizer's memory says nothing of ours")
def test_a_thousand_files(nodes, server):
    """Each idle file costs next to nothing: less than 16 MiB in all, and hardly any processor time."""
    n, rng = 1000, random.Random(1)
    logs = [nodes.folder / "logs" / f"app{i}.log" for i in range(n)]
    logs[0].parent.mkdir()
    for i, log in enumerate(logs):
        log.write_text(f"first line of {i}\n")
    forwarder = nodes.forwarder(server, nodes.folder / "logs" / "*.log")

    def stored():
        return sum(rotate.counts(server).values())

    sawlog.wait_for("a line of each", lambda: stored() == n)
    want, peak = {i: [f"first line of {i}"] for i in range(n)}, 0
    for turn in range(5):
        for i in rng.sample(range(n), 200):
            line = f"turn {turn} of {i} " + "x" * rng.randint(0, 2000)
            want[i].append(line)
            with logs[i].open("a") as f:
                f.write(line + "\n")
        peak = max(peak, forwarder.rss_anon())
        time.sleep(0.1)
    sawlog.wait_for("what was appended", lambda: stored() == n + 1000)
    peak = max(peak, forwarder.rss_anon())
    for i in rng.sample(range(n), 20):
        assert server.lines(f'{{app="app{i}"}}') == want[i]
    began, used = time.monotonic(), cpu_s(forwarder)
    time.sleep(4)
    idle = (cpu_s(forwarder) - used) / (time.monotonic() - began)
    print(f"{n} files: RssAnon {peak / 2**20:.1f} MiB, idle {idle * 100:.1f} % of a processor")
    assert peak < 16 << 20
    assert idle < 0.05


@pytest.mark.skipif(sawlog.SANITIZED, reason="a sanitizer's memory says nothing of ours")
def test_a_backlog_while_the_server_is_away(nodes):
    """200 MB wait in files for a server that is down, comes, is killed and comes again.  Memory stands still."""
    server = nodes.server(start=False, config="memory: 96MiB\n")
    (nodes.folder / "logs").mkdir()
    text = "".join(f"@@@@@@.{i:03d} " + "y" * (i * 13 % 180) + "\n" for i in range(1000)).encode()
    n_files, n_blocks = 8, 200_000_000 // 8 // len(text)
    for k in range(n_files):
        with open(nodes.folder / "logs" / f"app{k}.log", "wb") as f:
            for block in range(n_blocks):
                f.write(text.replace(b"@@@@@@", b"%d%05d" % (k, block)))
    forwarder = nodes.forwarder(server, nodes.folder / "logs" / "*.log", args=["--memory", "16MiB"])
    peaks = []

    def watch(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            peaks.append(forwarder.rss_anon())
            time.sleep(0.05)

    watch(2)
    server.start()
    for _ in range(2):
        watch(0.5)
        server.kill()
        watch(0.5)
        server.start()

    def all_there():
        watch(0.2)
        return sum(rotate.counts(server).values()) >= n_files * n_blocks * 1000

    sawlog.wait_for("all of it", all_there, 60)
    print(f"peak RssAnon {max(peaks) / 2**20:.1f} MiB")
    assert max(peaks) < 20 << 20
    for k in range(n_files):
        with rotate.Reader(server, nodes.folder / "logs" / f"app{k}.log") as reader:
            for block in range(n_blocks):
                want = text.replace(b"@@@@@@", b"%d%05d" % (k, block))
                assert reader.take(len(want)) == want, f"file {k}, block {block}"
            assert reader.take(1) == b""
