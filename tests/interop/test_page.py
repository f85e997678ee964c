# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser."""
import json
import os

import routes
import sawlog
from test_auth import create, pem, secure  # noqa: F401


def test_page(npm, server):
    server.push({"app": "shop", "env": "prod"}, [f"INFO order {i} placed by user{i % 7}" for i in range(40)])
    server.push({"app": "shop"}, ["ERROR payment failed: card declined"])
    server.push({"app": "gateway"}, ["GET /checkout 200 12ms"] * 25)
    server.push({"app": "evil"}, ['<img src=x onerror="alert(1)"><script>alert(2)</script>'])
    r = npm("page.mjs", server.url, os.environ.get("PICTURE", ""))
    assert r.returncode == 0, r.stderr
    seen = json.loads(r.stdout)
    assert "shop" in seen["rates"] and "loki" in seen["rates"]
    assert "sync" in seen["state"]
    assert "order 39" in seen["found"]
    assert "<img src=x" in seen["evil"] and seen["images"] == 0, "log text became HTML"
    assert "line 1, col" in seen["problem"]
    assert seen["live"] and seen["problems"] == []


def test_page_with_tokens_over_tls(npm, secure):  # noqa: F811
    s = secure(start=False)
    reader, writer = create(s.tokens, scope="read"), create(s.tokens, scope="ingest")
    s.start()
    push = (f"{sawlog.SAWLOG} emit loki={s.url} --ca {s.pem}/ca.pem --token {writer} "
            "--app live 'live over TLS'")
    revoke = f"{sawlog.SAWLOG} token revoke --tokens-file {s.tokens} {reader}"
    r = npm("page_auth.mjs", s.url, reader, push, revoke)
    assert r.returncode == 0, r.stderr
    seen = json.loads(r.stdout)
    assert "Basic realm" in seen["asks"] and "INVALID_AUTH" in seen["stranger"]
    assert seen["revoked"].startswith("401: ") and "trying again" in seen["problem"]


def test_page_with_alerts(npm, nodes):
    (nodes.folder / "rules.yaml").write_text("""groups:
  - name: fast
    interval: 1s
    rules:
      - {alert: Errors, expr: 'sum by (app, evil) (count_over_time({app="shop"} | json [1h])) >= 2', labels: {severity: page}}
      - {alert: Later, expr: 'sum(count_over_time({app="shop"}[1h])) > 0', for: 1h}
      - {alert: Never, expr: 'sum(count_over_time({app="nobody"}[1h])) > 0'}
      - {alert: Hush, expr: 'sum(count_over_time({app="shop"}[1h])) > 0'}
      - {alert: Broken, expr: 'sum by (app) (count_over_time({app="shop"}[1h])) / on() sum by (evil) (count_over_time({app="shop"} | json [1h]))'}
""")
    server = nodes.server(config=f"alerts: {{groups_file: rules.yaml, notify: [{{stream: {{name: told}}}}]}}\n"
                                 f"outputs: [{{file: {{name: copy, path: {nodes.folder}/copy.log, start: begin}}}}]\n")
    server.push({"app": "shop"}, ['{"evil": "<img src=x onerror=alert(1)>"}'] * 2 + ['{"evil": "no"}'] * 2)
    sawlog.wait_for("it fires", lambda: server.metric("sawlog_alerts", state="firing") == 3)
    sawlog.wait_for("the copy is written", lambda: server.metric("sawlog_output_delivered_records_total", output="copy") >= 4)
    made = server.call("POST", "/api/v1/silences", json.dumps({
        "matchers": [{"name": "alertname", "value": "Hush"}], "endsAt": "2099-01-01T00:00:00Z"}).encode())
    assert made.status == 200, made.text
    expression = 'sum by (app) (count_over_time({app="shop"}[1h]))'
    r = npm("page_alerts.mjs", server.url, expression, os.environ.get("PICTURE", ""))
    assert r.returncode == 0, r.stderr
    seen = json.loads(r.stdout)
    assert seen["linked"][0] == expression and 'app="shop"' in seen["linked"][1]
    assert seen["alarm"][0].startswith("alerts: 2 firing, 1 pending") and seen["alarm"][1] == "bad", seen["alarm"]
    assert "1 silenced" in seen["alarm"][0] and seen["alerts"][-1].split("\t")[:2] == ["silenced", "Hush"]
    assert [row.split("\t")[0] for row in seen["alerts"]][:3] == ["firing", "firing", "pending"]
    assert any("<img src=x" in row for row in seen["alerts"]) and seen["images"] == 0
    targets = {row.split("\t")[0]: row.split("\t") for row in seen["targets"]}
    # Records of alerts that were told come besides.
    assert targets["copy"][1] == "output" and int(targets["copy"][2]) >= 4 and targets["told"][1] == "notifications", targets
    assert seen["shown"].startswith("sum by (app, evil)") and seen["problems"] == []


def test_page_of_a_router(npm, tmp_path):
    """It keeps nothing: what it handed to which server is shown in the place of what arrives."""
    made = routes.Made(tmp_path)
    try:
        a, b = made.server("a"), made.server("b")
        router = made.router("r", {"z": [a, b]}, by="app", spill_after="100ms")
        b.kill()
        for i in range(20):
            assert router.push({"app": f"app{i}"}, [f"line {i}"]).status == 204
        r = npm("page_route.mjs", router.url, os.environ.get("PICTURE", ""))
        assert r.returncode == 0, r.stderr
        seen = json.loads(r.stdout)
        targets = {row.split("\t")[0]: row.split("\t") for row in seen["targets"]}
        handed = int(targets[a.url][2])
        assert 0 < handed < 20 and targets[a.url][1] == "server", targets
        assert targets[b.url][1:3] == ["server, away", "0"] and targets[b.url][3] != "0 B", targets
        assert f"router, {handed} records handed on" in seen["state"] and not seen["arriving"]
        assert "line " in seen["lines"] and seen["problems"] == []
    finally:
        made.close()
