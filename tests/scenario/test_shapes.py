# SPDX-License-Identifier: Apache-2.0
"""Shapes of text: container logs, stack traces, encodings, rules, with the real forwarder."""
import json

import sawlog

JAVA = ("2026-08-21 10:00:00 ERROR failed\njava.lang.IllegalStateException: no\n\tat a.b.C.d(C.java:1)\n"
        "Caused by: java.lang.NullPointerException\n\tat a.b.C.e(C.java:2)\n\t... 3 more")
PYTHON = ("2026-08-21 10:00:01 ERROR bad\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n"
          "    f()\nValueError: x")


def forward(nodes, server, config, **kw):
    path = nodes.folder / "forward.yaml"
    path.write_text(config)
    return nodes.forwarder(server, args=["-c", str(path)], **kw)


def wait_bodies(server, select, want):
    got = []

    def same():
        got[:] = sorted(server.lines(select))
        return len(got) >= len(want)

    sawlog.wait_for(f"{len(want)} records", same)
    assert got == sorted(want)


def cri(second, stream, tag, text):
    return f"2026-08-21T10:00:{second:02}.000000001Z {stream} {tag} {text}\n"


def test_pod_folders_with_rotation_and_links(nodes, server):
    pods = nodes.folder / "log" / "pods"
    log = pods / "shop_web-7d_8a1b" / "nginx" / "0.log"
    other = pods / "shop_db-0_77aa" / "pg" / "0.log"
    links = nodes.folder / "log" / "containers"
    for folder in (log.parent, other.parent, links):
        folder.mkdir(parents=True)
    log.write_text(cri(0, "stdout", "F", "one") + cri(1, "stdout", "P", "par") +
                   cri(1, "stderr", "F", "oops") + cri(2, "stdout", "F", "tial"))
    other.write_text(cri(5, "stdout", "F", "ready"))
    (links / "web-7d_shop_nginx-0a1b2c.log").symlink_to(log)
    forward(nodes, server, f"""
inputs:
  - file: {{paths: ['{pods}/*/*/*.log', '{links}/*.log'], format: cri}}
""")
    web = '{namespace="shop", pod="web-7d", container="nginx", app="nginx", service_name="nginx"}'
    wait_bodies(server, web, ["one", "partial", "oops"])
    # The runtime rotates: the old file gets a date, the link leads to the new one.
    log.rename(log.parent / "0.log.20260821-100003")
    log.write_text(cri(3, "stdout", "F", "two"))
    wait_bodies(server, web, ["one", "partial", "oops", "two"])
    wait_bodies(server, '{pod="db-0", stream="stdout"}', ["ready"])
    assert server.lines('{pod="web-7d", stream="stderr"}') == ["oops"]
    at, line, _ = server.entries('{pod="web-7d", stream="stderr"}')[0][:3]
    assert (int(at), line) == (1787306401000000001, "oops")


def test_docker_with_traces_and_a_crash_in_a_line(nodes, server):
    log = nodes.folder / "c-json.log"
    text = ""
    for i, line in enumerate((JAVA + "\nplain\n").splitlines(keepends=True)):
        text += json.dumps({"log": line, "stream": "stderr", "time": f"2026-08-21T10:00:00.{i + 1}Z"},
                           separators=(",", ":")) + "\n"
        text += json.dumps({"log": f"out {i}\n", "stream": "stdout",
                            "time": f"2026-08-21T10:00:00.{i + 1}5Z"}, separators=(",", ":")) + "\n"
    log.write_text(text + '{"log":"half')
    forward(nodes, server, f"""
inputs:
  - file: {{paths: ['{log}'], format: container, app: c, multiline: {{rule: all, timeout: 500ms}}}}
""")
    wait_bodies(server, '{app="c", stream="stderr"}', [JAVA, "plain"])
    wait_bodies(server, '{app="c", stream="stdout"}', [f"out {i}" for i in range(7)])
    with log.open("a") as f:
        f.write('\n{"log":"after\\n","stream":"stdout","time":"2026-08-21T10:01:00Z"}\n')
    wait_bodies(server, '{app="c", stream=""}', ['{"log":"half'])


def test_traces_wait_for_their_rest(nodes, server):
    log = nodes.folder / "app.log"
    log.write_text(JAVA + "\n" + PYTHON[:60])
    forward(nodes, server, f"""
inputs:
  - file: {{paths: ['{log}'], multiline: {{rule: all}}}}
""")
    wait_bodies(server, '{app="app"}', [JAVA])
    with log.open("a") as f:
        f.write(PYTHON[60:] + "\n")
    wait_bodies(server, '{app="app"}', [JAVA, PYTHON])
    levels = {e[2].get("detected_level") for e in server.entries('{app="app"}')}
    assert levels == {"error"}


def test_encoding_rules_and_labels(nodes, server):
    log = nodes.folder / "site-a" / "win.log"
    log.parent.mkdir()
    log.write_bytes("\ufeffgrüße\r\npassword=secret x\r\nDEBUG no\r\nend\r\n".encode("utf-16-le"))
    forward(nodes, server, f"""
inputs:
  - file:
      paths: ['{log}']
      encoding: utf-16
      path_labels: '/(?P<site>site-[^/]+)/'
      env_labels: {{home: HOME}}
      drop: ['^DEBUG']
      redact: {{'password=\\S+': 'password=***'}}
""")
    wait_bodies(server, '{site="site-a", home=~".+"}', ["grüße", "password=*** x", "end"])


def test_stdin_is_joined(nodes, server):
    path = nodes.folder / "forward.yaml"
    path.write_text("inputs:\n  - stdin: {app: build, multiline: {first: '^[A-Z]'}}\n")
    out = sawlog.run("forward", "--to", server.url, "--data", str(nodes.folder / "d"), "-c", str(path),
                     stdin=b"One\ntwo\nThree")
    assert out.returncode == 0, out.stderr
    assert sorted(server.lines('{app="build"}')) == ["One\ntwo", "Three"]


def test_a_wrong_setting_is_told(nodes, server):
    path = nodes.folder / "forward.yaml"
    path.write_text("inputs:\n  - file: {paths: [/x], multiline: {rule: cobol}}\n")
    out = sawlog.run("forward", "--to", server.url, "--data", str(nodes.folder / "d"), "-c", str(path))
    err = out.stderr if isinstance(out.stderr, str) else out.stderr.decode()
    assert out.returncode == 78 and 'multiline: rule: "cobol" is none of java' in err
