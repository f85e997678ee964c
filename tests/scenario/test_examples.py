# SPDX-License-Identifier: Apache-2.0
"""The examples do what they say."""
import os
import subprocess
import sys

import pytest
import rabbit
import sawlog
import zones

EXAMPLES = sawlog.ROOT / "examples"


def run(script, *args, **env):
    r = subprocess.run(["sh", EXAMPLES / script, *args], capture_output=True, timeout=60, text=True,
                       env={**os.environ, **env})
    assert r.returncode == 0, r.stderr
    return r.stdout


def test_loki(server):
    out = run("loki.sh", server.url)
    assert "disk sda1" in out and '"detected_level":"info"' in out


def test_batch(server):
    out = run("batch.sh", server.url)
    assert out.startswith("imok\nok\n") and out.endswith("\n".join(map(str, range(1, 11))) + "\n")


def test_forward():
    out = run("forward.sh", sawlog.SAWLOG, PORT=str(sawlog.free_port()))
    assert all(f"order {i} paid" in out for i in range(1, 7)) and "deployed" in out


def test_secure():
    out = run("secure.sh", sawlog.SAWLOG, PORT=str(sawlog.free_port()))
    assert "order 1 paid" in out and "order 2 paid" in out and '"app"' in out
    assert out.endswith("exit status 77\nexit status 77\n")


def forward(nodes, server, config, **env):
    r = subprocess.run([sawlog.SAWLOG, "forward", "--to", server.url, "--data", nodes.folder / "state", "-c",
                        config, "--once", "--quiet"], capture_output=True, timeout=60, text=True,
                       env={**os.environ, **env})
    assert r.returncode == 0, r.stderr


def test_containers(nodes, server):
    pods = nodes.folder / "pods" / "shop_web_1a" / "nginx"
    docker = nodes.folder / "containers" / "0123456789abcdef"
    for folder in (pods, docker):
        folder.mkdir(parents=True)
    (pods / "0.log").write_text("2026-08-21T10:00:00.000000001Z stdout F Authorization: Bearer abc\n")
    (docker / "0123456789abcdef-json.log").write_text(
        '{"log":"hi\\n","stream":"stderr","time":"2026-08-21T10:00:00.5Z"}\n')
    config = nodes.folder / "containers.yaml"
    config.write_text((EXAMPLES / "containers.yaml").read_text()
                      .replace("/var/log/pods", str(nodes.folder / "pods"))
                      .replace("/var/lib/docker", str(nodes.folder))
                      .replace("format:", "once: true\n      format:"))
    forward(nodes, server, config)
    assert server.lines('{namespace="shop", pod="web", stream="stdout"}') == ["Authorization: Bearer ***"]
    assert server.lines('{app="docker", container_id="0123456789ab"}') == ["hi"]


def test_multiline(nodes, server):
    logs = nodes.folder / "log"
    logs.mkdir()
    (logs / "a.log").write_text("GET /health\nERROR no\njava.lang.Exception: x\n\tat a.b\npassword=x\n")
    (logs / "legacy.log").write_bytes(b"21.08.2026 one\ntw\xf6\n22.08.2026 three\n")
    config = nodes.folder / "multiline.yaml"
    config.write_text((EXAMPLES / "multiline.yaml").read_text()
                      .replace("multiline:", "once: true\n      multiline:"))
    forward(nodes, server, config, LOGS=str(logs), ZONE="a")
    assert sorted(server.lines('{zone="a"}')) == ["ERROR no\njava.lang.Exception: x\n\tat a.b", "password=***"]
    assert sorted(server.lines('{app="legacy"}')) == ["21.08.2026 one\ntwö", "22.08.2026 three"]


def test_cat():
    out = run("cat.sh", sawlog.SAWLOG, PORT=str(sawlog.free_port()))
    assert out.endswith("both are whole\n")


def test_syslog(nodes):
    port = str(sawlog.free_port())
    server = nodes.server(config=(EXAMPLES / "syslog.yaml").read_text().replace("5514", port))
    sawlog.wait_for("it listens", lambda: "inputs running" in server.out)
    subprocess.run(["logger", "-n", "127.0.0.1", "-P", port, "-d", "hello"], check=True)
    sawlog.wait_for("hello", lambda: server.lines('{site="here"}') == ["hello"])


def test_python(nodes):
    ports = [str(sawlog.free_port()) for _ in range(3)]
    config = (EXAMPLES / "python.yaml").read_text()
    for name, port in zip(("9020", "9021", "9022"), ports):
        config = config.replace(name, port)
    server = nodes.server(config=config)
    subprocess.run([sys.executable, EXAMPLES / "python_logging.py", ports[0]], check=True, timeout=60)
    sawlog.wait_for("all seven", lambda: len(server.lines('{app="shop"}')) == 7)
    assert sorted(server.lines('{logger="shop.orders"} | order="2"')) == ["order 2 paid"]
    assert server.lines('{logger="shop"}') == ["the shop opens"]
    traces = server.lines('{logger="shop.orders"} |= "Traceback"')
    assert len(traces) == 3 and all(t.endswith("KeyError: 'stock'") for t in traces)


def test_forward_tls():
    out = run("forward-tls.sh", sawlog.SAWLOG, PORT=str(sawlog.free_port()), PORT2=str(sawlog.free_port()))
    assert "order 2 paid" in out and "order 1 paid" not in out


def test_exec(nodes):
    server = nodes.server(config=(EXAMPLES / "exec.yaml").read_text())
    sawlog.wait_for("the load", lambda: any("load average" in x for x in server.lines('{app="load"}')))
    sawlog.wait_for("two times", lambda: len(server.lines('{app="clock", zone="a"}')) >= 2)


def test_c_rabbitmq():
    """Three brokers, three collectors, sources, kills, an alert and a search: W-C1 to W-C11 in one go."""
    if rabbit.missing():
        pytest.skip(rabbit.missing())
    r = subprocess.run([EXAMPLES / "c-rabbitmq/run.sh", sawlog.SAWLOG], capture_output=True, timeout=290, text=True,
                       env={**os.environ, "PORT": str(ports_from(4))})
    assert r.returncode == 0, r.stdout + r.stderr
    assert r.stdout.count(", sent ") == 3 and '"service":"ServiceA"' in r.stdout


def test_d_loggregator():
    """A router, two servers, emitters, a kill, `sawlog logs`, a drain and /recent: W-D1 to W-D10 in one go."""
    if not zones.Rsyslogd.program():
        pytest.skip("rsyslogd is not there")
    r = subprocess.run([EXAMPLES / "d-loggregator/run.sh", sawlog.SAWLOG], capture_output=True, timeout=120, text=True,
                       env={**os.environ, "PORT": str(ports_from(5))})
    assert r.returncode == 0, r.stdout + r.stderr
    for said in ("recent: 1000", "live: 1000", "drained: 1000", "refused: 3", "boundary="):
        assert said in r.stdout, r.stdout


def ports_from(n):
    """The first of n free ports in a row."""
    while True:
        port = sawlog.free_port()
        if [sawlog.free_port() for _ in range(n - 1)] == list(range(port + 1, port + n)):
            return port
