# SPDX-License-Identifier: Apache-2.0
"""Two zones of two servers and a router each, at loopback addresses of their own, and one big server beside them.

Whatever the emitters send to a zone's router they send to the big server as well, so that in the end the routers can be
held against it.  Between the zones there are links that can be cut and healed.

    zone a   router 127.0.1.10  ->  servers 127.0.1.1, 127.0.1.2
                  |  links, 127.0.3.x
    zone b   router 127.0.2.10  ->  servers 127.0.2.1, 127.0.2.2
"""
import contextlib
import json
import re
import shutil
import socket
import threading
import time
from pathlib import Path

import sawlog
from loggregator import Emitter, LogMessage
from sawlog import wait_for

APPS = 20
SECRET = "zones"


class Link:
    """A TCP connection's way between the zones.  Cut, nothing passes, and nothing tells so; what was under way passes
    when it is healed, unless the connections are dropped then."""

    def __init__(self, host, target):
        self.target, self.open, self.sockets, self.ended = target, threading.Event(), set(), False
        self.open.set()
        self.listener = socket.create_server((host, sawlog.free_port()))
        self.url = "http://{}:{}".format(*self.listener.getsockname())
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(near,), daemon=True).start()

    def serve(self, near):
        self.open.wait()
        try:
            far = socket.create_connection(self.target, timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self.sockets |= {near, far}
        back = threading.Thread(target=self.pump, args=(far, near), daemon=True)
        back.start()
        self.pump(near, far)
        back.join()
        for s in (near, far):
            self.sockets.discard(s)
            s.close()

    def pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.open.wait()
                sink.sendall(data)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def cut(self):
        self.open.clear()

    def heal(self, drop=False):
        if drop:
            for s in list(self.sockets):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
        self.open.set()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.heal(drop=True)


class Zones:
    """All of them, configured; start() starts them.  `more` is configuration for the servers, `more_router` for the
    routers."""

    def __init__(self, folder, binary=None, more="", more_router="", one=True, router_env=None):
        binary = binary or sawlog.SAWLOG
        self.folder = Path(folder)
        self.servers = {z: [self.make(sawlog.Server, f"{z}{n}", f"127.0.{i}.{n}", more, binary) for n in (1, 2)]
                        for i, z in ((1, "a"), (2, "b"))}
        self.links = {z: [Link(f"127.0.3.{i}", (s.host, s.port)) for s in self.servers[z]]
                      for i, z in ((1, "a"), (2, "b"))}
        self.udp, self.routers = {}, {}
        for i, z in ((1, "a"), (2, "b")):
            zones = {y: [x.url for x in (self.servers if y == z else self.links)[y]] for y in "ab"}
            self.udp[z] = (f"127.0.{i}.10", sawlog.free_port())
            self.routers[z] = self.make(
                sawlog.Router, f"router-{z}", f"127.0.{i}.10", self.input(self.udp[z]) +
                f"route: {{zone: {z}, zones: {json.dumps(zones)}, spill_after: 500ms}}\n{more_router}", binary,
                router_env)
        self.one = None
        if one:
            self.udp["one"] = ("127.0.0.1", sawlog.free_port())
            self.one = self.make(sawlog.Server, "one", "127.0.0.1", self.input(self.udp["one"]), binary)

    def make(self, kind, name, host, config, binary, env=None):
        return kind(self.folder / name, name=name, host=host, config=config or "{}\n", binary=binary, env=env)

    @staticmethod
    def input(udp):
        host, port = udp
        return f"inputs:\n  - loggregator: {{listen: ['udp://{host}:{port}'], shared_secret: {SECRET}}}\n"

    @property
    def nodes(self):
        return [*self.servers["a"], *self.servers["b"], *self.routers.values(), *([self.one] if self.one else [])]

    def start(self):
        for n in self.nodes:
            n.start(wait=False)
        for n in self.nodes:
            wait_for(f"{n.name} is ready", n.is_ready)
        for z, r in self.routers.items():
            wait_for("its input listens", lambda r=r: "inputs running" in r.out + r.err)
        return self

    def cut(self, *zones):
        """Nothing passes to these zones' servers from the other one."""
        for z in zones or "ab":
            for link in self.links[z]:
                link.cut()

    def heal(self, *zones, drop=False):
        for z in zones or "ab":
            for link in self.links[z]:
                link.heal(drop)

    def close(self):
        for n in self.nodes:
            n.close()
        for links in self.links.values():
            for link in links:
                link.close()


class Load:
    """Numbered lines of APPS applications, every other one in zone b: of each two instances over UDP, signed as in
    2013, and a router that pushes over HTTP and is acknowledged."""

    def __init__(self, zones, rate=20, apps=APPS):
        self.zones, self.tick, self.ended = zones, 1 / rate, threading.Event()
        self.apps = [f"app-{i:02}" for i in range(apps)]
        self.sent = {app: {"App/0": [], "App/1": [], "RTR/0": []} for app in self.apps}
        self.lock, self.last, self.refused, self.failed = threading.Lock(), 0, 0, []
        self.threads = [threading.Thread(target=self.guard, args=(z,), daemon=True) for z in "ab"]

    def zone_of(self, app):
        return "ab"[self.apps.index(app) % 2]

    def stamp(self):
        """Each line has a time of its own, so that there is one order of all of them."""
        with self.lock:
            self.last = max(time.time_ns(), self.last + 1)
            return self.last

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def guard(self, zone):
        try:
            self.run(zone)
        except Exception as e:  # told by stop(), which the test waits for
            self.failed.append(e)
            raise

    def run(self, zone):
        apps = [a for a in self.apps if self.zone_of(a) == zone]
        to = [self.zones.udp[zone]] + ([self.zones.udp["one"]] if self.zones.one else [])
        emitters = {(a, i): [Emitter(at, a, SECRET, source_id=str(i)) for at in to] for a in apps for i in (0, 1)}
        n = 0
        while not self.ended.wait(self.tick):
            for (app, i), sinks in emitters.items():
                line, when = f"{app} App/{i} line {n} of this run, level=info took={n * 7 % 100}ms", self.stamp()
                self.sent[app][f"App/{i}"].append(line)
                for e in sinks:
                    e.send(e.datagram(line.encode(), timestamp=when))
            self.push(zone, apps, n)
            n += 1

    def push(self, zone, apps, n):
        streams, lines = [], {}
        for app in apps:
            lines[app] = f"{app} RTR/0 line {n} GET /path/{n % 10} {(200, 200, 404, 500)[n % 4]}"
            streams.append({"stream": {"app": app, "source": "RTR/0", "zone": zone},
                            "values": [[str(self.stamp()), lines[app], {"message_type": "OUT"}]]})
        body = json.dumps({"streams": streams}).encode()
        self.deliver(self.zones.routers[zone], body)
        for app in apps:
            self.sent[app]["RTR/0"].append(lines[app])
        if self.zones.one:
            self.deliver(self.zones.one, body)

    def deliver(self, to, body):
        """Until it is taken.  Only a refusal is sent again: what got no answer may be there."""
        while True:
            answer = to.call("POST", "/loki/api/v1/push", body, {"Content-Type": "application/json"}, timeout=60)
            if answer.status == 204:
                return
            assert answer.status in (429, 503), answer.text
            self.refused += 1
            time.sleep(0.1)

    def stop(self):
        self.ended.set()
        for t in self.threads:
            t.join(70)
            assert not t.is_alive(), "an emitter hangs"
        assert not self.failed, self.failed
        return self

    def lines(self, *apps):
        return [line for app in apps or self.apps for lines in self.sent[app].values() for line in lines]

    def check(self, got, what, apps=None, twice=False):
        """Each line is there once (or more, where that cannot be helped), and those of a source are in order."""
        want = self.lines(*(apps or self.apps))
        missing = set(want) - set(got)
        assert not missing, f"{what}: {len(missing)} of {len(want)} lines are missing: {sorted(missing)[:3]}"
        strange = set(got) - set(want)
        assert not strange, f"{what}: {len(strange)} lines that nobody sent: {sorted(strange)[:3]}"
        more = len(got) - len(set(got))
        assert twice or not more, f"{what}: {more} lines are there twice"
        for app in apps or self.apps:
            for source, lines in self.sent[app].items():
                mine = list(dict.fromkeys(x for x in got if x.startswith(f"{app} {source} ")))
                for i, (a, b) in enumerate(zip(mine, lines)):
                    assert a == b, f"{what}: {app} {source} is out of order at {i}: {mine[i:i + 5]}"
        return more


class Follower(threading.Thread):
    """Collects the lines of a tail; its connection must hold."""

    def __init__(self, what):
        super().__init__(daemon=True)
        self.what, self.got, self.error = what, [], None

    def run(self):
        try:
            while True:
                self.take()
        except Exception as e:  # whatever its client calls it
            self.error = e

    def complete(self, load, apps, seconds=60):
        """All lines of the load are there, each once and in order."""
        n = len(load.lines(*apps))
        with contextlib.suppress(AssertionError):  # check tells what is missing
            wait_for(f"{self.what}: {n} lines", lambda: len(self.got) >= n or self.error, seconds)
        assert not self.error, f"{self.what} broke after {len(self.got)} lines: {self.error!r}"
        load.check(list(self.got), self.what, apps)


class LokiFollower(Follower):
    """/loki/api/v1/tail"""

    def __init__(self, server, query):
        super().__init__(f"the tail of {query} at {server.name}")
        self.tail = server.tail(query, limit=0)
        self.tail.sock.settimeout(None)
        self.start()

    def take(self):
        for s in self.tail.frame()["streams"]:
            self.got += [line for _, line, *_ in s["values"]]

    def close(self):
        self.tail.close()


class MessageFollower(Follower):
    """/tail/?app=, a LogMessage of 2013 in each frame.  Notices of LGR are kept apart."""

    def __init__(self, server, app):
        import websocket
        super().__init__(f"/tail/?app={app} at {server.name}")
        self.notices = []
        self.ws = websocket.create_connection(f"ws://{server.host}:{server.port}/tail/?app={app}", timeout=20,
                                              origin="http://localhost")
        self.ws.settimeout(None)
        self.start()

    def take(self):
        data = self.ws.recv()
        if not data:
            raise ConnectionError("closed")
        m = LogMessage.decode(data)
        if m.source.startswith("LGR"):
            self.notices.append(m.message.decode())
        else:
            self.got.append(m.message.decode())

    def close(self):
        self.ws.close()


class CommandFollower(sawlog.Process):
    """`sawlog logs APP` in the order in which lines come."""

    def __init__(self, server, app):
        super().__init__(f"logs-{server.name}-{app}", server.folder)
        self.what = f"sawlog logs {app} at {server.name}"
        self.spawn([sawlog.SAWLOG, "logs", app, "--addr", server.url, "--reorder", "0s", "-n", "0"])

    def complete(self, load, apps, seconds=60):
        n = len(load.lines(*apps))
        with contextlib.suppress(AssertionError):
            wait_for(f"{self.what}: {n} lines", lambda: self.out.count("\n") >= n, seconds)
        load.check([x.split(" OUT ", 1)[1] for x in self.out.splitlines()], self.what, apps)


class Rsyslogd(sawlog.Process):
    """A real rsyslogd that takes octet-counted syslog over TCP, or TLS with a certificate, and writes it as it came."""

    def __init__(self, folder, pem=None, host="127.0.0.1"):
        super().__init__("rsyslogd", folder)
        self.port, self.file = sawlog.free_port(), self.folder / "received"
        self.url = f"syslog{'-tls' if pem else ''}://{'localhost' if pem else host}:{self.port}"
        tls = (f'global(defaultNetstreamDriverCAFile="{pem}/ca.pem" defaultNetstreamDriverCertFile="{pem}/server.pem" '
               f'defaultNetstreamDriverKeyFile="{pem}/server.key")\n' if pem else "")
        driver = ' streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon"' if pem else ""
        (self.folder / "conf").write_text(
            f'global(workDirectory="{self.folder}" maxMessageSize="64k")\n{tls}module(load="imtcp"{driver})\n'
            f'input(type="imtcp" address="{host}" port="{self.port}")\n'
            'template(name="raw" type="string" string="%rawmsg%\\n")\n'
            f'action(type="omfile" file="{self.file}" template="raw")\n')

    @staticmethod
    def program():
        return shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")

    @staticmethod
    def speaks_tls():
        return any(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so"))

    def start(self):
        self.spawn([self.program(), "-n", "-f", str(self.folder / "conf"), "-i", str(self.folder / "pid")])

        def listens():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        wait_for("rsyslogd listens", listens)
        return self

    def messages(self):
        """[(app, procid, text)] in the order of the file."""
        found = []
        for line in self.file.read_text(errors="replace").splitlines() if self.file.exists() else []:
            m = re.match(r"<\d+>1 \S+ \S+ (\S+) (\[.*?\]) - (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) ?(.*)$", line)
            assert m, f"no such line of syslog: {line!r}"
            found.append(m.groups())
        return found


def warnings(server, query='{app=~".+"}'):
    """Those that an answer comes with."""
    answer = server.get("/loki/api/v1/query_range", {"limit": 1, "query": query})
    assert answer.status == 200, answer.text
    return answer.json().get("warnings", [])
