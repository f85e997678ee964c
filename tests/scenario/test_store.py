# SPDX-License-Identifier: Apache-2.0
"""sawlog store: verify, stats and repair of a data folder that was damaged."""
import base64
import json
import threading
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
    # What will go by size is another moment at each call.
    again = json.loads(store(server, "stats", "-n", "0", "-o", "json").stdout)
    assert [r["of"] for r in rows] == [r["of"] for r in again]
    moving = ("retention", "due")
    assert [r for r in rows if r["of"] not in moving] == [r for r in again if r["of"] not in moving]
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


def test_verify_beside_merges(server):
    """Parts come, are merged and go while they are read: nothing of it is damage."""
    now, pushed, failed = time.time_ns(), 0, []
    end = time.monotonic() + 6

    def feed():
        nonlocal pushed
        try:
            while time.monotonic() < end:
                lines = [(now + pushed * 1000 + i, f"request {pushed + i:08x} took {i % 777}ms") for i in range(200)]
                assert server.push({"app": f"a{pushed % 3}"}, lines).status == 204
                pushed += 200
                assert server.call("POST", "/-/flush").status == 200
        except Exception as e:
            failed.append(e)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    looked = 0
    while feeder.is_alive():
        answer = store(server, "verify")
        assert answer.returncode == 0, answer.stdout
        assert store(server, "stats", "-n", "1").returncode == 0
        looked += 1
    feeder.join()
    assert not failed and looked > 2
    assert server.call("POST", "/api/v1/store/settle").status == 200
    assert json.loads(store(server, "verify", "-o", "json").stdout)["records"] == pushed
    assert len(list((server.data / "parts").glob("*.part"))) < pushed // 200


def test_damage_of_a_merged_part(server):
    """It costs a block, is named, and is mended as that of a part as it was built."""
    now = time.time_ns()
    for part in range(40):
        lines = [(now + (part * 125 + i) * 1000, f"part {part} request {i:08x} took {i * 7 % 1000}ms")
                 for i in range(125)]
        assert server.push({"app": f"app{part % 2}"}, lines).status == 204
        assert server.call("POST", "/-/flush").status == 200
    assert server.call("POST", "/api/v1/store/settle").status == 200
    assert server.stop() == 0
    parts = sorted((server.data / "parts").glob("*.part"), key=lambda p: p.stat().st_size)
    assert len(parts) < 40
    merged = parts[-1]
    damage(merged, 300)
    told = json.loads(store(server, "verify", "-o", "json").stdout)
    assert told["damaged_files"] == 1 and 0 < told["lost_records"] < 5000
    server.start()
    data = server.query('{app=~"app.+"}', limit=5000)
    assert merged.name in json.dumps(data["warnings"])
    left = len(server.lines('{app=~"app.+"}'))
    assert left == 5000 - told["lost_records"]
    assert server.stop() == 0
    mended = store(server, "repair")
    assert mended.returncode == 0, mended.stderr
    assert store(server, "verify").returncode == 0
    server.start()
    assert len(server.lines('{app=~"app.+"}')) >= left
    assert "warnings" not in server.query('{app=~"app.+"}', limit=5000)


def test_a_folder_that_is_none(tmp_path):
    for what in ("verify", "stats", "repair"):
        answer = run(what, "--data", str(tmp_path / "nothing"))
        assert answer.returncode == 74 and "nothing" in answer.stderr
    assert not (tmp_path / "nothing").exists()
    assert run("fix").returncode == 2


def push_again(server, records):
    """An export's records to a server by Loki's push, a stream with one value each."""
    for at in range(0, len(records), 1000):
        streams = [{"stream": r["labels"], "values": [[r["time"], r["line"], r["metadata"]]]}
                   for r in records[at:at + 1000]]
        answer = server.call("POST", "/loki/api/v1/push", json.dumps({"streams": streams}).encode(),
                             {"Content-Type": "application/json"})
        assert answer.status == 204, answer.text


