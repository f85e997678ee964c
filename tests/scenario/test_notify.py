# SPDX-License-Identifier: Apache-2.0
"""Who is told of alerts: webhooks, mails, commands and a stream, through restarts, failures and silences."""
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
import sawlog


class Hook:
    """A webhook on loopback that keeps what it takes; `status` is what it answers."""

    def __init__(self, port=0):
        self.lock, self.got, self.status, self.tries, self.headers = threading.Lock(), [], 200, 0, {}
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with hook.lock:
                    hook.tries += 1
                    status = hook.status
                    if status == 200:
                        hook.got.append((self.path, dict(self.headers), json.loads(body)))
                    more = hook.headers
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def messages(self):
        with self.lock:
            return [m for _, _, m in self.got]

    def states(self):
        """What was told of each alert, in order: [("firing", "shop"), ...]."""
        return [(a["status"], a["labels"]["app"]) for m in self.messages() for a in m["alerts"]]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook():
    h = Hook()
    yield h
    h.close()


def rules(folder, window="600s", query='{app=~"(?s).+", input!="alert"} |= "boom"'):
    """A rule that fires for each app with a line with "boom" of late."""
    path = folder / "rules.yaml"
    path.write_text("groups: " + json.dumps([{"name": "g", "interval": "1s", "rules": [{
        "alert": "Boom", "expr": f"sum by (app) (count_over_time({query} [{window}])) > 0",
        "labels": {"severity": "page"}, "annotations": {"summary": "{{ $labels.app }} goes boom"}}]}]))
    return path


def config(folder, *notify, **more):
    settings = {"groups_file": str(folder / "rules.yaml"), "notify": list(notify), **more}
    return "alerts: " + json.dumps(settings).replace("$", "$$") + "\n"


def webhook(hook, **more):
    return {"webhook": {"url": hook.url, "allow_private": True, "group_wait": "0s", **more}}


def notifier(server, name="webhook"):
    answer = server.get("/api/v1/notifiers")
    assert answer.status == 200, answer.text
    return {n["name"]: n for n in answer.json()["notifiers"]}[name]


def boom(server, app="shop", **more):
    assert server.push({"app": app}, ["boom"], **more).status == 204


def test_webhook(nodes, hook):
    rules(nodes.folder, window="4s")
    server = nodes.server(config=config(nodes.folder, webhook(hook, headers={"X-Key": "k"}),
                                        external_url="https://logs.example.com/"))
    boom(server)
    sawlog.wait_for("it fires", lambda: hook.messages())
    path, headers, message = hook.got[0]
    alert = message["alerts"][0]
    assert path == "/" and headers["Content-Type"] == "application/json" and headers["X-Key"] == "k"
    assert headers["User-Agent"].startswith("sawlog/")
    assert list(message) == ["receiver", "status", "alerts", "groupLabels", "commonLabels", "commonAnnotations",
                             "externalURL", "version", "groupKey", "truncatedAlerts"]
    labels = {"alertname": "Boom", "app": "shop", "severity": "page"}
    assert message["version"] == "4" and message["status"] == "firing" and message["receiver"] == "webhook"
    assert alert["labels"] == message["commonLabels"] == labels
    assert alert["annotations"] == message["commonAnnotations"] == {"summary": "shop goes boom"}
    assert message["groupLabels"] == {"alertname": "Boom"} and message["groupKey"] == '{}:{alertname="Boom"}'
    assert message["externalURL"] == "https://logs.example.com/"
    assert alert["generatorURL"].startswith("https://logs.example.com/")
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    sawlog.wait_for("it is over", lambda: ("resolved", "shop") in hook.states())
    over = hook.messages()[-1]
    assert over["status"] == "resolved" and over["alerts"][0]["startsAt"] == alert["startsAt"]
    assert over["alerts"][0]["endsAt"] > alert["startsAt"]
    assert over["alerts"][0]["fingerprint"] == alert["fingerprint"]
    assert hook.states() == [("firing", "shop"), ("resolved", "shop")]


