# SPDX-License-Identifier: Apache-2.0
"""Tails over several servers: one server with peers tells what all of them get, live.

W-D4 and W-D10 over servers: a tail goes on where it was when a server, or the one that it is
connected to, comes back: no gap, no duplicate.
"""
import base64
import json
import signal
import threading
import time

import pytest
import sawlog
from loggregator import Envelope, LogMessage
from sawlog import wait_for
from sockets import Events, Socket, shares
from test_auth import Secure, create, pem  # noqa: F401
from test_peers import make_peers, made  # noqa: F401

SECOND = 1_000_000_000


@pytest.fixture
def three(made):  # noqa: F811
    """Two servers, and a third whose peers they are."""
    one, two, front = made("one"), made("two"), made("front")
    front.config.write_text(f"peers: [{one.url}, {two.url}]\n")
    return [s.start() for s in (one, two, front)]


def lines_of(tail, n, seconds=sawlog.PATIENCE):
    return [line for _, line, _ in tail.entries(n, seconds)]


def nothing_more(tail, seconds=0.5):
    """What comes within a while, which is to be nothing."""
    tail.sock.settimeout(seconds)
    try:
        return tail.frame()
    except TimeoutError:
        return None


def followed(front, n):
    """The front follows n of its peers for somebody."""
    dump = sum(" connections" in line and ", 0 connections" not in line and "failed" not in line
               for line in dump_of(front).splitlines() if line.startswith("  http"))
    return dump == n


def dump_of(server):
    before = len(server.out)
    server.child.send_signal(signal.SIGUSR1)
    wait_for("the dump", lambda: "relays:" in server.out[before:], 10)
    time.sleep(0.1)
    return server.out[before:]


def test_tail_over_servers(three):
    """History of all in order of time, then the live records of all; local=true is of one alone."""
    one, two, front = three
    now = time.time_ns() - 60 * SECOND
    one.push({"app": "a"}, [(now + 1, "one 1"), (now + 3, "one 3")])
    two.push({"app": "a"}, [(now + 2, "two 2"), (now + 4, "two 4")])
    front.push({"app": "a"}, [(now + 5, "front 5")])
    tail = front.tail('{app="a"}')
    assert lines_of(tail, 5) == ["one 1", "two 2", "one 3", "two 4", "front 5"]
    local = front.tail('{app="a"}', local="true")
    assert lines_of(local, 1) == ["front 5"]
    for server, line in ((one, "one live"), (two, "two live"), (front, "front live"), (one, "again")):
        server.push({"app": "a"}, [line])
        server.push({"app": "b"}, ["of another application"])
        assert lines_of(tail, 1) == [line]
    assert lines_of(local, 1) == ["front live"]
    assert nothing_more(tail) is None and nothing_more(local) is None
    # A server of its own knows nothing of the others.
    plain = one.tail('{app="a"}')
    assert lines_of(plain, 4) == ["one 1", "one 3", "one live", "again"]


class Writer(threading.Thread):
    """Pushes numbered lines to a server until it is stopped; those that were acknowledged."""

    def __init__(self, server, name, pause=0.003):
        super().__init__(daemon=True)
        self.server, self.name_, self.pause = server, name, pause
        self.acked, self.stopped = [], threading.Event()

    def run(self):
        i = 0
        while not self.stopped.is_set():
            # Never one again: the first may have been taken, and its answer lost.
            line, i = f"{self.name_} {i}", i + 1
            try:
                if self.server.push({"app": "a", "of": self.name_}, [line], timeout=5).status == 204:
                    self.acked.append(line)
            except OSError:
                time.sleep(0.05)
            time.sleep(self.pause)

    def stop(self):
        self.stopped.set()
        self.join()
        return self.acked


