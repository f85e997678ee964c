# SPDX-License-Identifier: Apache-2.0
"""loggen, syslog-ng's generator, over TCP, TLS, UDP and a unix socket: every numbered message once."""
import re
from collections import Counter

import pytest
import sawlog
from senders import Loggen, certificates, count, syslog_server

N = 5000


@pytest.fixture(scope="module")
def loggen():
    return Loggen()


def check(server, n, connections=1):
    """Each connection numbers its messages from 0 (or 1) on; in order, none missing, none twice."""
    sawlog.wait_for("all messages", lambda: count(server) >= n, 30)
    threads = {}
    for line in server.lines('{input="syslog"}'):
        m = re.search(r"seq: (\d+), thread: (\d+), runid: (\d+)", line)
        assert m, line
        threads.setdefault(m.group(2), []).append(int(m.group(1)))
    assert len(threads) == connections
    assert sum(map(len, threads.values())) == n
    for numbers in threads.values():
        assert Counter(numbers).most_common(1)[0][1] == 1
        assert sorted(numbers) == list(range(min(numbers), min(numbers) + len(numbers)))
        yield numbers


@pytest.mark.parametrize("how", [(), ("--syslog-proto",), ("--syslog-proto", "--no-framing"),
                                 ("--syslog-proto", "--sdata", '[test name="a \\"b\\" c"]')])
@pytest.mark.parametrize("size", [200, 2000])
def test_tcp(nodes, loggen, how, size):
    server, at = syslog_server(nodes)
    loggen.run("--inet", "--stream", "--size", size, "--number", N, "--rate", 100_000, *how, "127.0.0.1", at["tcp"])
    for numbers in check(server, N):
        assert numbers == sorted(numbers)


def test_many_connections(nodes, loggen):
    server, at = syslog_server(nodes)
    loggen.run("--inet", "--stream", "--size", 300, "--number", 1000, "--rate", 100_000, "--active-connections", 20,
               "--idle-connections", 50, "127.0.0.1", at["tcp"])
    for numbers in check(server, 20_000, connections=20):
        assert numbers == sorted(numbers)


def test_tls(nodes, loggen):
    server, at = syslog_server(nodes, tls=certificates(nodes.folder))
    loggen.run("--use-ssl", "--size", 300, "--number", N, "--rate", 100_000, "--syslog-proto", "127.0.0.1", at["tls"])
    for numbers in check(server, N):
        assert numbers == sorted(numbers)


def test_udp(nodes, loggen):
    """At a rate that the kernel's buffer holds nothing is lost over loopback."""
    server, at = syslog_server(nodes)
    loggen.run("--inet", "--dgram", "--size", 300, "--number", N, "--rate", 5000, "127.0.0.1", at["udp"])
    for _ in check(server, N):
        pass


@pytest.mark.parametrize("kind", ["unix", "unix-dgram"])
def test_unix(nodes, loggen, kind):
    server, at = syslog_server(nodes)
    flag = "--stream" if kind == "unix" else "--dgram"
    loggen.run("--unix", flag, "--size", 300, "--number", 2000, "--rate", 20_000, at[kind])
    for numbers in check(server, 2000):
        assert numbers == sorted(numbers)