def test_a_group_is_told_whole(nodes, hook):
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, webhook(hook)))
    boom(server, "a")
    sawlog.wait_for("the first", lambda: hook.states() == [("firing", "a")])
    boom(server, "b")
    sawlog.wait_for("the second, and what still fires", lambda: len(hook.messages()) >= 2)
    assert sorted(a["labels"]["app"] for a in hook.messages()[1]["alerts"]) == ["a", "b"]


def test_labels_stay_labels(nodes, hook):
    """Quotes, line ends, markup and commands in labels come out as they went in, and nowhere else."""
    evil = '"\r\nX-Evil: 1\n</script>`touch x`$(touch x)\u2028{{ .x }}'
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, webhook(hook)))
    boom(server, evil)
    sawlog.wait_for("it fires", lambda: hook.messages())
    _, headers, message = hook.got[0]
    assert message["alerts"][0]["labels"]["app"] == evil
    assert message["alerts"][0]["annotations"]["summary"] == evil + " goes boom"
    assert "X-Evil" not in headers


def test_target_away(nodes, hook):
    """What is owed survives a kill -9; what was told is not told again."""
    rules(nodes.folder)
    hook.status = 503
    server = nodes.server(config=config(nodes.folder, webhook(hook)))
    boom(server)
    sawlog.wait_for("it is tried", lambda: notifier(server)["failed"] > 0)
    assert notifier(server)["waiting"] == 1 and notifier(server)["state"] == "failing"
    assert "it answered 503: ok" in notifier(server)["error"]
    server.kill()
    hook.status = 200
    server.start()
    sawlog.wait_for("it is told", lambda: hook.states() == [("firing", "shop")])
    sawlog.wait_for("nothing is owed", lambda: notifier(server)["waiting"] == 0)
    sawlog.wait_for("that is on the disk", lambda: '"told":"firing"' in
                    (server.data / "alerts" / "notified-webhook.json").read_text())
    server.kill()
    server.start()
    boom(server, "web")
    sawlog.wait_for("the other", lambda: ("firing", "web") in hook.states())
    assert len(hook.messages()) == 2
    sawlog.wait_for("it is counted", lambda: notifier(server)["sent"] == 1)
    metrics = server.get("/metrics").text
    assert 'sawlog_notifications_total{notifier="webhook"} 1' in metrics
    assert 'sawlog_notifications_waiting{notifier="webhook"} 0' in metrics


def test_private_targets(nodes, hook):
    """Not without leave: neither by address nor by name, and a redirect leads nowhere."""
    rules(nodes.folder)
    other = Hook()
    hook.status, hook.headers = 307, {"Location": other.url + "/secret"}
    server = nodes.server(config=config(
        nodes.folder, webhook(hook, name="address", allow_private=False),
        webhook(hook, name="name", url=f"http://localhost:{hook.port}/T0KEN", allow_private=False),
        webhook(hook, name="redirect", url=f"{hook.url}/T0KEN?x=T0KEN")))
    boom(server)
    for name, word in (("address", "allow_private"), ("name", "allow_private"), ("redirect", "answered 307")):
        sawlog.wait_for(name, lambda n=name, w=word: w in notifier(server, n)["error"])
        assert "T0KEN" not in notifier(server, name)["error"]
    assert "T0KEN" not in server.get("/config").text and "T0KEN" not in server.err
    assert hook.messages() == [] and other.tries == 0
    other.close()


def test_refused_for_good(nodes, hook):
    rules(nodes.folder)
    hook.status = 400
    server = nodes.server(config=config(nodes.folder, webhook(hook)))
    boom(server)
    sawlog.wait_for("it is passed by", lambda: notifier(server)["skipped"] == 1)
    assert "is refused for good and passed by" in server.err
    hook.status = 200
    boom(server, "web")
    sawlog.wait_for("the next", lambda: ("firing", "web") in hook.states())