class Reader(threading.Thread):
    """Reads a tail, and comes back with its cursor when it was closed."""

    def __init__(self, server, logql, back=True, **params):
        super().__init__(daemon=True)
        self.server, self.logql, self.back, self.params = server, logql, back, params
        self.lines, self.stopped, self.failure = [], threading.Event(), None
        self.cursor = None
        self.connections = 0
        self.pause = 0

    def run(self):
        while not self.stopped.is_set():
            try:
                more = {"cursor": self.cursor} if self.cursor else self.params
                tail = self.server.tail(self.logql, **more)
            except (OSError, AssertionError):  # it is away, or says that it stops
                time.sleep(0.05)
                continue
            self.connections += 1
            try:
                self.read(tail)
            except ConnectionError:
                if not self.back:
                    raise
            finally:
                tail.close()

    def read(self, tail):
        tail.sock.settimeout(0.2)
        while not self.stopped.is_set():
            try:
                frame = tail.frame()
            except TimeoutError:
                continue
            # A frame stands for its place: what was not read whole comes again.
            self.lines += [v[1] for s in frame["streams"] for v in s["values"]]
            self.cursor = tail.cursor
            if self.pause:
                time.sleep(self.pause)

    def stop(self):
        self.stopped.set()
        self.join()
        return self.lines


def check_whole(got, *acked):
    """Each line once, and those of a server in the order in which it took them.  A line may be there
    whose answer was lost with its server."""
    assert len(got) == len(set(got)), sorted(x for x in set(got) if got.count(x) > 1)[:10]
    for lines in acked:
        if not lines:
            continue
        name = lines[0].split()[0]
        mine = [line for line in got if line.startswith(name + " ")]
        assert not set(lines) - set(mine), sorted(set(lines) - set(mine))[:10]
        numbers = [int(line.split()[1]) for line in mine]
        assert numbers == sorted(numbers)


def has_all(reader, writers):
    return lambda: set(reader.lines) >= {line for w in writers for line in w.acked}


def test_server_killed_and_back(three):
    """A server is killed in mid-flow and comes back, twice: no gap, no duplicate, and the lines of the
    other one come all the time."""
    one, two, front = three
    reader = Reader(front, '{app="a"}', back=False)
    reader.start()
    writers = [Writer(one, "one"), Writer(two, "two")]
    for w in writers:
        w.start()
    for _ in range(2):
        wait_for("both are told", lambda: {x.split()[0] for x in reader.lines} == {"one", "two"})
        one.kill()
        n = len(reader.lines)
        wait_for("the other one is told", lambda n=n: len(reader.lines) > n + 50)
        one.start()
        n = sum(x.startswith("one") for x in reader.lines)
        wait_for("it is told again",
                 lambda n=n: sum(x.startswith("one") for x in reader.lines) > n + 20)
    acked = [w.stop() for w in writers]
    wait_for("all is told", has_all(reader, writers))
    check_whole(reader.stop(), *acked)


def test_front_killed_and_back(three):
    """The server that the tail is connected to is killed, and a server behind it too: the client comes
    back with its cursor, which is one over all servers."""
    one, two, front = three
    reader = Reader(front, '{app="a"}')
    reader.start()
    writers = [Writer(one, "one"), Writer(two, "two"), Writer(front, "front")]
    for w in writers:
        w.start()
    wait_for("all are told", lambda: len({x.split()[0] for x in reader.lines}) == 3)
    front.kill()
    time.sleep(0.3)
    front.start()
    wait_for("it is back", lambda: reader.connections == 2)
    one.kill()
    wait_for("the front knows", lambda: followed(front, 1))
    front.stop()
    front.start()
    wait_for("it is back again", lambda: reader.connections == 3)
    time.sleep(0.3)
    one.start()
    n = len(reader.lines)
    wait_for("all are told again",
             lambda: len({x.split()[0] for x in reader.lines[n:]}) == 3)
    acked = [w.stop() for w in writers]
    wait_for("all is told", has_all(reader, writers))
    check_whole(reader.stop(), *acked)


def test_absent_at_first(made):  # noqa: F811
    """A server that was away when the tail began is told from then on, not from when it is back."""
    one, two, front = made("one"), made("two"), made("front")
    front.config.write_text(f"peers: [{one.url}, {two.url}]\n")
    one.start()
    front.start()
    tail = front.tail('{app="a"}')
    one.push({"app": "a"}, ["one live"])
    assert lines_of(tail, 1) == ["one live"]
    two.start()
    two.push({"app": "a"}, ["two, perhaps before it is followed"])
    assert lines_of(tail, 1) == ["two, perhaps before it is followed"]
    two.push({"app": "a"}, ["two live"])
    assert lines_of(tail, 1) == ["two live"]


