# SPDX-License-Identifier: Apache-2.0
"""rsyslogd follows a file and forwards it over TCP and TLS: every line once, in order."""
import signal
import subprocess

import pytest
import sawlog
from senders import Rsyslogd, certificates, count, need_rsyslogd, syslog_server

N = 20_000


def lines(n, start=0):
    return [f"line {i} of many, {'z' * (i % 200)} \"quoted\" 100% [x] <7> é" for i in range(start, start + n)]


def write(path, some):
    with path.open("a") as f:
        f.write("".join(line + "\n" for line in some))


def relay(log, port, framing, template="RSYSLOG_SyslogProtocol23Format", extra=""):
    return f'''module(load="imfile")
input(type="imfile" File="{log}" Tag="relay:" Severity="warning" Facility="local3")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="{framing}"
  template="{template}" queue.type="LinkedList" action.resumeRetryCount="-1" action.resumeInterval="1" {extra})'''


@pytest.mark.parametrize("template", ["RSYSLOG_SyslogProtocol23Format", "RSYSLOG_ForwardFormat",
                                      "RSYSLOG_TraditionalForwardFormat"])
@pytest.mark.parametrize("framing", ["octet-counted", "traditional"])
def test_tcp(nodes, framing, template):
    need_rsyslogd()
    server, at = syslog_server(nodes)
    log = nodes.folder / "relay.log"
    want = lines(N)
    write(log, want)
    daemon = Rsyslogd(nodes.folder, relay(log, at["tcp"], framing, template)).start()
    try:
        sawlog.wait_for("every line", lambda: count(server, '{app="relay"}') >= N, 30)
        write(log, lines(100, N))
        sawlog.wait_for("what came later", lambda: count(server, '{app="relay"}') >= N + 100, 30)
    finally:
        daemon.kill(signal.SIGTERM)
    entries = server.entries('{app="relay"}')
    assert [line for _, line, _ in entries] == lines(N + 100)
    labels = entries[0][2]
    assert labels["detected_level"] == "warn" and labels["input"] == "syslog" and labels["host"]


def test_tls(nodes):
    need_rsyslogd("lmnsd_gtls")
    pem = certificates(nodes.folder)
    server, at = syslog_server(nodes, tls=pem)
    log = nodes.folder / "relay.log"
    write(log, lines(N))
    config = f'global(DefaultNetstreamDriverCAFile="{pem["ca"]}")\n' + relay(
        log, at["tls"], "octet-counted", extra='StreamDriver="gtls" StreamDriverMode="1" '
        'StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"')
    daemon = Rsyslogd(nodes.folder, config).start()
    try:
        sawlog.wait_for("every line", lambda: count(server, '{app="relay"}') >= N, 30)
    finally:
        daemon.kill(signal.SIGTERM)
    assert server.lines('{app="relay"}') == lines(N)


def test_a_server_that_is_stopped_and_comes_again(nodes):
    """Syslog over TCP acknowledges nothing: of what rsyslogd wrote to a server that was just stopping it loses
    some, and sends some again.  What the server had read is stored once, and rsyslogd goes on, in order."""
    need_rsyslogd()
    server, at = syslog_server(nodes)
    log = nodes.folder / "relay.log"
    write(log, lines(N))
    daemon = Rsyslogd(nodes.folder, relay(log, at["tcp"], "octet-counted")).start()
    try:
        sawlog.wait_for("every line", lambda: count(server, '{app="relay"}') >= N, 30)
        server.stop()
        write(log, lines(1000, N))
        server.start()
        write(log, lines(10, N + 1000))
        last = f'{{app="relay"}} |= "line {N + 1009} of"'
        sawlog.wait_for("the last line", lambda: count(server, last), 30)
    finally:
        daemon.kill(signal.SIGTERM)
    got, everything = server.lines('{app="relay"}'), lines(N + 1010)
    assert got[:N] == everything[:N]
    assert set(got[N:]) <= set(everything[N:]), "a line came twice, or torn"
    first = dict.fromkeys(got)
    assert list(first) == [line for line in everything if line in first]


def test_what_comes_from_the_log_socket(nodes):
    """With the template that doc/input/syslog.md tells: texts as they were given to logger(1)."""
    need_rsyslogd()
    server, at = syslog_server(nodes)
    page = (sawlog.ROOT / "doc/input/syslog.md").read_text()
    template = next(line for line in page.splitlines() if line.startswith("template("))
    sock = nodes.folder / "log.sock"
    daemon = Rsyslogd(nodes.folder, f'''module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{sock}" UsePIDFromSystem="on")
{template}
*.* action(type="omfwd" target="127.0.0.1" port="{at['tcp']}" protocol="tcp" TCP_Framing="octet-counted"
  template="sawlog")''').start()
    texts = ["plain", "  blanks before, and é", "colon: [brackets]"]
    try:
        sawlog.wait_for("the socket", sock.exists)
        for i, text in enumerate(texts):
            subprocess.run(["logger", "--socket", sock, "--id", "--tag", "app", "--priority", "local1.warning", "--", text],
                           check=True, timeout=20)
            sawlog.wait_for(f"message {i}", lambda n=i + 1: count(server) == n)
    finally:
        daemon.kill(signal.SIGTERM)
    entries = server.entries('{app="app"}')
    assert [line for _, line, _ in entries] == texts
    assert entries[0][2]["facility"] == "local1" and entries[0][2]["severity"] == "warning"
    assert entries[0][2]["pid"].isdigit()
