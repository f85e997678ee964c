# SPDX-License-Identifier: Apache-2.0
"""The commands as a person uses them."""
import json
import subprocess
import time

import sawlog


def cli(server, *args, **kw):
    return sawlog.run(*args, "--addr", server.url, **kw)


def test_emit_query_labels_series(server):
    r = sawlog.run("emit", f"loki={server.url}", "--app", "shop", "--label", "env=test", "hello", "world")
    assert r.returncode == 0, r.stderr
    r = cli(server, "query", '{app="shop"}', "-o", "raw", "--forward")
    assert r.stdout == b"hello\nworld\n", r.stderr
    assert cli(server, "query", '{app="shop"}', "-o", "raw").stdout == b"world\nhello\n"
    rows = [json.loads(x) for x in cli(server, "query", '{app="shop"}', "-o", "jsonl").stdout.splitlines()]
    assert {x["line"] for x in rows} == {"hello", "world"}
    assert b"env" in cli(server, "labels").stdout
    assert cli(server, "labels", "app").stdout.split() == [b"shop"]
    assert b'app="shop"' in cli(server, "series", '{app="shop"}').stdout


def test_emit_stdin_and_batch(server):
    r = sawlog.run("emit", f"loki={server.url}", "--app", "in", stdin=b"a\nb\nc\n")
    assert r.returncode == 0, r.stderr
    assert server.lines('{app="in"}') == ["a", "b", "c"]
    r = sawlog.run("emit", f"batch={server.url}", "--app", "in2", stdin=b"x\ny\n")
    assert r.returncode == 0, r.stderr
    assert len(server.lines('{input="batch"}')) == 2


def test_limits_since_and_exit_status(server):
    now = time.time_ns()
    server.push({"app": "a"}, [(now - 7200 * 10**9, "old"), (now - 1000, "new")])
    out = lambda *a: cli(server, "query", '{app="a"}', "-o", "raw", *a)  # noqa: E731
    assert out("--since", "1h").stdout == b"new\n"
    assert out("--since", "3h", "--limit", "1").stdout == b"new\n"
    assert out("--since", "3h", "--limit", "1", "--forward").stdout == b"old\n"
    assert out("--since", "3h", "-n", "0").stdout == b"new\nold\n"
    assert cli(server, "query", '{app="none"}', "-q").returncode == 1
    assert cli(server, "query", '{app="a"}', "-q").returncode == 0


def test_everything_in_pages(server):
    for i in range(0, 12000, 1000):
        server.push({"app": "many"}, [(1_700_000_000_000_000_000, f"{i + k}") for k in range(1000)])
    r = cli(server, "query", '{app="many"}', "--from", "2023-01-01", "--limit", "0", "--forward", "-o", "raw")
    assert r.stdout.decode().split() == [str(i) for i in range(12000)]


def test_metric_query(server):
    server.push({"app": "a"}, [(time.time_ns() - 60 * 10**9 + i, "x") for i in range(5)])
    q = 'sum by (app) (count_over_time({app="a"}[1h]))'
    r = cli(server, "query", q, "-o", "json")
    assert r.returncode == 0, r.stderr
    assert json.loads(r.stdout)[0]["metric"] == {"app": "a"}
    r = cli(server, "query", q, "--instant")
    assert b'app="a"' in r.stdout and b" 5" in r.stdout


def test_control_bytes_do_not_reach_a_terminal(server, nodes):
    server.push({"app": "esc"}, ["\x1b[31mred\x07"])
    script = ["script", "-qec", f"{sawlog.SAWLOG} query '{{app=\"esc\"}}' --addr {server.url} --color always",
              "/dev/null"]
    out = subprocess.run(script, capture_output=True, timeout=20, stdin=subprocess.DEVNULL).stdout
    assert b"\x1b[31mred" not in out and b"\x07" not in out and b"\\x1b[31mred" in out