def test_history_and_live_join(three):
    """Tails that begin in mid-flow: each has its history and all behind it, once."""
    one, two, front = three
    writers = [Writer(one, "one", 0), Writer(two, "two", 0), Writer(front, "front", 0)]
    for w in writers:
        w.start()
    readers = []
    for _ in range(20):
        reader = Reader(front, '{app="a"}', back=False, limit=5000)
        reader.start()
        readers.append(reader)
        time.sleep(0.05)
    acked = [w.stop() for w in writers]
    for reader in readers:
        wait_for("all is told", has_all(reader, writers))
        check_whole(reader.stop(), *acked)


def test_live_from_the_answer_on(three):
    """What is sent once the client has its answer comes, whichever server takes it: without history
    nothing else would tell it."""
    one, two, front = three
    for i in range(15):
        # Each follows something of its own, so that no connection is there already.
        tail = front.tail(f'{{app="a"}} != "none {i}"', limit=0)
        for server in (two, front, one):
            server.push({"app": "a"}, [f"{i} at {server.name}"])
        assert sorted(lines_of(tail, 3)) == sorted(f"{i} at {s.name}" for s in three)
        tail.close()


def test_all_name_each_other(made):  # noqa: F811
    """Each names all, itself too: nothing is told twice, and nothing goes round."""
    servers = [s.start() for s in make_peers([made(f"s{i + 1}") for i in range(3)])]
    tails = [s.tail('{app="a"}') for s in servers]
    for i, s in enumerate(servers):
        s.push({"app": "a"}, [f"line {i}"])
        for tail in tails:
            assert lines_of(tail, 1) == [f"line {i}"]
    for tail in tails:
        assert nothing_more(tail) is None


def test_many_share_connections(three):
    """200 tails of two queries have two connections to each server."""
    one, two, front = three
    tails = [front.tail('{app="a"}' if i % 2 else '{app="b"}') for i in range(200)]
    wait_for("all follow", lambda: one.metric("sawlog_tail_clients") == 2)
    one.push({"app": "a"}, ["to half of them"])
    two.push({"app": "b"}, ["to the others"])
    for i, tail in enumerate(tails):
        assert lines_of(tail, 1) == ["to half of them" if i % 2 else "to the others"]
    for tail in tails:
        tail.close()
    wait_for("nobody follows", lambda: one.metric("sawlog_tail_clients") == 0)


def test_slow_client_holds_nobody_up(three):
    """One that does not read holds up neither the others nor the servers, and misses nothing."""
    one, two, front = three
    slow, fast = front.tail('{app="a"}'), Reader(front, '{app="a"}', back=False)
    fast.start()
    text = "x" * 1000
    for i in range(60):
        for s in (one, two):
            assert s.push({"app": "a"}, [f"{i} {k} {s.name} {text}" for k in range(100)]).status == 204
    wait_for("the fast one has all", lambda: len(fast.lines) == 12000, 60)
    got = lines_of(slow, 12000, 60)
    assert sorted(got) == sorted(fast.stop())
    for s in (one, two):
        assert [x for x in got if f" {s.name} " in x] == \
            [f"{i} {k} {s.name} {text}" for i in range(60) for k in range(100)]


def test_stopped_process(three):
    """A server that hangs (SIGSTOP) costs a tail at most three seconds at its beginning."""
    one, two, front = three
    two.child.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        tail = front.tail('{app="a"}')
        one.push({"app": "a"}, ["from the other one"])
        assert lines_of(tail, 1) == ["from the other one"]
        assert time.monotonic() - began < 10
    finally:
        two.child.send_signal(signal.SIGCONT)
    two.push({"app": "a"}, ["awake"])
    assert lines_of(tail, 1) == ["awake"]


def test_client_goes_to_another_server(made):  # noqa: F811
    """A cursor of one server with peers is understood by another one that has the same."""
    one, two, left, right = (made(name) for name in ("one", "two", "left", "right"))
    for s in (left, right):
        s.config.write_text(f"peers: [{one.url}, {two.url}]\n")
    for s in (one, two, left, right):
        s.start()
    tail = left.tail('{app="a"}')
    for s in (one, two):
        s.push({"app": "a"}, [f"{s.name} first"])
        assert lines_of(tail, 1) == [f"{s.name} first"]
    tail.close()
    for s in (one, two):
        s.push({"app": "a"}, [f"{s.name} meanwhile"])
    tail = right.tail('{app="a"}', cursor=tail.cursor)
    assert sorted(lines_of(tail, 2)) == ["one meanwhile", "two meanwhile"]
    one.push({"app": "a"}, ["then"])
    assert lines_of(tail, 1) == ["then"]
    for bad in ("x", "ab=", "=1", "aaaaaaaa=x", "1,2"):
        assert right.get("/loki/api/v1/tail", {"query": "{}", "cursor": bad}).status == 400


