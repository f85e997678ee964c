# SPDX-License-Identifier: Apache-2.0
"""Drains whose targets misbehave in ways that look like success, messages that name ever other drains, and reloads."""
import contextlib
import http.server
import json
import socket
import threading
import time

import loggregator as lg
from sawlog import free_port, wait_for
from test_drains import PRIVATE, Peer, add, drains, numbered, peer, push, running, web  # noqa: F401

NOTES = '{app="shop", source="LGR"}'


def test_a_refused_message_is_posted_once(nodes, web):  # noqa: F811
    """Behind others in a write it was asked twice."""
    w, seen = web(), []

    def answer(body):
        seen.append(body.split()[-1])
        return 400 if b"000001" in body else 200
    w.answers = [answer] * 10
    s = nodes.server(config=f"outputs: [{{https: {{name: w, url: 'http://127.0.0.1:{w.port}/', tags: false}}}}]\n")
    push(s, numbered(3))
    wait_for("it is passed by", lambda: s.metric("sawlog_output_skipped_records_total", output="w") == 1)
    wait_for("the last", lambda: b"000002" in seen)
    assert seen == [b"000000", b"000001", b"000002"]


def test_answers_that_are_long_are_answers(nodes):
    """A target that answers 200 and says more than is read has the message: it does not get it again."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).split()[-1])
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(b"x" * 300000)

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    s = nodes.server(config=f"outputs: [{{https: {{name: w, url: 'http://127.0.0.1:{server.server_port}/', tags: false}}}}]\n")
    push(s, numbered(3))
    wait_for("all", lambda: s.metric("sawlog_output_delivered_records_total", output="w") == 3)
    assert bodies == [b"000000", b"000001", b"000002"]
    server.shutdown()
    server.server_close()


def test_a_quiet_connection_that_was_closed_is_made_anew(nodes, peer):  # noqa: F811
    """A target that closes what is quiet fails in nothing: nothing is lost, repeated or told."""
    s = nodes.server(config=PRIVATE)
    drain = add(s, "shop", f"syslog://127.0.0.1:{peer.port}")
    running(s)
    for i in range(3):
        push(s, [f"line {i}"])
        wait_for("the line", lambda: len(peer.texts()) > i)
        wait_for("it is synced", lambda: drains(s)[0]["behind"] == 0)
        time.sleep(2.5)  # two syncs
        with contextlib.suppress(OSError):
            peer.socks[-1].shutdown(socket.SHUT_RDWR)
    assert peer.texts() == ["line 0", "line 1", "line 2"] and peer.connections == 3
    assert s.lines(NOTES) == [] and s.metric("sawlog_output_failures_total", output=drain) == 0


class Closer:
    """A peer that takes what comes first and breaks off."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.got = self.listener.getsockname()[1], []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(3)
                with contextlib.suppress(OSError):
                    self.got.append(sock.recv(65536))
                sock.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_a_target_that_breaks_off_is_not_hurried(nodes):
    """It took the lines each time, but nobody knows whether it has them: tries become rarer, and it does not "work again"."""
    p = Closer()
    s = nodes.server(config=PRIVATE)
    add(s, "shop", f"syslog://127.0.0.1:{p.port}")
    running(s)
    push(s, ["x"])
    wait_for("a try", lambda: p.got)
    time.sleep(8)
    assert 2 <= len(p.got) <= 9
    assert "works again" not in s.err and len(s.lines(NOTES)) == 1
    p.close()


def datagram(app, *urls):
    return lg.LogMessage(message=b"x", app=app, timestamp=time.time_ns(), source_type=lg.WARDEN_CONTAINER,
                         source_id="0", drains=list(urls)).encode()


def follow(nodes, udp, settings="from_envelopes: true, allow_private: true"):
    s = nodes.server(config=f"drains: {{{settings}}}\ninputs: [{{loggregator: {{listen: 'udp://127.0.0.1:{udp}'}}}}]\n")
    wait_for("drain urls are followed", lambda: (s.data / "outputs/drain-urls").exists())
    return s


