# SPDX-License-Identifier: Apache-2.0
"""Dockerfile and compose.yaml, without an engine to run them: what they name is there, and what they run runs."""
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import sawlog
import yaml

PACKAGING = sawlog.ROOT / "packaging"
COMPOSE = PACKAGING / "compose.yaml"


def instructions():
    """[(instruction, its text)] of the Dockerfile, lines joined, comments gone."""
    text = "".join(x for x in (PACKAGING / "Dockerfile").read_text().splitlines(True) if not x.startswith("#"))
    return [line.split(None, 1) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line]


def installed(packages):
    """Those of them that dpkg knows here; `make test` stands on the same Debian as the image."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Package}\n", *packages], capture_output=True, text=True)
    return set(done.stdout.split())


def test_instructions():
    seen = [name for name, _ in instructions()]
    assert seen[0] == "FROM" and seen.count("FROM") == 2 and seen[-2:] == ["ENTRYPOINT", "CMD"]
    assert set(seen) <= {"FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENV", "EXPOSE", "STOPSIGNAL",
                         "ENTRYPOINT", "CMD"}
    # Not as root, and nothing after that would need it.
    assert seen.index("USER") > max(i for i, name in enumerate(seen) if name == "RUN")
    for name, text in instructions():
        if name == "COPY" and "--from" not in text:
            *sources, _ = text.split()
            for source in sources:
                assert (sawlog.ROOT / source).exists(), source
    ignored = (PACKAGING / "Dockerfile.dockerignore").read_text().split()
    assert "build" in ignored and ".git" in ignored


@pytest.mark.skipif(sawlog.SANITIZED, reason="what is inlined elsewhere is a library's there")
def test_libraries():
    """What the image installs is what the binary needs, no more and no less."""
    (text,) = [t for n, t in instructions() if n == "RUN" and "ca-certificates" in t]
    listed = set(re.search(r"recommends (.*?) &&", text).group(1).split())
    assert installed(listed - {"ca-certificates", "tzdata"}) == listed - {"ca-certificates", "tzdata"}
    dynamic = subprocess.run(["readelf", "-d", sawlog.SAWLOG], capture_output=True, text=True, check=True).stdout
    needed = set()
    for library in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
        owner = subprocess.run(["dpkg-query", "-S", f"*-linux-gnu*/{library}"], capture_output=True, text=True)
        needed.add(owner.stdout.split(":")[0])
    # Part of every Debian.
    needed -= {"libc6", "libgcc-s1", "libstdc++6", ""}
    assert needed <= listed, f"not in the image: {sorted(needed - listed)}"
    assert listed - needed == {"ca-certificates", "tzdata"}


def test_build_commands(tmp_path):
    """Those of the image are those of the Makefile; what they install is the program."""
    (text,) = [t for n, t in instructions() if n == "RUN" and "cmake" in t]
    configure, build, install = text.split("&&")
    make = (sawlog.ROOT / "Makefile").read_text()
    assert configure.strip() in make and build.strip() in make
    args = shlex.split(install.replace("build/release", str(Path(sawlog.SAWLOG).parent))
                       .replace("/install", str(tmp_path)))
    subprocess.run(args, check=True, capture_output=True, timeout=60)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == ["bin/sawlog"]
    run = subprocess.run([tmp_path / "bin/sawlog", "version"], capture_output=True, text=True)
    assert run.returncode == 0 and "amqp" in run.stdout


def environment(service, **values):
    """A service's environment as compose would make it, with what the test has in its place."""
    given = {**service.get("environment", {}), **values}
    return {k: expand(v) for k, v in given.items()}


