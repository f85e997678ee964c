# SPDX-License-Identifier: Apache-2.0
"""What an application said last, as clients of Loggregator ask for it; who may; and what the server tells of itself."""
import base64
import http.server
import json
import re
import signal
import socket
import threading
import time

import pytest
import sawlog
from loggregator import DropsondeEmitter, Emitter, Envelope, LogMessage, LOG_MESSAGE, multipart
from sawlog import wait_for


def doppler(nodes, more="", **kw):
    """A server with an input for Loggregator's datagrams, at server.datagrams."""
    port = sawlog.free_port()
    server = nodes.server(config=f"inputs:\n- loggregator: {{listen: 'udp://127.0.0.1:{port}'}}\n{more}", **kw)
    server.datagrams = ("127.0.0.1", port)
    return server


def settled(server, app, n):
    wait_for(f"{n} records of {app}", lambda: len(server.entries(f'{{app="{app}"}}')) >= n)


def parts(answer):
    assert answer.status == 200, answer.text
    return list(multipart(answer.body, answer.headers["Content-Type"]))


def recent(server, app, headers=None):
    return [LogMessage.decode(p) for p in parts(server.get("/recent", {"app": app}, headers))]


def recentlogs(server, app, **params):
    return [Envelope.decode(p) for p in parts(server.get(f"/apps/{app}/recentlogs", params))]


# --- lines -------------------------------------------------------------------------------------------------------


def test_recent_tells_messages(nodes):
    server = doppler(nodes)
    now = time.time_ns()
    with Emitter(server.datagrams, app="one", drains=["syslog://drain.example:514"]) as e:
        e.emit("first", timestamp=now)
        e.emit("second", err=True, timestamp=now + 5)
    with Emitter(server.datagrams, app="two") as e:
        e.emit("of another", timestamp=now)
    settled(server, "one", 2)
    settled(server, "two", 1)
    first, second = recent(server, "one")
    assert (first.message, first.err, first.timestamp, first.app) == (b"first", False, now, "one")
    assert (first.source_name, first.source_id) == ("App", "0")
    assert (second.message, second.err, second.timestamp) == (b"second", True, now + 5)
    assert [m.message for m in recent(server, "two")] == [b"of another"]
    assert recent(server, "nobody") == []


def test_recentlogs_tells_envelopes(nodes):
    server = doppler(nodes)
    now = time.time_ns()
    with DropsondeEmitter(server.datagrams, app="one", instance="2", tags={"zone": "z1"}) as e:
        for i in range(5):
            e.emit(f"line {i}", timestamp=now + i)
        e.metric("cpu", 1.5, "%")
        e.counter("requests", 1, 10)
    settled(server, "one", 5)
    got = recentlogs(server, "one")
    assert [x.message for x in got] == [f"line {i}".encode() for i in range(5)]
    x = got[0]
    assert x.kind == LOG_MESSAGE and x.timestamp == now and x.tags == {"zone": "z1"}
    assert x.event["app_id"] == "one" and x.event["source_instance"] == "2" and x.event["source_type"] == "APP"
    assert [x.message for x in recentlogs(server, "one", limit=2)] == [b"line 3", b"line 4"]
    assert server.get("/apps/one/recentlogs?limit=0").status == 400


def test_how_many_is_a_setting(nodes):
    server = doppler(nodes, "loggregator: {recent: 20}")
    now = time.time_ns()
    server.push({"app": "one"}, [f"line {i}" for i in range(50)], start_ns=now)
    assert [m.message for m in recent(server, "one")] == [f"line {i}".encode() for i in range(30, 50)]


def test_the_label_of_applications_is_a_setting(nodes):
    server = nodes.server(config="loggregator: {app_label: service}")
    server.push({"service": "one", "app": "other"}, ["a line"])
    message, = recent(server, "one")
    assert message.app == "one" and message.message == b"a line"
    assert recent(server, "other") == []


def test_records_of_other_inputs_are_told_too(nodes):
    """And a label `event` of theirs, which metrics have, hides no line."""
    server = nodes.server()
    server.push({"app": "one", "job": "x"}, ["plain"])
    server.push({"app": "one", "event": "login"}, ["with an event"])
    server.push({"app": "one", "event": "error"}, ["with one of ours"])
    assert {m.message for m in recent(server, "one")} == {b"plain", b"with an event", b"with one of ours"}