def test_drains_of_messages_end_with_the_setting(nodes, peer):  # noqa: F811
    """Who no longer follows what messages name drains no longer to it, not after a restart either."""
    udp = free_port()
    s = follow(nodes, udp)
    with lg.Datagrams(("127.0.0.1", udp)) as d:
        d.send(datagram("shop", f"syslog://127.0.0.1:{peer.port}"))
    wait_for("the line", lambda: peer.texts())
    on = s.config.read_text()
    s.config.write_text(on.replace("from_envelopes: true", "from_envelopes: false"))
    assert s.call("POST", "/-/reload").status < 300
    wait_for("it has ended", lambda: drains(s) == [])
    push(s, ["after"])
    wait_for("none is kept", lambda: json.loads((s.data / "outputs/drain-bindings").read_text())["drains"] == [])
    s.kill()
    s.config.write_text(on)
    s.start()
    assert drains(s) == [] and "after" not in peer.texts()


def test_messages_that_name_ever_other_drains(nodes):
    """What is refused is told once a minute, not for each; drains that end do not pile up."""
    udp = free_port()
    s = follow(nodes, udp, "from_envelopes: true, max_per_app: 4")
    with lg.Datagrams(("127.0.0.1", udp)) as d:
        for i in range(400):
            d.send(datagram("shop", *[f"syslog://127.0.0.1:{1000 + 4 * i + k}" for k in range(4)]))
    wait_for("a note", lambda: s.lines(NOTES))
    wait_for("all are looked at", lambda: next(o for o in s.get("/api/v1/outputs").json()["outputs"]
                                               if o["name"] == "drain-urls")["behind"] == 0)
    assert len(s.lines(NOTES)) == 1 and s.err.count("is no drain here") == 1
    assert drains(s) == []


def test_drains_are_exchanged_fast(nodes):
    """Messages that name other drains each time wait for those that end; the last set is the one that runs."""
    udp = free_port()
    s = follow(nodes, udp)
    last = [f"syslog://127.0.0.1:{p}" for p in (20001, 20002)]
    with lg.Datagrams(("127.0.0.1", udp)) as d:
        for i in range(200):
            d.send(datagram("shop", f"syslog://127.0.0.1:{21000 + i}"))
        d.send(datagram("shop", *last))
    wait_for("the last", lambda: sorted(d["url"] for d in drains(s)) == last, 60)
    wait_for("their outputs alone", lambda: len(s.get("/api/v1/outputs").json()["outputs"]) == 3, 60)


def test_a_reload_leaves_other_drains_alone(nodes, peer):  # noqa: F811
    """One more in the file is no reason to connect all anew; another shape is."""
    s = nodes.server(config=PRIVATE)
    for i in range(10):
        add(s, f"app{i}", f"syslog://127.0.0.1:{peer.port}")
    running(s, 10)
    for i in range(10):
        push(s, ["x"], app=f"app{i}")
    wait_for("all are connected", lambda: peer.connections == 10)

    def reload(text):
        s.config.write_text(f"drains: {{allow_private: true, {text}}}\n")
        assert s.call("POST", "/-/reload").status < 300
    reload(f"apps: {{more: 'syslog://127.0.0.1:{peer.port}'}}")
    wait_for("the new one", lambda: peer.connections == 11 or push(s, ["x"], app="more"))
    time.sleep(1)
    assert peer.connections == 11
    reload("format: rfc5424")
    for i in range(10):
        push(s, ["y"], app=f"app{i}")
    wait_for("all anew", lambda: peer.connections >= 21)
    wait_for("all lines", lambda: peer.texts().count("y") == 10)


def test_no_password_in_what_is_told(nodes):
    udp = free_port()
    s = follow(nodes, udp)
    with lg.Datagrams(("127.0.0.1", udp)) as d:
        d.send(datagram("shop", "https://user:secret@[bad/?token=secret"))
    wait_for("a note", lambda: s.lines(NOTES))
    assert "secret" not in s.lines(NOTES)[0] and "secret" not in s.err
