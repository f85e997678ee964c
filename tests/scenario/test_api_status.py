# SPDX-License-Identifier: Apache-2.0
"""What clients ask about the server itself."""
import sawlog


def test_limits_and_features(server):
    got = server.get("/loki/api/v1/drilldown-limits").json()
    assert got["pattern_ingester_enabled"] is True
    assert got["limits"]["discover_log_levels"] is True and got["limits"]["volume_enabled"] is True
    assert got["limits"]["max_entries_limit_per_query"] > 5000
    info = server.get("/loki/api/v1/status/buildinfo").json()
    assert info["version"] == got["version"] and int(info["version"].split(".")[0]) >= 3
    text = server.get("/config/tenant/v1/limits").text
    assert "volume_enabled: true\n" in text and "query_timeout: 30s\n" in text


def test_config_and_services(nodes):
    server = nodes.server(config="discover: {level: false}\n")
    text = server.get("/config").text
    assert "level: false" in text and str(server.data) in text
    assert "store => Running\n" in server.get("/services").text
    assert server.get("/loki/api/v1/drilldown-limits").json()["limits"]["discover_log_levels"] is False
    server.config.write_text("discover: {level: true}\n")
    assert server.call("POST", "/-/reload", b"").status == 200
    assert "level: true" in server.get("/config").text


def test_log_level(server):
    assert "info" in server.get("/log_level").json()["message"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.call("POST", "/log_level", b"log_level=debug", form).json()["status"] == "success"
    assert "debug" in server.get("/log_level").json()["message"]
    assert server.call("POST", "/log_level", b"log_level=loud", form).status == 400


def test_scopes(nodes):
    """Reading is not changing: a token that reads may list rules, and no more."""
    file = nodes.folder / "tokens"

    def token(scope):
        made = sawlog.run("token", "create", "--tokens-file", file, "--scope", scope, "test")
        assert made.returncode == 0, made.stderr
        return made.stdout.decode().strip()

    read, admin = token("read"), token("admin")
    server = nodes.server(config=f"auth: {{tokens_file: {file}}}\n")
    as_ = lambda t: {"Authorization": f"Bearer {t}"}  # noqa: E731
    for path in ("/loki/api/v1/rules", "/loki/api/v1/drilldown-limits", "/loki/api/v1/index/stats?query=%7B%7D"):
        assert server.get(path).status == 401
        assert server.get(path, headers=as_(read)).status == 200, path
    assert server.get("/config", headers=as_(read)).status == 403
    assert server.get("/config", headers=as_(admin)).status == 200
    body = b"name: x\nrules: []"
    assert server.call("POST", "/loki/api/v1/rules/a", body, as_(read)).status == 403
    assert server.call("POST", "/loki/api/v1/rules/a", body, as_(admin)).status == 202


def test_index_of_routes(server):
    answer = server.get("/api")
    assert answer.headers["Content-Type"].startswith("text/plain")
    rows = [line.split(None, 2) for line in answer.text.splitlines()]
    assert ["GET", "/api", "This list."] in rows and all(len(row) == 3 for row in rows)
    methods = {path: m for m, path, _ in rows if path == "/loki/api/v1/delete"}
    assert methods == {"/loki/api/v1/delete": "GET,POST,PUT,DELETE"}
    assert {"/logs/{service}", "/v1/logs", "/api/v1/silences/{id}"} <= {path for _, path, _ in rows}