def test_recent_survives_a_restart(nodes):
    """W-D8: recent logs were gone after a restart or a deploy, as they were in memory alone."""
    server = doppler(nodes)
    with Emitter(server.datagrams, app="one") as e:
        for i in range(100):
            e.emit(f"line {i}")
    settled(server, "one", 100)
    before = recent(server, "one")
    server.kill(signal.SIGKILL)
    server.start()
    assert recent(server, "one") == before
    assert len(before) == 100
    server.stop()
    server.start()
    assert recent(server, "one") == before


def test_recent_of_any_size(nodes):
    """W-D5: the whole answer failed when it was larger than 4 MiB."""
    server = nodes.server()
    line = "x" * 60000
    for i in range(10):
        lines = [f"{i * 100 + k:04} {line}" for k in range(100)]
        assert server.push({"app": "one"}, lines).status == 204
    answer = server.get("/recent?app=one")
    assert len(answer.body) > 50 << 20
    assert [LogMessage.decode(p).message[:4] for p in parts(answer)] == [b"%04d" % i for i in range(1000)]


def test_what_does_not_fit_is_told(nodes):
    """W-D5: where a query's memory has not room for all, the newest come, and a notice says so."""
    server = nodes.server(config="memory: 32MiB")
    line = "x" * 60000
    for i in range(10):
        for k in range(0, 100, 20):
            lines = [f"{i * 100 + k + n:04} {line}" for n in range(20)]
            wait_for("there is room", lambda: server.push({"app": "one"}, lines).status == 204)  # noqa: B023
    notice, *lines = recent(server, "one")
    assert notice.err and notice.source_name == "LGR" and b"1000" in notice.message
    assert 10 <= len(lines) < 200
    assert [m.message[:4] for m in lines] == [b"%04d" % i for i in range(1000 - len(lines), 1000)]


