# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ for tests, without systemd and without the machine's own one.

How a test uses it (both fixtures are known to scenario and interop tests):

    def test_one(nodes, rabbit):            # a virtual host of its own in the one broker of the whole run
        rabbit.url                          # amqp://test:secret@127.0.0.1:PORT/VHOST for a config
        with rabbit.connect() as c:         # pika.BlockingConnection; channel() gives a channel of a new one
            c.channel().basic_publish(...)
        rabbit.depth("logQueue")            # messages ready in a queue, None when there is no such queue
        rabbit.consumers("logQueue")        # who consumes from it
        rabbit.close_connections()          # the broker closes those of this vhost (320 CONNECTION_FORCED)
        rabbit.url_as("nobody", "wrong")    # the same with other credentials
        rabbit.tls_url, rabbit.ca           # amqps:// and the certificate that signed the broker's
        rabbit.broker.restart()             # stop (SIGTERM) and start; kill() is kill -9, then start()
        rabbit.broker.pause(), .resume()    # SIGSTOP and SIGCONT: heartbeats are missed
        with rabbit.broker.memory_alarm():  # connection.blocked for whoever publishes
        rabbit.broker.call("erlang:now().") # any Erlang expression in the broker, its result as text

    def test_three(nodes, rabbit_cluster):  # three nodes (20-30 s to start), shared by the tests of a module
        rabbit_cluster.urls                 # of each node; rabbit_cluster.url names the first
        rabbit_cluster.nodes[1].kill()      # a Broker as above; .start() brings it back

A broker that a test left stopped, paused or alarmed is put right before the next one.  Each group has an
epmd, a cookie and ports of its own in a folder of its own and is ended by its pids.  As root everything runs as the
user rabbitmq.  Without the packages rabbitmq-server and python3-pika the tests are skipped.
"""
import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.parse
from pathlib import Path

import pytest
from sawlog import free_port, wait_for

try:
    import pika
except ImportError:
    pika = None

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
# One node starts in 4.5 s alone; with a build and other tests beside it takes many times as long.
STARTING = 120.0
USER, PASSWORD = "test", "secret"


def missing():
    """What a broker lacks on this machine, or None."""
    if not Path(SERVER).exists():
        return "rabbitmq-server is not installed"
    if pika is None:
        return "python3-pika is not installed"
    return None


def certificate(folder):
    """A self-signed certificate of 127.0.0.1 and localhost: folder/cert.pem and key.pem."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True)