def silence(server, seconds=600, **matcher):
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    body = {"matchers": [{"name": k, "value": v, "isRegex": False, "isEqual": True} for k, v in matcher.items()],
            "startsAt": "2026-01-01T00:00:00Z", "endsAt": ends, "createdBy": "test", "comment": "quiet"}
    answer = server.call("POST", "/api/v1/silences", json.dumps(body).encode(),
                         {"Content-Type": "application/json"})
    assert answer.status == 200, answer.text
    return answer.json()["silenceID"]


def test_silences(nodes, hook):
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, webhook(hook)))
    quiet = silence(server, app="shop")
    boom(server)
    boom(server, "web")
    sawlog.wait_for("the other one is told", lambda: ("firing", "web") in hook.states())
    sawlog.wait_for("one is held back", lambda: notifier(server)["silenced"] == 1)
    server.kill()
    server.start()
    sawlog.wait_for("it is still held back", lambda: notifier(server)["silenced"] == 1)
    found = server.get("/api/v1/silences").json()
    assert [s["id"] for s in found] == [quiet] and found[0]["status"] == {"state": "active"}
    assert found[0] == server.get(f"/api/v1/silences/{quiet}").json()
    assert ("firing", "shop") not in hook.states()
    assert server.call("DELETE", f"/api/v1/silences/{quiet}").status == 204
    assert server.get(f"/api/v1/silences/{quiet}").json()["status"] == {"state": "expired"}
    sawlog.wait_for("it is told", lambda: ("firing", "shop") in hook.states())
    assert server.get("/api/v1/silences/none").status == 404
    assert server.call("POST", "/api/v1/silences", b"{}").status == 400


def test_reload(nodes, hook):
    """What stays the same runs on, what is new goes on where one of its name was."""
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, webhook(hook)))
    boom(server)
    sawlog.wait_for("it fires", lambda: hook.states() == [("firing", "shop")])
    other = Hook()
    server.config.write_text(config(nodes.folder, webhook(other), webhook(hook, name="second")))
    answer = server.call("POST", "/-/reload", b"")
    assert answer.status == 200, answer.text
    sawlog.wait_for("the new one is told", lambda: len(hook.messages()) == 2)
    boom(server, "web")
    sawlog.wait_for("both go on", lambda: ("firing", "web") in hook.states() and ("firing", "web") in other.states())
    assert [len(m["alerts"]) for m in other.messages()] == [2]
    other.close()
    server.config.write_text(config(nodes.folder, webhook(hook), webhook(hook)))
    answer = server.call("POST", "/-/reload", b"")
    assert answer.status == 400 and "both called webhook" in answer.text


def test_command(nodes):
    """A program gets the JSON on its input; its exit code decides."""
    got, program = nodes.folder / "got", nodes.folder / "page.py"
    program.write_text("import json, os, sys\n"
                       "m = json.load(sys.stdin)\n"
                       f"n = len(open({str(got)!r}, 'a+').readlines()) or os.path.getsize({str(got)!r})\n"
                       f"open({str(got)!r}, 'a').write(json.dumps([sys.argv[1:], sorted(os.environ), m]) + '\\n')\n"
                       "print('not yet')\n"
                       f"sys.exit(1 if len(open({str(got)!r}).readlines()) < 2 else 0)\n")
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, {"command": {
        "command": [sys.executable, "-S", str(program), "$(x) `y`; z"], "group_wait": "0s",
        "env": {"TOKEN": "t"}}}), env={"AWS_SECRET_ACCESS_KEY": "hidden"})
    boom(server)
    sawlog.wait_for("the first try", lambda: notifier(server, "command")["failed"] == 1)
    assert "exit code 1: not yet" in notifier(server, "command")["error"]
    sawlog.wait_for("the second", lambda: notifier(server, "command")["sent"] == 1)
    lines = [json.loads(line) for line in got.read_text().splitlines()]
    assert len(lines) == 2 and lines[0][2] == lines[1][2]
    argv, names, message = lines[0]
    assert argv == ["$(x) `y`; z"]
    assert "TOKEN" in names and "SAWLOG_NOTIFIER" in names and "AWS_SECRET_ACCESS_KEY" not in names
    assert message["version"] == "4" and message["alerts"][0]["labels"]["app"] == "shop"