def test_tenants(three):
    """What is followed is of the tail's tenant alone."""
    one, _, front = three
    tail, other = front.tail('{app="a"}'), Socket(front, "/loki/api/v1/tail", {"query": '{app="a"}'},
                                                  {"X-Scope-OrgID": "other"})
    wait_for("they follow", lambda: one.metric("sawlog_tail_clients") == 2)
    one.push({"app": "a"}, ["theirs"], tenant="other")
    one.push({"app": "a"}, ["ours"])
    assert lines_of(tail, 1) == ["ours"]
    assert json.loads(other.frame()[1])["streams"][0]["values"][0][1] == "theirs"
    assert other.quiet() and nothing_more(tail) is None


def test_stages_and_late_lines(three):
    """The pipeline is carried out where the records lie; a line that is dated long ago is told too."""
    one, two, front = three
    tail = front.tail('{app="a"} | json | status >= 500 | line_format "{{.path}}"')
    time.sleep(0.3)
    one.push({"app": "a"}, ['{"status": 200, "path": "/no"}', '{"status": 503, "path": "/yes"}'])
    assert lines_of(tail, 1) == ["/yes"]
    two.push({"app": "a"}, [(time.time_ns() - 7200 * SECOND, '{"status": 500, "path": "/late"}')])
    assert lines_of(tail, 1) == ["/late"]


def test_tokens_and_tls(tmp_path, pem):  # noqa: F811
    """Servers are followed over TLS and with a token; one that is revoked ends that, and nothing else.
    A MiB of lines comes through TLS, too, whose records are not those of the frames."""
    made = [Secure(tmp_path / name, pem, name=name) for name in ("one", "front")]  # noqa: F811
    one, front = made
    try:
        front.config.write_text(front.config.read_text() + f"""
peers: [{one.url}]
peer: {{token_file: {tmp_path}/token, ca: {pem}/ca.pem}}
""")
        (tmp_path / "token").write_text(create(one.tokens, "peers", scope="read") + "\n")
        keys = [create(s.tokens, "all", scope="ingest,read") for s in made]
        for s in made:
            s.start()
        tail = Socket(front, "/loki/api/v1/tail", {"query": "{}"}, {"Authorization": f"Bearer {keys[1]}"},
                      secure=pem / "ca.pem")

        def lines():
            return [v[1] for s in json.loads(tail.frame()[1])["streams"] for v in s["values"]]

        assert one.push_line("of a server that is followed", keys[0])[0] == 204
        assert lines() == ["of a server that is followed"]
        for i in range(20):
            assert one.push_line(f"{i} " + "x" * 50000, keys[0])[0] == 204
        got = []
        while len(got) < 20:
            got += lines()
        assert [int(line.split()[0]) for line in got] == list(range(20))
        listed = sawlog.run("token", "list", "--tokens-file", one.tokens).stdout.decode()
        peer = next(line.split()[0] for line in listed.splitlines() if line.endswith("peers"))
        assert sawlog.run("token", "revoke", "--tokens-file", one.tokens, peer).returncode == 0
        front.curl("/ready")
        wait_for("it is not followed", lambda: any(
            line.startswith("  https") and "401" in line for line in dump_of(front).splitlines()))
        assert front.push_line("its own", keys[1])[0] == 204
        assert lines() == ["its own"]
    finally:
        for s in made:
            s.close()


# --- Loggregator's clients ------------------------------------------------------------------------


def push_app(server, lines, app="a", **labels):
    assert server.push({"app": app, "source": "APP/0", **labels}, lines).status == 204


def message(payload):
    return LogMessage.decode(payload).message.decode()


def log(payload):
    return Envelope.decode(payload).message.decode()


