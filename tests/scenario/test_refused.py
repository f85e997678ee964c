# SPDX-License-Identifier: Apache-2.0
"""Bad input gets its sentence, costs nothing else, and is counted by reason."""
import json
import os
import subprocess
import time

import pytest
import sawlog

JSON = {"Content-Type": "application/json"}


def rejected(server, reason, input_="loki"):
    return server.metric("sawlog_rejected_records_total", input=input_, reason=reason)


def test_not_json(server):
    a = server.call("POST", "/loki/api/v1/push", b'{"streams": [', JSON)
    assert a.status == 400 and "JSON" in a.text
    assert rejected(server, "bad_request") == 1


def test_bad_label_name_costs_its_stream_alone(server):
    body = json.dumps({"streams": [
        {"stream": {"bad-name": "x"}, "values": [["1", "lost"]]},
        {"stream": {"app": "good"}, "values": [[str(time.time_ns()), "kept"]]}]}).encode()
    a = server.call("POST", "/loki/api/v1/push", body, JSON)
    assert a.status == 400 and "bad-name" in a.text
    assert server.lines('{app="good"}') == ["kept"]
    assert rejected(server, "bad_labels") == 1


def test_long_line_is_cut_and_marked(server):
    assert server.push({"app": "long"}, ["a" * 300_000, "short"]).status == 204
    long, short = server.entries('{app="long"}')
    assert (len(long[1]), long[2]["truncated_from"]) == (256 * 1024, "300000")
    assert short[1] == "short" and "truncated_from" not in short[2]
    assert server.metric("sawlog_cut_records_total", input="loki") == 1


def test_too_large_a_body(nodes):
    server = nodes.server(config="limits: {max_body: 128KiB}\n")
    a = server.push({"app": "x"}, ["y" * 1000] * 200)
    assert a.status == 413 and "limit" in a.text
    assert server.push({"app": "x"}, ["fine"]).status == 204
    assert rejected(server, "over_limit") + rejected(server, "too_large") >= 1


@pytest.mark.parametrize("query,place", [
    ("{app=", "line 1, col"), ('{app="x"} |=', "line 1, col"), ('sum(count_over_time({app="x"}))', "line 1, col"),
    ('{app="x"}\n  |~ "["', "regexp"), ("", "unexpected")])
def test_bad_logql(server, query, place):
    a = server.get("/loki/api/v1/query_range", {"query": query})
    assert a.status == 400 and place in a.text, a.text
    assert a.headers["Content-Type"].startswith("text/plain")
    r = sawlog.run("query", query, "--addr", server.url)
    assert r.returncode == 2 and place.encode() in r.stderr, r.stderr


def test_bad_config(nodes):
    config = nodes.folder / "bad.yaml"
    config.write_text("http: {lisen: ['127.0.0.1:1']}\nmemory: 3\ninputs:\n  - fil: {}\n")
    for command in (["check", config], ["serve", "-c", config]):
        r = sawlog.run(*command)
        assert r.returncode == 78
        text = r.stderr.decode()
        assert "bad.yaml:1:" in text and "listen" in text
        assert "bad.yaml:2:" in text and "16MiB" in text
        assert "bad.yaml:4:" in text and "file" in text


@pytest.mark.parametrize("address", ["http://127.0.0.1:3999", "https://127.0.0.1:3999", "unix:///run/x",
                                     "tcp://127.0.0.1:3999", "stdin:"])
def test_http_address_that_is_more(nodes, address):
    """`check` refuses what a start would refuse."""
    config = nodes.folder / "more.yaml"
    config.write_text(f"http: {{listen: '{address}'}}\n")
    for command in (["check", config], ["serve", "-c", config]):
        r = sawlog.run(*command)
        assert r.returncode == 78 and b"HOST:PORT" in r.stderr and address.encode() in r.stderr, r


def test_clashing_ports(nodes):
    config = nodes.folder / "clash.yaml"
    config.write_text("http:\n  listen:\n    - 127.0.0.1:3100\n    - 127.0.0.1:3100\n")
    r = sawlog.run("check", config)
    assert r.returncode == 78 and b"clash.yaml:4:" in r.stderr and b"line 3" in r.stderr


def test_port_taken(nodes, server):
    r = sawlog.run("serve", "--data", nodes.folder / "other", "--http", f"127.0.0.1:{server.port}")
    assert r.returncode != 0 and str(server.port).encode() in r.stderr and b"in use" in r.stderr


def test_data_folder_taken(nodes, server):
    r = sawlog.run("serve", "--data", server.data, "--http", "127.0.0.1:0")
    assert r.returncode == 75 and str(server.data).encode() in r.stderr


def test_beyond_loopback(nodes):
    r = sawlog.run("serve", "--data", nodes.folder / "d", "--http", "0.0.0.0:0")
    assert r.returncode == 78 and b"insecure_allow" in r.stderr


def test_unknown_command_and_flag():
    r = sawlog.run("qurey")
    assert r.returncode == 2 and b"query" in r.stderr
    r = sawlog.run("query", "{}", "--limt", "3")
    assert r.returncode == 2 and b"--limit" in r.stderr


def test_unreachable():
    r = sawlog.run("query", "{}", "--addr", "http://127.0.0.1:1")
    assert r.returncode == 69 and b"127.0.0.1:1" in r.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_disk(nodes):
    """Refused within a second with a sentence; search goes on; accepted again by itself."""
    disk = nodes.folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "none", disk]).returncode:
        pytest.skip("mount is not permitted here")
    try:
        server = sawlog.Server(disk / "s", config="memory: 64MiB\n").start()
        ballast, acked = disk / "ballast", []
        try:
            assert server.push({"app": "d"}, ["first"]).status == 204
            with ballast.open("wb") as f:
                free = os.statvfs(disk)
                f.write(b"\0" * max(0, free.f_bavail * free.f_frsize - (70 << 20)))
            answer = None
            for _ in range(4000):
                lines = [os.urandom(500).hex() for _ in range(500)]  # does not compress
                answer = server.push({"app": "d"}, lines)
                if answer.status == 429:  # parts are built more slowly than this comes
                    time.sleep(0.02)
                    continue
                if answer.status != 204:
                    break
                acked += lines
            assert answer.status == 503 and "disk" in answer.text and "free" in answer.text, answer.text
            assert answer.headers["Retry-After"]
            assert server.get("/ready").status == 503
            assert rejected(server, "disk_full") > 0
            assert server.lines('{app="d"} |= "first"') == ["first"]
            ballast.unlink()
            sawlog.wait_for("accepts again", lambda: server.push({"app": "d"}, ["again"]).status == 204, 5)
            server.kill()
            server.start()
            got = set(server.lines('{app="d"}'))
            assert got >= {"first", "again", *acked}
        finally:
            server.close()
    finally:
        subprocess.run(["umount", disk], check=True)