def test_stream(nodes):
    """Alerts as records; those of another tenant go to its own."""
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, {"stream": {"group_wait": "0s"}}))
    group = {"name": "g", "interval": "1s", "rules": [
        {"alert": "Boom", "expr": 'sum by (app) (count_over_time({app="billing"} |= "boom" [600s])) > 0'}]}
    answer = server.call("POST", "/loki/api/v1/rules/acme", json.dumps(group).encode(), {"X-Scope-OrgID": "acme"})
    assert answer.status == 202, answer.text
    boom(server)
    boom(server, "billing", tenant="acme")
    found = sawlog.wait_for("a record", lambda: server.entries('{app="alerts"}'))
    assert len(found) == 1
    _, line, labels = found[0]
    assert line.startswith("firing alertname=Boom value=1 summary=\"shop goes boom\" labels=")
    assert server.entries('{app="alerts"} | label_app="shop" | state="firing" | label_severity="page"')
    assert not server.entries('{app="alerts"} | detected_level="error"')
    sawlog.wait_for("one of the other tenant", lambda: server.entries(
        '{app="alerts"} | label_app="billing"', tenant="acme"))
    assert len(server.entries('{app="alerts"}')) == 1


def test_check(nodes):
    """What is wrong with a notifier is said before anything runs."""
    rules(nodes.folder)
    for bad, word in (({"webhok": "http://x"}, "did you mean \"webhook\""), ({"webhook": "file:///etc"}, "url"),
                      ({"command": []}, "name a program"), ({"email": ["a@b.c"]}, "smtp: is required"),
                      ({"alertmanager": {"url": "http://x", "repeat": "0s"}}, "repeat"),
                      ({"webhook": {"url": "http://x", "headers": {"a": "b\nc: d"}}}, "line end")):
        path = nodes.folder / "bad.yaml"
        path.write_text(config(nodes.folder, bad))
        r = sawlog.run("check", path)
        assert r.returncode != 0 and word in (r.stdout + r.stderr).decode(), (bad, r.stdout, r.stderr)


def test_mail(nodes):
    pytest.importorskip("aiosmtpd.smtp", reason="python3-aiosmtpd is not installed")
    from test_email import Mailbox, text
    box = Mailbox().start()
    evil = "shop\r\nBcc: evil@example.com"
    rules(nodes.folder)
    box.verdict = lambda address: "450 come back later" if address == "late@example.com" and len(box.mails) < 2 else None
    server = nodes.server(config=config(nodes.folder, {"email": {
        "to": ["ops@example.com", "late@example.com"],
        "smtp": f"smtp://127.0.0.1:{box.port}", "group_wait": "0s"}}))
    try:
        boom(server, evil)
        sawlog.wait_for("the first gets it", lambda: box.mails)
        sawlog.wait_for("the second is asked to wait", lambda: notifier(server, "email")["failed"] > 0)
        box.verdict = None
        sawlog.wait_for("the second gets it", lambda: len(box.mails) >= 2)
        sawlog.wait_for("it is told", lambda: notifier(server, "email")["sent"] == 1)
    finally:
        box.stop()
    (to, first), (other, second) = box.mails
    assert (to, other) == ("ops@example.com", "late@example.com") and len(box.mails) == 2
    assert first["Message-ID"] == second["Message-ID"] and first["Bcc"] is None
    assert first["From"].startswith("sawlog@")
    assert first["Subject"].startswith("[FIRING:1] Boom {app=\"shop\\r\\nBcc: evil@example.com\", severity=\"page\"}")
    assert text(first).startswith("FIRING  Boom\n  summary: shop")
    assert "\nBcc" not in text(first) and "value 1\n" in text(first)
    assert quote("boom") in text(first)