def exported(*args):
    answer = run("export", *args)
    assert answer.returncode == 0 and answer.stderr == "", answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def test_export(nodes):
    server, other = nodes.server(), nodes.server(start=False)
    other.data = nodes.folder / "other"
    other.start()
    now = time.time_ns()
    filled(server)
    # Many of one time, metadata, a time before all others, another tenant.
    server.push({"app": "same"}, [(now, f"line {i}") for i in range(6000)])
    server.push({"app": "meta"}, [(now + i, f"level=error {i}", {"trace": f"{i:x}", "user": "ü"}) for i in range(10)])
    server.push({"app": "old"}, [(1, "a line of 1970")])
    server.push({"app": "x"}, [(now, "of somebody else")], tenant="b")
    whole = exported("--addr", server.url)
    assert len(whole) == 3 * LINES + 6000 + 10 + 1
    keys = [(int(r["time"]), r["seq"]) for r in whole]
    assert keys == sorted(keys) and len({r["seq"] for r in whole}) == len(whole)
    assert whole[0]["line"] == "a line of 1970"
    meta = [r for r in whole if r["labels"]["app"] == "meta"]
    assert meta[3]["metadata"] == {"trace": "3", "user": "ü", "detected_level": "error"}
    assert set(meta[3]["labels"]) == {"app", "service_name"}
    # Goes on anywhere, also in the middle of a time.
    for i in (0, 5000, 9001, 12345, len(whole) - 1):
        assert exported("--addr", server.url, "--after", str(whole[i]["seq"])) == whole[i + 1:]
    lines = run("export", '{app="app1"} |= "took 7ms"', "--addr", server.url, "-o", "raw").stdout.splitlines()
    assert lines == [r["line"] for r in whole if r["labels"]["app"] == "app1" and "took 7ms" in r["line"]] != []
    assert [r["line"] for r in exported("--addr", server.url, "--tenant", "b")] == ["of somebody else"]
    assert exported("--addr", server.url, "--from", str(now // 10**9 + 3600)) == []
    # What came out goes in again, and comes out the same.
    push_again(other, whole)
    again = exported("--addr", other.url)
    order = [{**r, "seq": 0} for r in again]
    assert sorted(order, key=json.dumps) == sorted(({**r, "seq": 0} for r in whole), key=json.dumps)
    # The folder says what the server said, and is the same for it afterwards.
    refused = run("export", "--data", str(server.data))
    assert refused.returncode == 75 and "another process is using it" in refused.stderr, refused.stderr
    assert server.stop() == 0
    assert exported("--data", str(server.data)) == whole
    assert exported("--data", str(server.data), "--after", str(whole[9001]["seq"])) == whole[9002:]
    assert [r["line"] for r in exported("--data", str(server.data), "--tenant", "b")] == ["of somebody else"]
    gone = run("export", "--data", str(server.data), "--after", "99999999")
    assert gone.returncode == 74 and "no record 99999999" in gone.stderr
    assert run("export", "count_over_time({} [1m])", "--data", str(server.data)).returncode == 2
    assert run("export", "--data", str(server.data), "--addr", server.url).returncode == 2
    server.start()
    assert exported("--addr", server.url) == whole


def test_export_of_bytes_and_long_lines(nodes):
    """Exact bytes, and lines of which few fit into the memory of an answer."""
    server = nodes.server(config="memory: 64MiB\n")
    path = nodes.folder / "app.log"
    lines = [b"\xff\xfe no text " + b"%d" % i for i in range(100)] + \
        [b"%06d " % i + b"long \xc3\xa9 " * 40000 for i in range(60)] + [b"\x80 " * 1000, b"end"]
    path.write_bytes(b"\n".join(lines) + b"\n")
    nodes.forwarder(server, path)
    sawlog.wait_for("all lines", lambda: b"end" in sawlog.run("query", '{file=~".+"}', "-n", "1", "--addr", server.url,
                                                             "--since", "1d", "-o", "raw").stdout)
    def check(*args):
        got = exported(*args)
        assert [base64.b64decode(r["base64"]) if "base64" in r else r["line"].encode() for r in got] == lines
        assert sawlog.run("store", "export", *args, "-o", "raw").stdout == path.read_bytes()
        return got
    whole = check("--addr", server.url)
    assert server.call("POST", "/-/flush").status == 200
    assert check("--addr", server.url) == whole
    assert server.stop() == 0
    assert check("--data", str(server.data)) == whole


def test_export_says_what_cannot_be_read(server):
    parts = filled(server)
    assert server.stop() == 0
    damage(parts[0], 300)
    server.start()
    for where in (["--addr", server.url], ["--data", str(server.data)]):
        if "--data" in where:
            assert server.stop() == 0
        answer = run("export", *where)
        assert answer.returncode == 75 and parts[0].name in answer.stderr
        assert answer.stderr.count("warning: ") == 1
        assert 2 * LINES <= len(answer.stdout.splitlines()) < 3 * LINES


def test_export_deletes_nothing(nodes):
    """A deletion that can be taken back still can be, after the folder was opened."""
    server = nodes.server(config="retention: {delete_wait: 1h}\n")
    filled(server)
    answer = server.call("POST", "/loki/api/v1/delete?query=%7Bapp%3D%22app0%22%7D&start=0")
    assert answer.status == 204, answer.text
    assert server.stop() == 0
    kept = exported("--data", str(server.data))
    assert {r["labels"]["app"] for r in kept} == {"app1", "app2"}
    server.start()
    assert server.call("DELETE", "/loki/api/v1/delete?request_id=1").status == 204
    assert len(exported("--addr", server.url)) == 3 * LINES
