# SPDX-License-Identifier: Apache-2.0
"""The batch API, walked through with curl as its original's README does."""
import json
import subprocess


def curl(*args):
    r = subprocess.run(["curl", "-s", "-i", *args], capture_output=True, timeout=20, check=True)
    head, _, body = r.stdout.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), {k.lower(): v for k, v in headers.items()}, body


def post(server, lines, file, first=0):
    batch = [{"uuid": f"u{i}", "host": "box", "file": file, "line-num": first + i, "content": str(line)}
             for i, line in enumerate(lines)]
    return curl("-H", "Content-Type: application/json; charset=utf-8", "-H", "Accept: application/json",
                "-d", json.dumps({"batch": batch, "size": len(batch)}), f"{server.url}/store/batch")


def log(server, file, host="box"):
    return curl(f"{server.url}/store/log?host={host}&file={file}")


def test_walk_through(server):
    status, headers, body = curl(f"{server.url}/ruok")
    assert (status, body) == (200, b"imok")
    assert headers["content-type"].startswith("text/plain") and len(headers["x-guid"]) == 36
    # 1..10 into test1.txt and 100..110 into test2.txt, two lines a batch, as the forwarder does.
    for file, numbers in (("/tmp/test1.txt", range(1, 11)), ("/tmp/test2.txt", range(100, 111))):
        numbers = list(numbers)
        for i in range(0, len(numbers), 2):
            status, headers, body = post(server, numbers[i:i + 2], file, i)
            assert (status, body) == (200, b"ok")
    status, headers, body = log(server, "/tmp/test1.txt")
    assert (status, body) == (200, "\n".join(map(str, range(1, 11))).encode())
    assert "x-guid" in headers
    assert log(server, "/tmp/test2.txt")[2] == "\n".join(map(str, range(100, 111))).encode()
    post(server, ["hello", "world"], "/tmp/test1.txt", 10)
    assert log(server, "/tmp/test1.txt")[2].endswith(b"10\nhello\nworld")


def test_resend_is_harmless_and_a_late_line_is_kept(server):
    post(server, ["a", "b"], "/f", 0)
    post(server, ["d"], "/f", 3)
    assert log(server, "/f")[2] == b"a\nb\nd"
    post(server, ["a", "b"], "/f", 0)
    post(server, ["c"], "/f", 2)
    assert log(server, "/f")[2] == b"a\nb\nc\nd"
    assert server.metric("sawlog_deduplicated_records_total", input="batch") == 2
    assert len(server.lines('{file="/f"}')) == 4
    # The same key with other content is a new version: the log shows the newest.
    post(server, ["B!"], "/f", 1)
    assert log(server, "/f")[2] == b"a\nB!\nc\nd"
    assert len(server.lines('{file="/f"}')) == 5


def test_survives_kill_and_restart(server):
    post(server, range(50), "/k")
    server.kill()
    server.start()
    assert log(server, "/k")[2] == "\n".join(map(str, range(50))).encode()
    post(server, range(50), "/k")
    assert len(server.lines('{file="/k"}')) == 50


def test_refusals(server):
    status, _, body = log(server, "/nowhere")
    assert (status, body.strip()) == (404, b"key not found box /nowhere")
    status, _, body = curl("-X", "POST", f"{server.url}/store/batch")
    assert (status, body) == (404, b" json object not posted ")
    status, _, _ = curl("-H", "Accept: text/html", "-H", "Content-Type: application/json", "-d", "{}",
                        f"{server.url}/store/batch")
    assert status == 406
    bad = {"batch": [{"host": "h", "file": "/f", "line-num": "x", "content": "c"}]}
    status, _, body = curl("-H", "Content-Type: application/json", "-d", json.dumps(bad),
                           f"{server.url}/store/batch")
    assert status == 400 and b"batch[0].line-num" in body