def expand(text):
    """${NAME:-default} with nothing set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


def compose():
    return yaml.safe_load(COMPOSE.read_text())


def test_compose():
    """What others are to reach is published, and to this machine alone (W-C8)."""
    c = compose()
    services = c["services"]
    assert set(services) == {"rabbitmq", "collector", "source"}
    for name, s in services.items():
        assert set(s) <= {"image", "build", "environment", "volumes", "hostname", "deploy", "command", "ports",
                          "restart"}, name
        if "build" in s:
            assert (PACKAGING / s["build"]["context"] / s["build"]["dockerfile"]).exists()
        for port in s.get("ports", []):
            assert port.startswith("127.0.0.1:"), "nothing of it is for other machines"
        for volume in s.get("volumes", []):
            source = volume.split(":")[0]
            assert source in c["volumes"] or (PACKAGING / source).is_dir()
    # Container names that compose makes of the project's, the service's and a number.
    peers = services["collector"]["environment"]["SAWLOG_PEERS"].split(",")
    assert len(peers) == services["collector"]["deploy"]["replicas"]
    assert peers[0] == f"http://{c['name']}-collector-1:3100"
    for name in ("collector", "source"):
        assert services[name]["environment" if name == "collector" else "command"]


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
def test_compose_accepts(tmp_path):
    subprocess.run(["docker-compose", "-f", COMPOSE, "config", "--quiet"], check=True, timeout=60)


def test_compose_commands(nodes, rabbit):
    """The services' own commands and variables, with this machine's ports: three collectors share what two
    sources send, and any of them answers for all."""
    c = compose()["services"]
    user, password = (expand(v) for v in c["rabbitmq"]["environment"].values())
    rabbit.broker.add_user(user, password, rabbit.name)
    url = rabbit.url_as(user, password)

    collectors = [nodes.server(start=False, name=f"collector-{i}") for i in range(3)]
    peers = ",".join(s.url for s in collectors)
    command = shlex.split(c["collector"]["command"])
    config = sawlog.ROOT / "examples/c-rabbitmq/sawlog.yaml"
    for i, s in enumerate(collectors):
        s.data = nodes.folder / f"data-{i}"
        env = environment(c["collector"], RABBITMQ_URI=url, LISTEN=f"127.0.0.1:{s.port}", SAWLOG_PEERS=peers,
                          SAWLOG_DATA=str(s.data))
        s.spawn([s.binary, *(str(config) if a == "/etc/sawlog/sawlog.yaml" else a for a in command)], env)
    for s in collectors:
        sawlog.wait_for("it is ready", s.is_ready)
    sawlog.wait_for("all three consume", lambda: rabbit.consumers("sawlog") == 3)

    source = re.sub(r"amqp=\S+", f"amqp={url}", c["source"]["command"])
    run = subprocess.run([sawlog.SAWLOG, *shlex.split(source.replace("--rate 10", "--count 300"))],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    for s in collectors:
        sawlog.wait_for("all of them in each answer",
                        lambda: len(s.lines('{app="ServiceA"}')) == 300)  # noqa: B023


# Two network namespaces and a cable, as two containers have it.  All of it ends by itself, whatever becomes of the
# test.
OTHER = r"""
set -eu
sawlog=$1 config=$2 folder=$3
pids= ready=
trap 'status=$?; kill $pids; wait; [ "$ready" ] || status=99; exit $status' EXIT
trap 'exit 1' HUP INT TERM
ip link add veth0 type veth peer name veth1
timeout 90 unshare -n sleep 90 & pids=$!
inside=
until [ "$inside" ] && [ "$(readlink "/proc/$inside/ns/net")" != "$(readlink /proc/$$/ns/net)" ]; do
	sleep 0.1
	inside=$(cat "/proc/$pids/task/$pids/children" | tr -d ' ')
done
other() {
	nsenter -t "$inside" -n "$@"
}
ip link set veth1 netns "$inside"
ip addr add 192.0.2.1/24 dev veth0
ip link set veth0 up
other ip addr add 192.0.2.2/24 dev veth1
other ip link set veth1 up
other curl --version >/dev/null
ready=yes

status=0
LISTEN=192.0.2.1:3100 timeout 60 "$sawlog" serve -c "$config" --data "$folder/refused" 2>"$folder/refused.err" ||
	status=$?
echo "not named: exit status $status"
timeout 90 "$sawlog" serve -c "$config" --data "$folder/data" >"$folder/out" 2>&1 & pids="$pids $!"
until other curl -sf http://192.0.2.1:3100/ready >/dev/null; do
	kill -0 $!
	sleep 0.1
done
other "$sawlog" emit loki=http://192.0.2.1:3100 --app ServiceA 'what happened' >&2
other curl -sf http://192.0.2.1:3100/logs/ServiceA
"""


def test_reached_from_another_container(tmp_path):
    """W-C8: the search answers where others can reach it, if its address is named as insecure, and else it says so."""
    if not shutil.which("ip") or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    c = compose()["services"]["collector"]
    run = subprocess.run(
        ["unshare", "-rn", "sh", "-c", OTHER, "sh", sawlog.SAWLOG, sawlog.ROOT / "examples/c-rabbitmq/sawlog.yaml",
         tmp_path], capture_output=True, text=True, timeout=100, env={**os.environ, **environment(c, SAWLOG_PEERS="")})
    if run.returncode == 99:
        pytest.skip(f"no network of two namespaces here: {run.stderr}")
    assert run.returncode == 0, run.stderr
    status, found = run.stdout.split("\n", 1)
    assert status == "not named: exit status 78"
    refused = (tmp_path / "refused.err").read_text()
    assert "192.0.2.1:3100" in refused and "insecure_allow" in refused
    assert [x["message"] for x in json.loads(found)["logs"]] == ["what happened"]