def test_loggregator_clients(three):
    """/tail/, /dump/, /apps/ID/stream and the gateway: what all servers have."""
    one, two, front = three
    now = time.time_ns() - 60 * SECOND
    for i in range(20):
        push_app((one, two)[i % 2], [(now + i * 1000, f"old {i}")])
    push_app(one, ["not mine"], "b")
    tail = Socket(front, "/tail/", {"app": "a"})
    assert tail.messages(20, message) == [f"old {i}" for i in range(20)]
    dump, end = Socket(front, "/dump/", {"app": "a"}).end()
    assert [message(m) for m in dump] == [f"old {i}" for i in range(20)] and end.code == 1000
    local, end = Socket(front, "/dump/", {"app": "a", "local": "true"}).end()
    assert (local, end.code) == ([], 1000)
    stream = Socket(front, "/apps/a/stream")
    events = Events(front, "/v2/read", {"log": "", "source_id": "a"})
    wait_for("all follow", lambda: all(s.metric("sawlog_tail_clients") == 3 for s in (one, two)))
    for i, s in enumerate((one, two, front, one)):
        push_app(s, [f"new {i}"])
        push_app(s, ["not mine"], "b")
        assert tail.messages(1, message) == [f"new {i}"]
        assert stream.messages(1, log) == [f"new {i}"]
        event, data = events.next()
        envelope, = json.loads(data)["batch"]
        assert event is None and base64.b64decode(envelope["log"]["payload"]).decode() == f"new {i}"
    assert tail.quiet() and stream.quiet()


def test_lost_server_is_told(three):
    """In Loggregator's words, within the stream; and the other servers' lines go on."""
    one, two, front = three
    tail, stream = Socket(front, "/tail/", {"app": "a"}), Socket(front, "/apps/a/stream")
    wait_for("they follow", lambda: one.metric("sawlog_tail_clients") == 2)
    one.kill()
    told = tail.messages(1, LogMessage.decode)[0]
    assert (told.message, told.err, told.source, told.app) == \
        (b"proxy: error connecting to a loggregator server", True, "LGR", "a")
    assert log(stream.messages(1)[0]) == "proxy: error connecting to a loggregator server"
    push_app(two, ["goes on"])
    assert tail.messages(1, message) == ["goes on"]
    one.start()
    push_app(one, ["is back"])
    assert tail.messages(1, message) == ["is back"]
    assert tail.quiet()


def test_firehose_is_shared_over_servers(made):  # noqa: F811
    """Subscribers of one name at two servers that have the same peers: each line goes to one of them,
    and each has its share."""
    one, two, left, right = (made(name) for name in ("one", "two", "left", "right"))
    for s in (left, right):
        s.config.write_text(f"peers: [{one.url}, {two.url}]\n")
    for s in (one, two, left, right):
        s.start()
    subscribers = [Socket(s, "/firehose/name") for s in (left, left, right)]
    other = Socket(right, "/firehose/other")
    wait_for("all follow", lambda: all(s.metric("sawlog_tail_clients") == 4 for s in (one, two)))
    n = 600
    for i in range(0, n, 10):
        push_app((one, two)[i // 10 % 2], [f"{k}" for k in range(i, i + 10)], f"app{i % 7}")
    got = shares(subscribers, n, log)
    assert sorted(map(int, sum(got, []))) == list(range(n))
    assert all(len(share) > n / 6 for share in got), [len(share) for share in got]
    assert sorted(map(int, other.messages(n, log))) == list(range(n))
    assert all(s.quiet(0.2) for s in (*subscribers, other))


def test_firehose_waits_over_servers(three):
    """The place of a subscription outlives its last subscriber on every server."""
    one, two, front = three
    subscriber = Socket(front, "/firehose/lasting")
    wait_for("it follows", lambda: all(s.metric("sawlog_tail_clients") == 1 for s in (one, two)))
    for s in (one, two):
        push_app(s, [f"{s.name} first"])
    assert sorted(subscriber.messages(2, log)) == ["one first", "two first"]
    subscriber.close()
    wait_for("it is gone", lambda: all(s.metric("sawlog_tail_clients") == 0 for s in (one, two)))
    for s in three:
        push_app(s, [f"{s.name} meanwhile"])
    subscriber = Socket(front, "/firehose/lasting")
    assert sorted(subscriber.messages(3, log)) == ["front meanwhile", "one meanwhile", "two meanwhile"]
    assert subscriber.quiet()
