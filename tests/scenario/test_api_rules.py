# SPDX-License-Identifier: Apache-2.0
"""Rule groups: kept per tenant and namespace, listed as YAML and as Prometheus' JSON."""
import json

import pytest

GROUP = """name: shop
interval: 1m
rules:
  - alert: Errors
    expr: sum by (app) (rate({app="shop"} |= "error" [5m]))
    for: 10m
    labels: {severity: page}
    annotations:
      summary: "{{ $labels.app }} ${HOME} is broken"
  - record: shop:errors:rate5m
    expr: sum(rate({app="shop"}[5m]))
"""
YAML = {"Content-Type": "application/yaml"}


def put(server, space, text, tenant=None, base="/loki/api/v1/rules"):
    headers = YAML | ({"X-Scope-OrgID": tenant} if tenant else {})
    return server.call("POST", f"{base}/{space}", text.encode(), headers)


@pytest.mark.parametrize("base", ["/loki/api/v1/rules", "/api/prom/rules"])
def test_life_of_a_group(server, base):
    assert server.get(base).text == "{}\n"
    assert server.get("/prometheus/api/v1/rules").json()["data"] == {"groups": []}
    assert put(server, "team%2Fa", GROUP, base=base).status == 202
    assert put(server, "team%2Fa", "name: second\nrules: []", base=base).status == 202
    answer = server.get(base)
    assert answer.headers["Content-Type"] == "application/yaml"
    assert answer.text.startswith('"team/a":\n    - name: shop\n      interval: 1m\n')
    one = server.get(f"{base}/team%2Fa/shop").text
    assert one.startswith("name: shop\ninterval: 1m\nrules:\n") and "${HOME} is broken" in one
    # What is listed can be given back.
    assert put(server, "other", one, base=base).status == 202
    assert server.get(f"{base}/other/shop").text == one
    server.kill()
    server.start()
    assert server.get(f"{base}/team%2Fa/shop").text == one
    assert server.call("DELETE", f"{base}/team%2Fa/shop").status == 202
    assert server.get(f"{base}/team%2Fa/shop").status == 404
    assert server.call("DELETE", f"{base}/other").status == 202
    assert server.call("DELETE", f"{base}/other").status == 404
    assert server.get(base).text == '"team/a":\n    - name: second\n      rules: []\n'


def test_as_prometheus_lists_them(server):
    put(server, "space", GROUP)
    (group,) = server.get("/prometheus/api/v1/rules").json()["data"]["groups"]
    assert (group["name"], group["file"], group["interval"]) == ("shop", "space", 60)
    alert, record = group["rules"]
    assert alert["type"] == "alerting" and alert["state"] == "inactive" and alert["duration"] == 600
    assert alert["labels"] == {"severity": "page"} and alert["alerts"] == []
    assert alert["annotations"] == {"summary": "{{ $labels.app }} ${HOME} is broken"}
    assert record["type"] == "recording" and record["name"] == "shop:errors:rate5m"
    rules = lambda **p: [r["name"] for g in server.get("/prometheus/api/v1/rules", p).json()["data"]["groups"]  # noqa: E731
                         for r in g["rules"]]
    assert rules(type="alert") == ["Errors"]
    assert rules(type="record") == ["shop:errors:rate5m"]
    assert rules(**{"rule_name[]": "Errors"}) == ["Errors"]
    assert rules(file="none") == []
    assert server.get("/prometheus/api/v1/rules", {"type": "x"}).status == 400
    assert server.get("/prometheus/api/v1/alerts").json()["data"] == {"alerts": []}


def test_groups_page_by_page(server):
    """group_limit and group_next_token, as Prometheus has them; a group none of whose rules is chosen is left out."""
    for name in "abcde":
        put(server, "space", f"name: {name}\nrules: [{{alert: Of_{name}, expr: 'vector(0) > 1'}}]")
    put(server, "space", "name: none\nrules: []")

    def ask(**params):
        answer = server.get("/prometheus/api/v1/rules", params)
        assert answer.status == 200, answer.text
        data = answer.json()["data"]
        return "".join(g["name"] for g in data["groups"]), data.get("groupNextToken")

    assert ask() == ("abcdenone", None) and ask(group_limit=6) == ("abcdenone", None)
    assert ask(**{"rule_name[]": ["Of_b", "Of_d"]}) == ("bd", None)
    assert ask(type="record") == ("", None) and ask(type="alert") == ("abcde", None)
    first, token = ask(group_limit=2)
    assert first == "ab" and token
    # What goes meanwhile does not move the others.
    assert server.call("DELETE", "/loki/api/v1/rules/space/a").status == 202
    second, token = ask(group_limit=2, group_next_token=token)
    assert second == "cd" and token
    assert ask(group_limit=2, group_next_token=token) == ("enone", None)
    assert ask(group_limit=1, type="alert", group_next_token=token)[0] == "e"
    for wrong in ({"group_next_token": token}, {"group_limit": "x"}, {"group_limit": 2, "group_next_token": "0" * 16}):
        assert server.get("/prometheus/api/v1/rules", wrong).status == 400, wrong


def test_any_character(server):
    """What ends a line in YAML and not in JSON comes back as it was put, after a restart too."""
    name = "a \u2028b \u2029c \u0085d\u009b\u007f\ufeff"
    group = json.dumps({"name": "g", "rules": [{"alert": name, "expr": "vector(0) > 1", "annotations": {"x": name}}]})
    for _ in range(2):
        assert put(server, "space", group).status == 202
        (rule,) = server.get("/prometheus/api/v1/rules").json()["data"]["groups"][0]["rules"]
        assert rule["name"] == rule["annotations"]["x"] == name
        group = server.get("/loki/api/v1/rules/space/g").text
        server.kill()
        server.start()
        assert server.get("/loki/api/v1/rules/space/g").text == group


def test_tenants_are_apart(server):
    put(server, "space", GROUP, tenant="a")
    assert server.get("/loki/api/v1/rules", headers={"X-Scope-OrgID": "b"}).text == "{}\n"
    assert server.get("/loki/api/v1/rules/space", headers={"X-Scope-OrgID": "a"}).status == 200


def test_refusals(server):
    for text, word in [("", "nothing"), ("name: x\nruels: []", "line 2"), ("name: x\nrules: 3", "list"),
                       ("name: x\nrules: [{alert: a, expr: '{a=\"b\"}'}]", "metric"),
                       ("name: x\nrules: [{alert: a, expr: 'rate('}]", "parse error")]:
        answer = put(server, "space", text)
        assert answer.status == 400 and word in answer.text, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert put(server, "x" * 81, GROUP).status == 400
    assert server.get("/loki/api/v1/rules/none").status == 404
    assert server.call("PUT", "/loki/api/v1/rules/x", b"").status == 405
