# SPDX-License-Identifier: Apache-2.0
"""sawlog store: verify, stats and repair of a data folder that was damaged."""
import json
import time

import sawlog

LINES = 3000


def run(*args):
    answer = sawlog.run("store", *args)
    answer.stdout, answer.stderr = answer.stdout.decode(), answer.stderr.decode()
    return answer


def store(server, what, *args):
    return run(what, "--data", str(server.data), *args)


def filled(server):
    """Two parts and some lines in the journal alone."""
    now = time.time_ns()
    for part in range(3):
        lines = [(now + (part * LINES + i) * 1000, f"part {part} request {i:08x} took {i * 7 % 1000}ms")
                 for i in range(LINES)]
        assert server.push({"app": f"app{part}"}, lines).status == 204
        if part < 2:
            assert server.call("POST", "/-/flush").status == 200
    return sorted((server.data / "parts").glob("*.part"))


def damage(path, at):
    """One bit, and twice is none."""
    with path.open("r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


def test_a_whole_store(server):
    filled(server)
    answer = store(server, "verify")
    assert answer.returncode == 0 and "all well" in answer.stdout, answer.stdout
    # A server has it: repair must not touch it.
    refused = store(server, "repair")
    assert refused.returncode == 75 and "stop it" in refused.stderr, refused.stderr
    assert server.stop() == 0
    answer = json.loads(store(server, "verify", "-o", "json").stdout)
    assert answer["records"] == 2 * LINES and answer["damaged_files"] == 0 and answer["problems"] == []
    before = {p: p.read_bytes() for p in server.data.rglob("*") if p.is_file()}
    store(server, "stats")
    assert before == {p: p.read_bytes() for p in server.data.rglob("*") if p.is_file()}


def test_stats(server):
    parts = filled(server)
    rows = [json.loads(r) for r in store(server, "stats", "-n", "0", "-o", "jsonl").stdout.splitlines()]
    assert rows == json.loads(store(server, "stats", "-n", "0", "-o", "json").stdout)
    of = {kind: [r for r in rows if r["of"] == kind] for kind in ("files", "columns", "templates", "streams", "days")}
    assert {r["name"] for r in of["streams"]} == {f'{{app="app{i}", service_name="app{i}"}}' for i in range(2)}
    assert sum(r["records"] for r in of["days"]) == 2 * LINES
    assert [r["stored"] for r in of["files"] if r["name"] == "parts"] == [sum(p.stat().st_size for p in parts)]
    text = store(server, "stats").stdout
    assert "PATTERN" in text and "request" in text and "STREAM" in text


def test_damage_is_named_answered_and_mended(server):
    parts = filled(server)
    assert server.stop() == 0
    damage(parts[0], 300)
    answer = store(server, "verify")
    assert answer.returncode == 1 and parts[0].name in answer.stdout and "block 0" in answer.stdout, answer.stdout
    assert "store repair" in answer.stdout
    told = json.loads(store(server, "verify", "-o", "json").stdout)
    assert told["damaged_files"] == 1 and 0 < told["lost_records"] <= LINES
    # The server starts, answers what is whole, and says what is not.
    server.start()
    data = server.query('{app=~"app.+"}')
    assert parts[0].name in json.dumps(data), data.get("warnings")
    lost = told["lost_records"]
    assert len(server.lines('{app="app0"}')) == LINES - lost
    assert len(server.lines('{app="app1"}')) == LINES and len(server.lines('{app="app2"}')) == LINES
    assert server.stop() == 0
    mended = store(server, "repair")
    assert mended.returncode == 0, mended.stderr
    assert parts[0].with_name(parts[0].name + ".damaged").exists()
    assert store(server, "verify").returncode == 0
    server.start()
    data = server.query('{app=~"app.+"}')
    assert parts[0].name not in json.dumps(data)
    # Where the journal had the part still, nothing is lost at all.
    assert len(server.lines('{app="app0"}')) in (LINES, LINES - lost)
    assert len(server.lines('{app="app1"}')) == LINES and len(server.lines('{app="app2"}')) == LINES


def test_a_folder_that_is_none(tmp_path):
    for what in ("verify", "stats", "repair"):
        answer = run(what, "--data", str(tmp_path / "nothing"))
        assert answer.returncode == 74 and "nothing" in answer.stderr
    assert not (tmp_path / "nothing").exists()
    assert run("fix").returncode == 2