class Guarded:
    """A process in a session of its own, so that ^C in a terminal reaches the test alone, which then ends it.
    When the test itself is killed, a shell that waits for the end of a pipe ends the process in its place."""

    def __init__(self, args, after=":", **more):
        self.child = subprocess.Popen(args, stdin=subprocess.DEVNULL, start_new_session=True, **more)
        self.guard = subprocess.Popen(
            ["sh", "-c", f'read -r line || {{ kill -9 "-$1"; {after}; }}', "guard", str(self.child.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True)

    def close(self):
        """After kill -9: whoever else is in the group, and the guard."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        # Erlang's helpers for names and ports.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.guard.communicate(b"done\n")


class Broker:
    """One node; `group` has what the nodes of a cluster share."""

    def __init__(self, group, name, port):
        self.group, self.name, self.port = group, f"{name}@localhost", port
        self.tls_port, self.dist_port = free_port(), free_port()
        self.folder = group.folder / name
        self.process, self.paused = None, False
        self.folder.mkdir()
        group.give(self.folder)

    # -- life

    def _configure(self):
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}",
                 "disk_free_limit.absolute = 50MB",
                 f"default_user = {USER}", f"default_pass = {PASSWORD}",
                 "default_user_tags.administrator = true",
                 f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
                 f"ssl_options.cacertfile = {self.group.folder}/cert.pem",
                 f"ssl_options.certfile = {self.group.folder}/cert.pem",
                 f"ssl_options.keyfile = {self.group.folder}/key.pem",
                 "ssl_options.verify = verify_none", "ssl_options.fail_if_no_peer_cert = false",
                 "log.file.level = info"]
        if len(self.group.nodes) > 1:
            lines.append("cluster_formation.peer_discovery_backend = classic_config")
            lines += [f"cluster_formation.classic_config.nodes.{i} = {n.name}"
                      for i, n in enumerate(self.group.nodes, 1)]
        lines += self.group.settings
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "plugins").write_text("[].\n")

    def launch(self):
        """Start it without waiting for it."""
        assert not self.running
        self._configure()
        self.paused = False
        env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": str(self.group.folder),
            **self.group.epmd_env,
            "RABBITMQ_NODENAME": self.name, "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": f"{self.folder}/mnesia", "RABBITMQ_LOG_BASE": f"{self.folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{self.folder}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.folder}/plugins",
            "RABBITMQ_PID_FILE": f"{self.folder}/pid", "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                f"-kernel inet_dist_use_interface {{127,0,0,1}} +S {self.group.schedulers} +sbwt none",
            # The script then becomes the broker: a kill reaches the very process.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        with open(self.folder / "out", "ab") as out:
            self.process = Guarded([*self.group.as_user, SERVER], env=env, stdout=out, stderr=out, cwd=self.folder)

    def start(self):
        self.launch()
        return self.wait()

    def wait(self):
        wait_for(f"{self.name} is up", self.is_ready, STARTING)
        return self

    def is_ready(self):
        if not self.running:
            raise AssertionError(f"{self.name} ended: {self.log[-3000:]}")
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as s:
                s.settimeout(5)
                s.sendall(b"AMQP\0\0\x09\x01")
                return s.recv(1) == b"\x01"
        return False

    @property
    def child(self):
        return self.process and self.process.child

    @property
    def running(self):
        return self.child is not None and self.child.poll() is None

    @property
    def log(self):
        files = [self.folder / "out", *sorted((self.folder / "log").glob("*.log"))] \
            if (self.folder / "log").exists() else [self.folder / "out"]
        return "".join(f.read_text(errors="replace") for f in files if f.exists())

    def kill(self, sig=signal.SIGKILL):
        """End it, by kill -9 unless told otherwise, and wait until it has."""
        if self.running:
            self.child.send_signal(sig)
            if self.paused:
                self.child.send_signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(timeout=STARTING)
        if self.process:
            self.process.close()
        self.process, self.paused = None, False

    def stop(self):
        """End it in order."""
        self.kill(signal.SIGTERM)

    def restart(self):
        self.stop()
        return self.start()

    def pause(self):
        self.paused = True
        self.child.send_signal(signal.SIGSTOP)

    def resume(self):
        self.paused = False
        self.child.send_signal(signal.SIGCONT)

    def heal(self):
        """Up and without alarms again, whatever a test did."""
        if self.paused:
            self.resume()
        if not self.running:
            self.start()
        if self.call("rabbit_alarm:get_alarms().") != "[]":
            self.alarm(False)

    # -- administration

    def call(self, expressions):
        """Evaluate Erlang in the node; its text as Erlang prints it."""
        done = subprocess.run(
            ["erl_call", "-sname", self.name, "-c", self.group.cookie, "-e"], input=expressions.encode() + b"\n",
            capture_output=True, timeout=60, env={**os.environ, **self.group.epmd_env, "HOME": str(self.group.folder)})
        text = done.stdout.decode(errors="replace").strip()
        if done.returncode != 0 or not text.startswith("{ok, "):
            raise RuntimeError(f"{self.name}: {expressions!r}: {text} {done.stderr.decode(errors='replace')}")
        return text[5:-1]

    def add_vhost(self, name):
        self.call(f'rabbit_vhost:add(<<"{name}">>, <<"test">>), {self._permit(USER, name)}')

    def _permit(self, user, vhost):
        return (f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{vhost}">>, '
                '<<".*">>, <<".*">>, <<".*">>, <<"test">>).')

    def delete_vhost(self, name):
        self.call(f'rabbit_vhost:delete(<<"{name}">>, <<"test">>).')

    def add_user(self, user, password, vhost=None):
        """A user without any right, or with all rights on a virtual host."""
        self.call(f'case rabbit_auth_backend_internal:exists(<<"{user}">>) of true -> ok; false -> '
                  f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"{password}">>, <<"test">>) end'
                  + (", " + self._permit(user, vhost) if vhost else "."))

    def alarm(self, on):
        self.call(f"vm_memory_monitor:set_vm_memory_high_watermark({'0.000001' if on else '0.8'}).")
        # The alarm follows at the next look at the memory, once a second.
        wait_for(f"the memory alarm is {'on' if on else 'off'}",
                 lambda: (self.call("rabbit_alarm:get_alarms().") != "[]") == on, STARTING)

    @contextlib.contextmanager
    def memory_alarm(self):
        self.alarm(True)
        try:
            yield
        finally:
            self.alarm(False)

    # -- clients

    def url(self, vhost="/", user=USER, password=PASSWORD, scheme="amqp"):
        port = self.tls_port if scheme == "amqps" else self.port
        return f"{scheme}://{user}:{password}@127.0.0.1:{port}/{urllib.parse.quote(vhost, safe='')}"

    def parameters(self, vhost="/", **more):
        return pika.ConnectionParameters(
            "127.0.0.1", self.port, vhost, pika.PlainCredentials(USER, PASSWORD), **{
                "connection_attempts": 5, "retry_delay": 0.5, "socket_timeout": 30, "stack_timeout": 60, **more})

    def connect(self, vhost="/", **more):
        return pika.BlockingConnection(self.parameters(vhost, **more))

    def queue(self, name, vhost="/"):
        """(messages ready, consumers) of a queue, or None when there is none."""
        with self.connect(vhost) as connection:
            try:
                ok = connection.channel().queue_declare(name, passive=True).method
                return ok.message_count, ok.consumer_count
            except pika.exceptions.ChannelClosedByBroker as e:
                if e.reply_code != 404:
                    raise
                return None


class Group:
    """What the nodes of a cluster, or a single one, share: folder, cookie, epmd, certificate."""

    def __init__(self, count=1, settings=(), schedulers="1:1"):
        self.folder = Path(tempfile.mkdtemp(prefix="sawlog-rabbit-"))
        self.settings, self.schedulers = list(settings), schedulers
        self.as_user, self.owner = [], None
        if os.geteuid() == 0:
            self.owner = pwd.getpwnam("rabbitmq")
            self.as_user = ["setpriv", f"--reuid={self.owner.pw_uid}", f"--regid={self.owner.pw_gid}",
                            "--clear-groups"]
        # As Erlang makes them: letters only.
        self.cookie = "".join(chr(65 + b % 26) for b in os.urandom(20))
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(self.cookie)
        cookie.chmod(0o400)
        certificate(self.folder)
        for path in (self.folder, cookie, self.folder / "key.pem", self.folder / "cert.pem"):
            self.give(path)
        self.ca = self.folder / "cert.pem"
        self.epmd_env = {"ERL_EPMD_PORT": str(free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        self.epmd = None
        self.nodes = []
        for i in range(1, count + 1):
            self.nodes.append(Broker(self, f"rabbit{i}", free_port()))

    def give(self, path):
        """To the user that the broker runs as."""
        if self.owner:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def start(self):
        self.epmd = Guarded([*self.as_user, "epmd"], f"sleep 1; rm -rf '{self.folder}'", cwd="/",
                            env={**os.environ, **self.epmd_env}, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
        # The others join the first; together they might found several clusters.
        self.nodes[0].start()
        for node in self.nodes[1:]:
            node.launch()
        for node in self.nodes[1:]:
            node.wait()
        if len(self.nodes) > 1:
            wait_for("all nodes are in the cluster", self.is_whole, STARTING)
        return self

    def running(self):
        """Names of the nodes that are up, as the first that answers knows them."""
        for node in self.nodes:
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
                if node.running and not node.paused:
                    return set(re.findall(r"rabbit\d+@localhost", node.call("rabbit_nodes:all_running().")))
        return set()

    def is_whole(self):
        return len(self.running()) == len(self.nodes)

    def heal(self):
        for node in self.nodes:
            node.heal()
        wait_for("all nodes are in the cluster", self.is_whole, STARTING)

    def close(self):
        enders = [threading.Thread(target=n.kill, daemon=True) for n in self.nodes]
        for e in enders:
            e.start()
        for e in enders:
            e.join()
        if self.epmd:
            self.epmd.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self):
        return self.nodes[0].url()

    @property
    def urls(self):
        return [n.url() for n in self.nodes]


class Vhost:
    """A test's own part of the shared broker."""

    def __init__(self, broker, name):
        self.broker, self.name = broker, name
        self.url = broker.url(name)
        self.tls_url = broker.url(name, scheme="amqps")
        self.ca = broker.group.ca
        self.port = broker.port

    def url_as(self, user, password):
        return self.broker.url(self.name, user, password)

    def connect(self, **more):
        return self.broker.connect(self.name, **more)

    def channel(self, **more):
        return self.connect(**more).channel()

    def depth(self, queue):
        found = self.broker.queue(queue, self.name)
        return found and found[0]

    def consumers(self, queue):
        found = self.broker.queue(queue, self.name)
        return found and found[1]

    def close_connections(self, why="closed by a test"):
        self.broker.call("[rabbit_networking:close_connection(P, \"%s\") || P <- rabbit_networking:connections(), "
                         "proplists:get_value(vhost, rabbit_networking:connection_info(P, [vhost])) =:= <<\"%s\">>]."
                         % (why, self.name))


_numbers = itertools.count(1)


@contextlib.contextmanager
def brokers(count=1, **more):
    """For programs that are no tests: with brokers(3) as group: …"""
    group = Group(count, **more)
    try:
        yield group.start()
    finally:
        group.close()


@pytest.fixture(scope="session")
def rabbit_broker():
    """The one broker of a run of tests."""
    if missing():
        pytest.skip(missing())
    with brokers() as group:
        yield group.nodes[0]


@pytest.fixture
def rabbit(rabbit_broker):
    """A fresh virtual host."""
    rabbit_broker.heal()
    name = f"t{next(_numbers)}"
    rabbit_broker.add_vhost(name)
    yield Vhost(rabbit_broker, name)
    rabbit_broker.heal()
    rabbit_broker.delete_vhost(name)


@pytest.fixture(scope="module")
def _cluster():
    if missing():
        pytest.skip(missing())
    with brokers(3) as group:
        yield group


@pytest.fixture
def rabbit_cluster(_cluster):
    """Three nodes, all of them up."""
    _cluster.heal()
    return _cluster


def main():
    """rabbit.py [COUNT]: brokers on free ports, their URLs on standard output; they end with standard input."""
    import sys
    if missing():
        sys.exit(f"rabbit.py: {missing()}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with brokers(int(sys.argv[1]) if len(sys.argv) > 1 else 1) as group:
        for node in group.nodes:
            print(node.url(), node.child.pid, flush=True)
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