def test_help_for_all():
    r = sawlog.run("help")
    assert r.returncode == 0
    for command in ("serve", "query", "tail", "labels", "series", "forward", "emit", "check", "version"):
        assert command.encode() in r.stdout
        h = sawlog.run(command, "--help")
        assert h.returncode == 0 and b"sawlog " + command.encode() in h.stdout, command


def test_check_examples():
    for path in sorted((sawlog.ROOT / "examples").glob("*.yaml")):
        r = sawlog.run("check", path)
        assert r.returncode == 0, r.stderr


def test_check_knows_what_the_file_is_for(tmp_path):
    file = tmp_path / "x.yaml"
    for text, status, said in (
            ("url: http://127.0.0.1:1\npaths: [/x/*.log]\n", 0, b"ok for sawlog forward, 1 input"),
            ("url: http://127.0.0.1:1\npths: [/x]\n", 78, b'x.yaml:2:1: pths: unknown setting (did you mean "paths"?)'),
            ("url: http://x:1\ninputs: [{syslog: {listen: 'udp://0.0.0.0:514', allow: [10.0.0.0/8]}}]\n", 78,
             b"name udp://0.0.0.0:514 in insecure_allow"),
            ("memory: 1GiB\n", 0, b"ok for sawlog serve, 0 inputs\n"),
            ("outputs: [{stdout: {}}]\n", 0, b"ok for sawlog serve, 0 inputs, 1 output\n"),
            # More mistakes than keys that the other program does not know.
            ("alerts: {notify: [{email: {server: 'smtp://h', to: [x]}}]}\n", 78, b"2 problems for sawlog serve"),
            ("alerts: {external_url: logs.example.com}\n", 78, b"external_url: must be a URL"),
            ("inputs: [{stdin: {labels: {a-b: x}}}]\n", 78, b'inputs.stdin: labels: "a-b" is not a label'),
            ("url: http://127.0.0.1:1\npaths: [/x]\nlabels: {1st: x}\n", 78, b'labels: "1st" is not a label'),
            ("memroy: 1GiB\n", 78, b'did you mean "memory"?')):
        file.write_text(text)
        r = sawlog.run("check", file)
        assert (r.returncode, said in r.stdout + r.stderr) == (status, True), r


def test_stats_and_volume(server):
    now = time.time_ns() - 60 * 10**9
    server.push({"app": "shop"}, [(now + i, f"level=info line {i:04}") for i in range(50)])
    server.push({"app": "mail"}, [(now, "level=error x")])
    rows = cli(server, "stats").stdout.decode().splitlines()
    assert rows[1].split() == ["2", "51", "1,013", "1013", "B"]
    got = json.loads(cli(server, "stats", '{app="shop"}', "-o", "json").stdout)
    assert (got["streams"], got["entries"], got["bytes"]) == (1, 50, 1000)
    out = cli(server, "volume", "--by", "app").stdout.decode().splitlines()
    assert [x.split()[0] for x in out] == ["BYTES", "1,000", "13"] and '{app="mail"}' in out[2]
    rows = [json.loads(x) for x in cli(server, "volume", "--by", "detected_level", "-o", "jsonl").stdout.splitlines()]
    assert {r["metric"]["detected_level"]: r["value"][1] for r in rows} == {"info": "1000", "error": "13"}
    assert "app" in cli(server, "volume", "--names").stdout.decode().split()
    assert "1,000" in cli(server, "volume", '{app="shop"}', "--step", "1h").stdout.decode()
    r = cli(server, "volume", "{app=")
    assert r.returncode == 2 and b"parse error" in r.stderr


def test_tail_refuses_before_it_prints(server):
    """What no tail can answer prints nothing of its history first."""
    server.push({"app": "a"}, ["one"])
    r = cli(server, "tail", '{app="a"} | uniq')
    assert (r.returncode, r.stdout) == (2, b"") and b"tail" in r.stderr
    r = cli(server, "tail", '{app="a"} | uniq', "--no-follow")
    assert r.returncode == 0 and b"one" in r.stdout, r.stderr
