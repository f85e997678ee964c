# SPDX-License-Identifier: Apache-2.0
"""A real Alertmanager takes our alerts, and what it tells its receivers is what ours are told."""
import json
import shutil
import subprocess
import urllib.request

import pytest
import sawlog
from test_notify import Hook, boom, config, notifier, rules, webhook

PROGRAM = shutil.which("prometheus-alertmanager")


class Alertmanager(sawlog.Process):
    def __init__(self, folder, hook):
        super().__init__("alertmanager", folder / "alertmanager")
        self.port = sawlog.free_port()
        self.url = f"http://127.0.0.1:{self.port}/am"
        (self.folder / "am.yaml").write_text(json.dumps({
            "route": {"receiver": "webhook", "group_by": ["alertname"], "group_wait": "100ms",
                      "group_interval": "1s", "repeat_interval": "4h"},
            "receivers": [{"name": "webhook", "webhook_configs": [{"url": hook.url}]}]}))

    def start(self):
        self.spawn([PROGRAM, f"--config.file={self.folder}/am.yaml", f"--storage.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}", f"--web.external-url={self.url}",
                    "--cluster.listen-address="])
        sawlog.wait_for("the Alertmanager is ready", self.is_ready)
        return self

    def is_ready(self):
        assert self.running, self.err[-2000:]
        try:
            return self.get("/-/ready") is not None
        except OSError:
            return False

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read()

    def alerts(self):
        return json.loads(self.get("/api/v2/alerts"))


@pytest.fixture
def alertmanager(tmp_path):
    if not PROGRAM:
        pytest.skip("prometheus-alertmanager is not installed")
    hook = Hook()
    am = Alertmanager(tmp_path, hook)
    am.hook = hook
    yield am
    am.close()
    hook.close()


def to(am, **more):
    return {"alertmanager": {"url": am.url + "/", "allow_private": True, "group_wait": "0s", "repeat": "1s", **more}}


def test_same_as_ours(nodes, alertmanager):
    """The two messages of an alert, from the Alertmanager and from us, differ in names of their senders alone."""
    alertmanager.start()
    ours = Hook()
    rules(nodes.folder, window="6s")
    server = nodes.server(config=config(nodes.folder, to(alertmanager), webhook(ours),
                                        external_url=alertmanager.url))
    boom(server, 'a "b"\n{c}')
    for status in ("firing", "resolved"):
        found = []
        for hook in (alertmanager.hook, ours):
            found.append(sawlog.wait_for(f"{status} over {hook.port}", lambda h=hook: [
                m for m in h.messages() if m["status"] == status], 40)[0])
        theirs, own = found
        assert sorted(theirs) == sorted(own)
        for key in ("version", "status", "receiver", "groupLabels", "commonLabels", "commonAnnotations", "groupKey",
                    "truncatedAlerts", "externalURL"):
            assert theirs[key] == own[key], key
        a, b = theirs["alerts"][0], own["alerts"][0]
        assert sorted(a) == sorted(b)
        for key in ("status", "labels", "annotations", "fingerprint", "generatorURL"):
            assert a[key] == b[key], key
        assert a["startsAt"][:19] == b["startsAt"][:19]
    assert notifier(server, "alertmanager")["skipped"] == 0
    ours.close()


def test_kept_alive(nodes, alertmanager):
    """What fires stays there while we run, whatever the time it is given, and ends when we are gone."""
    alertmanager.start()
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, to(alertmanager)))
    boom(server)
    first = sawlog.wait_for("it is there", alertmanager.alerts)[0]
    assert first["labels"] == {"alertname": "Boom", "app": "shop", "severity": "page"}
    sawlog.wait_for("it is told again", lambda: alertmanager.alerts()[0]["endsAt"] > first["endsAt"])
    assert alertmanager.alerts()[0]["fingerprint"] == first["fingerprint"]
    server.kill()
    sawlog.wait_for("it ends by itself", lambda: not alertmanager.alerts(), 30)


def test_away(nodes, alertmanager):
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, to(alertmanager)))
    boom(server)
    sawlog.wait_for("it is tried", lambda: notifier(server, "alertmanager")["failed"] > 0)
    assert "127.0.0.1" in notifier(server, "alertmanager")["error"]
    alertmanager.start()
    sawlog.wait_for("it is told", alertmanager.alerts)


def test_amtool(nodes, alertmanager):
    """Its own client reads what we sent."""
    if not shutil.which("amtool"):
        pytest.skip("amtool is not installed")
    alertmanager.start()
    rules(nodes.folder)
    server = nodes.server(config=config(nodes.folder, to(alertmanager)))
    boom(server)
    sawlog.wait_for("it is there", alertmanager.alerts)
    r = subprocess.run(["amtool", f"--alertmanager.url={alertmanager.url}", "alert", "query", "app=shop"],
                       capture_output=True, text=True, timeout=30)
    assert r.returncode == 0 and "shop goes boom" in r.stdout, r.stdout + r.stderr