def test_slow_readers_do_not_fill_the_memory(nodes):
    """W-D5: large answers whose clients do not read them are charged; further ones are told to come again."""
    server = nodes.server(config="memory: 64MiB")
    for _ in range(2):
        wait_for("there is room", lambda: server.push({"app": "one"}, ["x" * 60000] * 70).status == 204)
    wait_for("it is told", lambda: len(recent(server, "one")) >= 70)
    before, slow = server.rss_anon(), []
    for _ in range(30):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect((server.host, server.port))
        s.sendall(b"GET /recent?app=one HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.append(s)
    wait_for("one is refused", lambda: server.get("/recent", {"app": "one"}).status == 429)
    refused = server.get("/recent", {"app": "one"})
    assert refused.status == 429 and refused.headers["Retry-After"] == "1"
    assert "wait for slow readers already" in refused.text
    assert server.get("/loki/api/v1/labels").status == 200  # small ones go on
    if not sawlog.SANITIZED:
        assert server.rss_anon() - before < 48 << 20
    for s in slow:
        s.close()
    wait_for("there is room again", lambda: server.get("/recent", {"app": "one"}).status == 200)
    wait_for("all is given back", lambda: server.metric("sawlog_memory_held_bytes", account="answers") < 100_000)


def test_without_an_application(server):
    answer = server.get("/recent")
    assert answer.status == 400 and "Invalid AppId" in answer.text
    assert server.get("/recent?app=").status == 400
    assert server.call("HEAD", "/recent?app=x").status == 200


def test_containermetrics(nodes):
    server = doppler(nodes)
    now = time.time_ns()
    with DropsondeEmitter(server.datagrams, app="one") as e:
        for i in range(3):
            for index in 0, 1:
                e.container(10.5 + i + index, 1000 + i, 2000, 4000, 5000, index=index, timestamp=now + i)
        # What ran long ago does not run, and other metrics are none of a container.
        e.container(1, 2, 3, index=7, timestamp=now - 3600 * 10**9)
        e.metric("latency", 3, "ms")
    settled(server, "one", 7)
    got = [Envelope.decode(p) for p in parts(server.get("/apps/one/containermetrics"))]
    cpu = {x.event["instanceIndex"]: x.event["cpuPercentage"] for x in got}
    assert cpu == {0: 12.5, 1: 13.5}
    assert {x.event["memoryBytes"] for x in got} == {1002}
    assert {x.event["applicationId"] for x in got} == {"one"}


# --- who may -----------------------------------------------------------------------------------------------------


class Controller:
    """Stands for the Cloud Controller: answers by token and application."""

    def __init__(self):
        outer = self
        self.asked, self.status, self.delay, self.location = [], {}, 0, None

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Authorization")))
                time.sleep(outer.delay)
                self.send_response(outer.status.get((self.path, self.headers.get("Authorization")), 401))
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # clients that did not wait
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def allow(self, app, token, status=200):
        self.status[f"/v2/apps/{app}", token] = status

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def controller():
    c = Controller()
    yield c
    c.close()


def checked(nodes, controller, more=""):
    server = nodes.server(config=f"""
loggregator:
  check:
    url: '{controller.url}/v2/apps/{{app}}'
    {more}
""")
    server.push({"app": "mine"}, ["of mine"])
    server.push({"app": "mine"}, ["of another tenant"], tenant="other")
    return server


def ask(server, app="mine", token=None, path="/recent?app={}", **headers):
    if token:
        headers["Authorization"] = token
    return server.get(path.format(app), headers=headers)


def test_the_controller_decides(nodes, controller):
    server = checked(nodes, controller)
    controller.allow("mine", "bearer good")
    controller.allow("gone", "bearer good", 404)
    controller.allow("theirs", "bearer good", 403)
    controller.allow("broken", "bearer good", 500)

    answer = ask(server, token="bearer good")
    assert [LogMessage.decode(p).message for p in parts(answer)] == [b"of mine"]
    missing = ask(server)
    assert missing.status == 401 and missing.headers["WWW-Authenticate"] == "Basic"
    assert missing.text == "You are not authorized. Error: Authorization not provided"
    denied = ask(server, token="bearer bad")
    assert denied.status == 401 and denied.text == "You are not authorized. Error: Invalid authorization"
    for app in "gone", "theirs":
        answer = ask(server, app, "bearer good")
        assert answer.status == 404 and answer.text == "Resource Not Found."
    assert ask(server, "broken", "bearer good").status == 503
    assert ask(server, path="/apps/{}/recentlogs", token="bearer good").status == 200
    assert ask(server, path="/apps/{}/containermetrics", token="bearer bad").status == 401
    # The rest of the API is as before: here nobody is asked.
    assert server.query('{app="mine"}')["status"] == "success"


def test_credentials_come_in_three_ways(nodes, controller):
    server = checked(nodes, controller)
    controller.allow("mine", "bearer good one")
    assert ask(server, token="bearer good one").status == 200
    assert ask(server, Cookie="x=y; authorization=bearer%20good+one; z=1").status == 200
    assert ask(server, path="/recent?app={}&authorization=bearer+good%20one").status == 200
    assert ask(server, Cookie="authorization=bearer%20bad").status == 401


def test_verdicts_are_kept_a_while(nodes, controller):
    server = checked(nodes, controller, "cache: 2s")
    controller.allow("mine", "bearer good")
    began = time.monotonic()
    for _ in range(5):
        assert ask(server, token="bearer good").status == 200
    assert len(controller.asked) == 1 or time.monotonic() - began > 2
    # Others are asked about on their own.
    asked = len(controller.asked)
    assert ask(server, "other", "bearer good").status == 401
    assert ask(server, token="bearer other").status == 401
    assert len(controller.asked) == asked + 2
    controller.allow("mine", "bearer good", 401)
    wait_for("the verdict has run out", lambda: ask(server, token="bearer good").status == 401)


def test_who_ask_at_once_share_a_verdict(nodes, controller):
    server = checked(nodes, controller)
    controller.allow("mine", "bearer good")
    controller.delay = 0.5
    got = []
    threads = [threading.Thread(target=lambda: got.append(ask(server, token="bearer good").status)) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [200] * 20
    assert len(controller.asked) == 1


def test_nothing_is_asked_that_could_mean_another_page(nodes, controller):
    server = checked(nodes, controller)
    controller.status = {(path, "bearer good"): 200 for path in ("/v2/apps/..", "/v2/apps/", "/v2/", "/v2/apps/%2E%2E")}
    for app in "..", "%2e%2e", "x%2f..%2fy", "a%00b", "a%0d%0aX:%20y":
        assert ask(server, app, "bearer good").status == 401
    assert controller.asked == []


def test_who_cannot_be_asked_lets_nobody_in(nodes):
    server = nodes.server(config="loggregator: {check: {url: 'http://127.0.0.1:9/v2/apps/{app}'}}")
    answer = ask(server, token="bearer good")
    assert answer.status == 503 and answer.headers["Retry-After"] == "1"


def test_a_controller_that_hangs_keeps_nobody_long(nodes, controller, tmp_path):
    """Who waits behind others for as long as an answer may take is told at once, and the log is not flooded."""
    server = checked(nodes, controller, "timeout: 500ms")
    controller.delay = 4
    got, began = [], time.monotonic()
    threads = [threading.Thread(target=lambda i=i: got.append(ask(server, token=f"bearer {i}"))) for i in range(80)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took = time.monotonic() - began
    assert {a.status for a in got} == {503} and "try again later" in got[0].text
    # One after the other they would take 10 s.
    assert took < 5 and len(controller.asked) < 40
    assert 1 <= server.err.count("loggregator.check: ") <= took + 2


def test_a_controller_that_answers_nonsense_lets_nobody_in(nodes, controller):
    """Redirects are not followed: where they lead would get the credentials."""
    server = checked(nodes, controller)
    controller.location = f"{controller.url}/v2/apps/other"
    controller.allow("other", "bearer good")
    for status in 301, 204, 307, 418, 500:  # the first is logged
        controller.allow("mine", "bearer good", status)
        assert ask(server, token="bearer good").status == 503
    assert {path for path, _ in controller.asked} == {"/v2/apps/mine"}
    assert "answered with status 301, a redirect, which is not followed" in server.err


def test_credentials_are_not_cut(nodes, controller):
    server = checked(nodes, controller)
    controller.allow("mine", "bearer good")
    for more in "%00", "%00x", "%0d%0aX-A:b", "%7f":
        assert ask(server, path="/recent?app={}&authorization=bearer+good" + more).status == 401
    assert controller.asked == []


def test_the_tenant_is_not_the_clients_to_name(nodes, controller):
    server = checked(nodes, controller)
    controller.allow("mine", "bearer good")
    answer = ask(server, token="bearer good", **{"X-Scope-OrgID": "other"})
    assert [LogMessage.decode(p).message for p in parts(answer)] == [b"of mine"]
    server.stop()
    server = checked(nodes, controller, "tenant: other")
    answer = ask(server, token="bearer good")
    assert {LogMessage.decode(p).message for p in parts(answer)} == {b"of another tenant"}


def test_tokens_of_our_own_count_beside_it(nodes, controller, tmp_path):
    tokens = tmp_path / "tokens"
    made = sawlog.run("token", "create", "--tokens-file", tokens, "--scope", "read", "test")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.decode().strip()
    server = nodes.server(config=f"auth: {{tokens_file: '{tokens}'}}\n"
                          f"loggregator: {{check: {{url: '{controller.url}/v2/apps/{{app}}'}}}}")
    assert ask(server, token=f"Bearer {secret}").status == 200
    assert controller.asked == []
    controller.allow("mine", "bearer good")
    assert ask(server, token="bearer good").status == 200
    assert ask(server, token="Bearer slt_0123456789abcdef_" + "0" * 64).status == 401
    # What is not asked of the controller needs a token.
    assert server.get("/loki/api/v1/labels", headers={"Authorization": "bearer good"}).status == 401


def test_without_a_check_tokens_decide(nodes, tmp_path):
    tokens = tmp_path / "tokens"
    made = sawlog.run("token", "create", "--tokens-file", tokens, "--scope", "read", "test")
    server = nodes.server(config=f"auth: {{tokens_file: '{tokens}'}}")
    assert ask(server).status == 401
    assert ask(server, token=f"bearer {made.stdout.decode().strip()}").status == 200


def test_settings_that_make_no_sense_are_named(tmp_path):
    for text, words in [
            ("check: {url: 'https://api.example.com/v2/apps'}", "must have {app} in it"),
            ("check: {url: 'ftp://api.example.com/{app}'}", "only http:// and https://"),
            ("check: {firehose_url: 'https://api.example.com/x'}", "url is missing"),
            ("varz: {user: x}", "password_file is missing"),
            ("app_label: 'not a label'", "a label's name"),
            ("recent: 0", "recent")]:
        config = tmp_path / "sawlog.yaml"
        config.write_text(f"loggregator: {{{text}}}\n")
        checked = sawlog.run("check", config)
        assert checked.returncode != 0 and words in checked.stderr.decode() + checked.stdout.decode(), text


def test_origins(nodes, controller):
    """Clients of 2013 name http://localhost; the pages of others get nothing by a cookie."""
    server = checked(nodes, controller)
    controller.allow("mine", "bearer good")
    cookie = {"Cookie": "authorization=bearer%20good"}
    assert ask(server, **cookie, Origin="http://localhost").status == 200
    assert ask(server, **cookie, Origin=server.url).status == 200
    assert ask(server, **cookie, Origin="https://evil.example").status == 403
    assert ask(server, **cookie, Origin="https://console.example", **{"Sec-Fetch-Site": "same-site"}).status == 200
    assert ask(server, token="bearer good", Origin="https://console.example").status == 200


def test_set_cookie(server):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.call("POST", "/set-cookie", b"CookieName=authorization&CookieValue=bearer+x%3By",
                         {**form, "Origin": "https://console.example"})
    assert answer.status == 200
    assert answer.headers["Set-Cookie"] == "authorization=bearer%20x%3By; Secure; HttpOnly; SameSite=Lax"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://console.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    for body in b"", b"CookieName=a", b"CookieValue=b", b"CookieName=&CookieValue=b":
        assert server.call("POST", "/set-cookie", body, form).status == 400


# --- the server itself -------------------------------------------------------------------------------------------


def test_health_as_a_word(server):
    assert server.get("/healthz").json()["healthy"] is True
    answer = server.get("/healthz", headers={"Accept": "text/plain"})
    assert answer.text == "ok" and answer.headers["Content-Type"].startswith("text/plain")
    assert server.get("/healthz", headers={"Accept": "*/*"}).json()["healthy"] is True


def test_varz(nodes, tmp_path):
    password = tmp_path / "password"
    password.write_text("se:cret\n")
    server = doppler(nodes, f"loggregator: {{varz: {{user: varz, password_file: '{password}'}}}}")
    with Emitter(server.datagrams, app="one") as e:
        for i in range(7):
            e.emit(f"line {i}")
    settled(server, "one", 7)

    def get(user):
        return server.get("/varz", headers={"Authorization": "Basic " + base64.b64encode(user).decode()})

    answer = server.get("/varz")
    assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Basic")
    assert get(b"varz:secret").status == 401
    assert get(b"other:se:cret").status == 401
    shown = get(b"varz:se:cret").json()
    assert shown["name"] == "LoggregatorServer" and shown["numCPUS"] > 0 and shown["numGoRoutines"] > 5
    assert shown["memoryStats"]["numBytesAllocatedHeap"] > 0 and shown["tags"]["ip"]
    contexts = {c["name"]: {m["name"]: m["value"] for m in c["metrics"]} for c in shown["contexts"]}
    assert contexts["agentListener"]["receivedMessageCount"] == 7
    assert contexts["agentListener"]["receivedMessageCount:one"] == 7
    assert contexts["agentListener"]["currentBufferCount"] == 0
    assert contexts["messageRouter"]["numberOfWebsocketSinks"] == 0
    password.unlink()
    assert get(b"varz:se:cret").status == 500


def test_varz_without_a_password_is_as_the_metrics(server):
    assert server.get("/varz").json()["name"] == "LoggregatorServer"


def test_sigusr1_tells_stacks(server):
    """Threads by name with their stacks, and what is queued, open and how fast it goes; and it goes on."""
    tail = server.tail('{app="x"}')
    for n in range(1, 4):
        server.child.send_signal(signal.SIGUSR1)
        # Two signals at once are one.
        wait_for(f"{n} dumps", lambda: server.out.count("\nthreads: ") == n)  # noqa: B023
    server.push({"app": "x"}, ["still there"])
    assert server.lines('{app="x"}') == ["still there"]
    tail.sock.close()
    dump = server.out[server.out.rindex("sawlog 0"):]
    for word in "rate: ", "http: ", "api: 1 tails", "committer: ", "outputs: ":
        assert word in dump, word
    names = re.findall(r"^  \d+ (\S+)$", dump, re.M)
    assert {"commit", "query", "tail", "ws"} <= set(names)
    if not sawlog.SANITIZED:
        # Each thread that waits for work says where.
        stacks = dict(zip(names, re.split(r"^  \d+ \S+$", dump, flags=re.M)[1:]))
        assert "cond_wait" in stacks["commit"] or "commit" in stacks["commit"], stacks["commit"]
        assert "uv_run" in stacks["ws"]
    assert json.dumps(names)
