# SPDX-License-Identifier: Apache-2.0
"""The syslog input: the real logger in its ways, TLS, limits, losses that are counted, reload."""
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
import sawlog
from sawlog import wait_for

PEM = """
set -e
cd "$1"
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 \
        -keyout "$1.key" -out "$1.pem" -subj "/CN=$1"
}
leaf() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$2.key" -out "$2.csr" -subj "/CN=$2"
    printf 'subjectAltName=DNS:localhost,DNS:%s.example\\n' "$2" >ext
    openssl x509 -req -in "$2.csr" -CA "$1.pem" -CAkey "$1.key" -CAcreateserial -days 2 \
        -extfile ext -out "$2.pem"
    chmod 600 "$2.key"
}
authority ca
authority otherca
leaf ca server
leaf ca renewed
leaf ca client
leaf otherca stranger
"""


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    subprocess.run(["bash", "-c", PEM, "-", folder], check=True, capture_output=True)
    return folder


def config_of(settings):
    return f"inputs:\n  - syslog: {{{settings}}}\n"


@pytest.fixture
def log(nodes):
    """log("listen: […]", …): a server with one syslog input."""
    def start(settings):
        server = nodes.server(config=config_of(settings))
        wait_for("it listens", lambda: "inputs running" in server.out)
        return server

    return start


def logger(*args, lines=None):
    subprocess.run(["logger", *map(str, args)], check=True, timeout=20,
                   input=None if lines is None else "".join(f"{x}\n" for x in lines).encode())


def only(server, logql='{input="syslog"}', n=1):
    """The n entries there are, once they are there."""
    return wait_for(f"{n} of {logql}", lambda: (lambda e: e if len(e) >= n else None)(server.entries(logql)))


def send(port, data):
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(data)


@contextlib.contextmanager
def paused(server):
    """It reads nothing meanwhile."""
    server.child.send_signal(signal.SIGSTOP)
    yield
    server.child.send_signal(signal.SIGCONT)


def test_logger_udp_3164(log):
    port = sawlog.free_port()
    server = log(f"listen: ['udp://127.0.0.1:{port}']")
    before = time.time_ns()
    logger("-n", "127.0.0.1", "-P", port, "-d", "--rfc3164", "-t", "backup", "--id=77", "-p",
           "daemon.err", "disk is full")
    ((ns, line, labels),) = only(server)
    assert line == "disk is full"
    assert abs(ns - before) < 5e9
    host = socket.gethostname().split(".")[0]
    assert labels["app"] == "backup" and labels["input"] == "syslog" and labels["host"] == host
    assert labels["facility"] == "daemon" and labels["severity"] == "err" and labels["pid"] == "77"
    assert labels["detected_level"] == "error"


def test_logger_5424(log):
    """The default of a remote logger, with structured data and a message id."""
    port = sawlog.free_port()
    server = log(f"listen: ['udp://127.0.0.1:{port}']")
    logger("-n", "127.0.0.1", "-P", port, "-d", "--rfc5424", "-t", "shop", "--msgid", "ID47",
           "--sd-id", "order@32473", "--sd-param", 'id="4\\"2"', "paid für €")
    ((_, line, labels),) = only(server)
    assert line == "paid für €" and labels["app"] == "shop" and labels["msgid"] == "ID47"
    # As logger wrote it: it escapes nothing and the backslash is its user's.
    assert labels["order@32473.id"] == '4"2'
    assert labels["timeQuality.tzKnown"] == "1"


@pytest.mark.parametrize("count", [True, False])
def test_logger_tcp(log, count):
    """Octet counted and line by line, told apart by itself."""
    port = sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{port}']")
    lines = [f"line {i} ü" for i in range(500)]
    logger("-n", "127.0.0.1", "-P", port, "-T", "--rfc5424", "-t", "many",
           *(["--octet-count"] if count else []), lines=lines)
    assert [e[1] for e in only(server, '{app="many"}', 500)] == lines


@pytest.mark.parametrize("scheme", ["unix", "unix-dgram"])
def test_logger_unix(log, nodes, scheme):
    path = nodes.folder / "log"
    server = log(f"listen: ['{scheme}://{path}'], labels: {{zone: a}}")
    logger("-u", path, "-t", "cron", "--socket-errors=on", "job ran")
    ((_, line, labels),) = only(server)
    assert line == "job ran" and labels["app"] == "cron" and labels["zone"] == "a"
    assert os.stat(path).st_mode & 0o777 == 0o666
    server.stop()
    assert not path.exists()


def test_both_framings_in_one_connection(log):
    port = sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{port}']")
    send(port, b"<13>1 - h a - - - one\n25 <13>1 - h a - - - t\nw\no!!<13>a: three\r\nlast")
    got = [e[1] for e in only(server, n=4)]
    assert sorted(got) == ["last", "one", "t\nw\no!!", "three"]


def tls_context(pem, name=None):
    context = ssl.create_default_context(cafile=pem / "ca.pem")
    if name:
        context.load_cert_chain(pem / f"{name}.pem", pem / f"{name}.key")
    return context


def tls_send(port, context, data):
    """The common name of the server's certificate; an error when it does not want us."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname="localhost") as s:
            s.sendall(data)
            name = dict(x[0] for x in s.getpeercert()["subject"])["commonName"]
            s.unwrap()
            return name


def test_tls(log, pem):
    port = sawlog.free_port()
    server = log(f"listen: ['tls://127.0.0.1:{port}'], "
                 f"tls: {{cert: {pem}/server.pem, key: {pem}/server.key}}")
    data = b"".join(b"<13>1 - h tls - - - %d\n" % i for i in range(2000))
    assert tls_send(port, tls_context(pem), data) == "server"
    assert [e[1] for e in only(server, '{app="tls"}', 2000)] == [str(i) for i in range(2000)]
    # Who does not speak TLS gets nothing in.
    send(port, b"<13>1 - h tls - - - plain\n" * 10)
    wait_for("the refusal is counted", lambda: server.metric(
        "sawlog_refused_connections_total", reason="tls") == 1)
    assert len(server.entries('{app="tls"}')) == 2000


def test_tls_client_certificates(log, pem):
    port = sawlog.free_port()
    server = log(f"listen: ['tls://127.0.0.1:{port}'], "
                 f"tls: {{cert: {pem}/server.pem, key: {pem}/server.key, client_ca: {pem}/ca.pem}}")
    for name in (None, "stranger"):
        # With TLS 1.3 a client may be gone before it is told.
        with contextlib.suppress(OSError):
            tls_send(port, tls_context(pem, name), b"<13>1 - h tls - - - no\n")
    wait_for("both are counted", lambda: server.metric(
        "sawlog_refused_connections_total", reason="client_certificate") == 2)
    tls_send(port, tls_context(pem, "client"), b"<13>1 - h tls - - - yes\n")
    ((_, line, labels),) = only(server)
    assert line == "yes"
    assert labels["certificate"] == "localhost"


def test_tls_renewal(log, pem, nodes):
    """A new certificate is used for new connections; what is open goes on; half a file is not used."""
    cert, key = nodes.folder / "cert.pem", nodes.folder / "key.pem"

    def install(name):
        cert.write_bytes((pem / f"{name}.pem").read_bytes())
        key.write_bytes((pem / f"{name}.key").read_bytes())
        key.chmod(0o600)

    install("server")
    port = sawlog.free_port()
    server = log(f"listen: ['tls://127.0.0.1:{port}'], tls: {{cert: {cert}, key: {key}}}")
    context = tls_context(pem)
    with socket.create_connection(("127.0.0.1", port)) as raw:
        with context.wrap_socket(raw, server_hostname="localhost") as s:
            cert.write_text("half")
            time.sleep(1.1)
            assert tls_send(port, context, b"<13>1 - h a - - - one\n") == "server"
            assert "the certificate in use stays" in server.err
            install("renewed")
            wait_for("the new one", lambda: tls_send(port, context, b"<13>1 - h a - - - x\n")
                     == "renewed", 30)
            s.sendall(b"<13>1 - h b - - - still here\n")
            assert only(server, '{app="b"}')[0][1] == "still here"


def test_key_that_others_may_read(nodes, pem):
    key = nodes.folder / "key.pem"
    key.write_bytes((pem / "server.key").read_bytes())
    key.chmod(0o644)
    server = nodes.server(config=config_of(
        f"listen: ['tls://127.0.0.1:{sawlog.free_port()}'], "
        f"tls: {{cert: {pem}/server.pem, key: {key}}}"))
    wait_for("it is told", lambda: f"chmod 600 {key}" in server.err)


def test_open_to_all_is_refused():
    for settings, word in (
            ("listen: ['udp://0.0.0.0:5514']", "allow"),
            ("listen: ['udp://0.0.0.0:5514'], allow: [10.0.0.0/8]", "insecure_allow"),
            ("listen: ['127.0.0.1:5514']", "must begin with"),
            ("listen: ['tls://127.0.0.1:5514']", "tls: {cert"),
            ("listen: ['udp://127.0.0.1:5514'], token: true", "tls://"),
            ("listen: ['udp://127.0.0.1:5514'], allow: [10.0.0.1/8]", "behind its prefix"),
            ("listen: ['udp://127.0.0.1:5514', 'udp://127.0.0.1:5514']", "taken")):
        r = sawlog.run("check", "-", stdin=config_of(settings).encode())
        assert r.returncode != 0 and word in r.stderr.decode() + r.stdout.decode(), (settings, r)


def test_allow(log):
    port = sawlog.free_port()
    server = log(f"listen: ['udp://127.0.0.1:{port}'], allow: [127.0.0.2]")
    for source, text in (("127.0.0.1", b"spoof"), ("127.0.0.2", b"good")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((source, 0))
            s.sendto(b"<13>a: " + text, ("127.0.0.1", port))
    assert [e[1] for e in only(server)] == ["good"]
    assert server.metric("sawlog_dropped_records_total", input="syslog", reason="not_allowed") == 1


def test_tokens(nodes, pem):
    tokens = nodes.folder / "tokens"
    made = sawlog.run("token", "create", "--tokens-file", tokens, "--scope", "ingest", "--tenant",
                      "acme", "web")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.decode().strip()
    reader = sawlog.run("token", "create", "--tokens-file", tokens, "--scope", "read", "--tenant",
                        "acme", "reader").stdout.decode().strip()
    port = sawlog.free_port()
    server = nodes.server(start=False, config=f"auth: {{tokens_file: {tokens}}}\n" + config_of(
        f"listen: ['tls://127.0.0.1:{port}'], token: true, "
        f"tls: {{cert: {pem}/server.pem, key: {pem}/server.key}}"))
    server.start(wait=False)
    wait_for("it listens", lambda: "inputs running" in server.out)
    good = f'[sawlog@32473 token="{secret}"]'
    tls_send(port, tls_context(pem), f"<13>1 - h a - - {good} one\n<13>1 - h a - - {good} two\n".encode())
    for bad in ("-", '[sawlog@32473 token="slt_x_y"]', f'[sawlog@32473 token="{reader}"]'):
        tls_send(port, tls_context(pem), f"<13>1 - h a - - {bad} no\n<13>1 - h a - - {bad} never\n".encode())

    def lines():
        answer = server.get("/loki/api/v1/query_range", {"query": '{input="syslog"}', "since": "1h"},
                            {"Authorization": f"Bearer {reader}", "X-Scope-OrgID": "acme"})
        assert answer.status == 200, answer.text
        assert "slt_" not in answer.text
        return sorted(v[1] for s in answer.json()["data"]["result"] for v in s["values"])

    wait_for("both are there", lambda: lines() == ["one", "two"])
    time.sleep(0.3)
    assert lines() == ["one", "two"]


def test_kernel_drops_are_counted(log):
    """received + dropped == sent, exactly; and a record tells of it."""
    port = sawlog.free_port()
    server = log(f"listen: ['udp://127.0.0.1:{port}'], receive_buffer: 4KiB")
    sent = 30000
    server.child.send_signal(signal.SIGSTOP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i in range(1000):
            s.sendto(b"<13>1 - h flood - - - %d" % i, ("127.0.0.1", port))
        server.child.send_signal(signal.SIGCONT)
        for i in range(1000, sent):
            s.sendto(b"<13>1 - h flood - - - %d" % i, ("127.0.0.1", port))

    def balance():
        got = server.metric("sawlog_committed_records_total", input="syslog")
        dropped = server.metric("sawlog_dropped_records_total", input="syslog", reason="kernel_drop")
        gaps = server.entries('{app="syslog-drops"}')
        return got - len(gaps) + dropped == sent and dropped and gaps

    gaps = wait_for("each is received or dropped", balance)
    told = sum(int(re.match(r"sawlog: (\d+) datagrams", line).group(1)) for _, line, _ in gaps)
    assert told == server.metric("sawlog_dropped_records_total", input="syslog",
                                 reason="kernel_drop")
    assert len(server.entries('{app="flood"}')) == sent - told


def test_too_long(log):
    """Cut, marked and counted in each framing; the stream goes on behind it; memory stays."""
    port = sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{port}'], max_line: 1KiB")
    before = server.rss_anon()
    big = b"x" * (30 << 20)
    send(port, b"<13>1 - h lf - - - " + big + b"\n<13>1 - h lf - - - after\n")
    message = b"<13>1 - h oc - - - " + big
    send(port, b"%d " % len(message) + message + b"24 <13>1 - h oc - - - after")
    send(port, b"999999999 <13>1 - h claim - - - little")
    for app in ("lf", "oc"):
        entries = only(server, f'{{app="{app}"}}', 2)
        cut = [e for e in entries if e[1] != "after"]
        assert len(entries) == 2 and len(cut) == 1 and len(cut[0][1]) == 1024 - 19
        assert cut[0][2]["truncated_from"] == str(len(message))
    # One that broke off says how long it was to be.
    ((_, line, labels),) = only(server, '{app="claim"}')
    assert line == "little" and labels["truncated_from"] == "999999999"
    assert server.metric("sawlog_cut_records_total", input="syslog") == 3
    if not sawlog.SANITIZED:
        assert server.rss_anon() - before < 24 << 20


def test_garbage(log):
    port, udp = sawlog.free_port(), sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{port}', 'udp://127.0.0.1:{udp}']")
    for i in range(50):
        send(port, os.urandom(20000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i in range(200):
            s.sendto(os.urandom(1 + i * 37), ("127.0.0.1", udp))
    send(port, b"<13>1 - h fine - - - \xff\xfe\x00\x1b[31m\n")
    assert only(server, '{app="fine"}')
    assert server.running


def test_tls_that_ends_at_once(log, pem):
    """End of handshake, messages and farewell come as one packet, as they do when the server is slow."""
    port = sawlog.free_port()
    server = log(f"listen: ['tls://127.0.0.1:{port}'], tls: {{cert: {pem}/server.pem, key: {pem}/server.key}}")
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls_context(pem).wrap_bio(come, go, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                s.sendall(go.read())
                come.write(sawlog.receive(s))
        client.write(b"<13>1 - h brief - - - one\n<13>1 - h brief - - - two, without an end")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.unwrap()
        s.sendall(go.read())
    assert {e[1] for e in only(server, '{app="brief"}', 2)} == {"one", "two, without an end"}


def test_slow_and_silent_clients(log, pem):
    """Who holds half a message or half a handshake open does not keep others out."""
    port, tls = sawlog.free_port(), sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{port}', 'tls://127.0.0.1:{tls}'], "
                 f"tls: {{cert: {pem}/server.pem, key: {pem}/server.key}}")
    silent = [socket.create_connection(("127.0.0.1", tls)) for _ in range(300)]
    half = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    for s in half:
        s.sendall(b"<13>1 - h half - - - never end")
    start = time.monotonic()
    send(port, b"<13>1 - h fine - - - one\n" * 1000)
    tls_send(tls, tls_context(pem), b"<13>1 - h fine - - - one\n" * 1000)
    only(server, '{app="fine"}', 2000)
    assert time.monotonic() - start < 5
    # A handshake has 10 s.
    wait_for("the silent are closed", lambda: server.metric(
        "sawlog_refused_connections_total", reason="handshake_timeout") == 300, 15)
    for s in silent + half:
        s.close()
    # The halves are what there will be of them.
    only(server, '{app="half"}', 300)


def test_connection_limit(log):
    port = sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{port}']")
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(1005)]
    wait_for("five are too many", lambda: server.metric(
        "sawlog_refused_connections_total", reason="connections_of_peer") == 5)
    for s in held:
        s.close()
    wait_for("there is room again", lambda: send(port, b"<13>a: hello\n") is None and
             server.entries('{app="a"}'))


def test_stop_keeps_what_came(log):
    """All that a sender had handed to the kernel when SIGTERM came is there after the next start."""
    port, udp = sawlog.free_port(), sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{port}', 'udp://127.0.0.1:{udp}']")
    conns = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    server.child.send_signal(signal.SIGSTOP)
    for k, s in enumerate(conns):
        s.sendall(b"".join(b"<13>1 - h c%d - - - %d\n" % (k, i) for i in range(1000)))
        s.sendall(b"<13>1 - h c%d - - - half" % k)
    # And those that are not accepted yet.
    late = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    for s in late:
        s.sendall(b"<13>1 - h late - - - one\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i in range(500):
            s.sendto(b"<13>1 - h udp - - - %d" % i, ("127.0.0.1", udp))
    server.child.send_signal(signal.SIGTERM)
    server.child.send_signal(signal.SIGCONT)
    assert server.child.wait(timeout=10) == 0
    server.start()
    for k in range(20):
        assert server.lines(f'{{app="c{k}"}}') == [str(i) for i in range(1000)] + ["half"]
    assert len(server.lines('{app="late"}')) == 5
    assert server.lines('{app="udp"}') == [str(i) for i in range(500)]
    for s in conns + late:
        s.close()


def test_reload_loses_nothing(log):
    """Settings change again and again while TCP and UDP senders go on: all arrives, once, in order."""
    port, udp = sawlog.free_port(), sawlog.free_port()
    settings = f"listen: ['tcp://127.0.0.1:{port}', 'udp://127.0.0.1:{udp}']"
    server = log(settings)
    sent, end = [0, 0], []

    def over_tcp():
        with socket.create_connection(("127.0.0.1", port)) as s:
            while not end:
                data = b"".join(b"<13>1 - h tcp - - - %d\n" % (sent[0] + i) for i in range(50))
                s.sendall(data[:777])
                s.sendall(data[777:])
                sent[0] += 50
                time.sleep(0.001)

    def over_udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while not end:
                s.sendto(b"<13>1 - h udp - - - %d" % sent[1], ("127.0.0.1", udp))
                sent[1] += 1
                time.sleep(0.0005)

    threads = [threading.Thread(target=f, daemon=True) for f in (over_tcp, over_udp)]
    for t in threads:
        t.start()
    for i in range(60):
        server.config.write_text(config_of(f"{settings}, labels: {{round: '{i}'}}"))
        answer = server.call("POST", "/-/reload")
        assert answer.status // 100 == 2, answer.text
    end.append(True)
    for t in threads:
        t.join()

    def numbers(app):
        # In order of commit: times are the receiver's, and those of one moment are not sorted.
        return [int(line) for line in server.lines(f'{{app="{app}"}}')]

    wait_for("all are there", lambda: len(numbers("tcp")) + len(numbers("udp")) >= sum(sent))
    assert sorted(numbers("tcp")) == list(range(sent[0]))
    assert sorted(numbers("udp")) == list(range(sent[1]))
    assert server.metric("sawlog_dropped_records_total", input="syslog") == 0
    rounds = {labels.get("round") for _, _, labels in server.entries('{app="tcp"}')}
    assert len(rounds) > 10


def test_ready_means_that_it_listens(nodes):
    port = sawlog.free_port()
    server = nodes.server(config=config_of(f"listen: ['tcp://127.0.0.1:{port}']"))
    for i in range(4):
        send(port, b"<13>1 - h app - - - x\n")
        only(server, n=i + 1)
        server.stop()
        server.start()


def test_reload_that_drops_an_address(log):
    """What had come to an address that nobody listens on any more is there, and it is closed at once."""
    ports, udp = [sawlog.free_port() for _ in range(2)], sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{ports[0]}', 'tcp://127.0.0.1:{ports[1]}', 'udp://127.0.0.1:{udp}']")
    stays, goes = (socket.create_connection(("127.0.0.1", port)) for port in ports)
    with stays, goes, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        stays.sendall(b"<13>1 - h stays - - - in two")
        goes.sendall(b"<13>1 - h goes - - - first\n")
        only(server, '{app="goes"}')
        server.config.write_text(config_of(f"listen: ['tcp://127.0.0.1:{ports[0]}']"))
        with paused(server):
            goes.sendall(b"<13>1 - h goes - - - x\n" * 20000 + b"40 <13>1 - h goes - - - half")
            for _ in range(100):
                datagrams.sendto(b"<13>1 - h udp - - - x", ("127.0.0.1", udp))
            server.child.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: "reloaded: 1 inputs run" in server.err)
        assert goes.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            send(ports[1], b"late")
        stays.sendall(b" pieces\n")
        assert only(server, '{app="stays"}')[0][1] == "in two pieces"
        assert len(only(server, '{app="udp"}', 100)) == 100
        entries = only(server, '{app="goes"}', 20002)
        ((_, _, labels),) = [e for e in entries if e[1] == "half"]
        assert len(entries) == 20002 and labels["truncated_from"] == "40"


def test_reload_with_another_client_ca(log, pem):
    """Who would not be let in now is let go, with all that he had sent; a message he was in is told as half."""
    port = sawlog.free_port()
    settings = f"listen: ['tls://127.0.0.1:{port}'], tls: {{cert: {pem}/server.pem, key: {pem}/server.key, client_ca: "
    server = log(f"{settings}{pem}/ca.pem}}")
    with socket.create_connection(("127.0.0.1", port)) as raw, \
            tls_context(pem, "client").wrap_socket(raw, server_hostname="localhost") as s:
        s.sendall(b"<13>1 - h tls - - - first\n<13>1 - h tls - - - se")
        only(server)
        server.config.write_text(config_of(f"{settings}{pem}/otherca.pem}}"))
        with paused(server):
            s.sendall(b"cond\n" + b"<13>1 - h tls - - - x\n" * 5000 + b"<13>1 - h tls - - - half")
            server.child.send_signal(signal.SIGHUP)
        assert s.recv(1) == b""
    entries = only(server, n=5003)
    assert [e[1] for e in entries] == ["first", "second"] + ["x"] * 5000 + ["half"]
    assert ["truncated_from" in e[2] for e in entries] == [False] * 5002 + [True]
    assert server.metric("sawlog_refused_connections_total", reason="client_certificate") == 1
    tls_send(port, tls_context(pem, "stranger"), b"<13>1 - h tls - - - the other\n")
    only(server, n=5004)


def test_reload_that_fails(log):
    """One of the new addresses is taken: the old input goes on with its connections, and what it dropped is there again."""
    stays, goes = sawlog.free_port(), sawlog.free_port()
    server = log(f"listen: ['tcp://127.0.0.1:{stays}', 'tcp://127.0.0.1:{goes}']")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_connection(("127.0.0.1", stays)) as s:
        s.sendall(b"<13>1 - h app - - - in")
        server.config.write_text(config_of(
            f"listen: ['tcp://127.0.0.1:{stays}', 'tcp://127.0.0.1:{taken.getsockname()[1]}']"))
        assert server.call("POST", "/-/reload").status >= 400
        s.sendall(b" pieces\n")
        send(goes, b"<13>1 - h app - - - another\n")
        assert {e[1] for e in only(server, n=2)} == {"in pieces", "another"}


def test_memory_full_of_halves(nodes):
    """Halves of messages fill the memory, which only the taking of whole ones frees: all are taken in the end."""
    port, udp = sawlog.free_port(), sawlog.free_port()
    server = nodes.server(config="memory: 16MiB\n" + config_of(
        f"listen: ['tcp://127.0.0.1:{port}', 'udp://127.0.0.1:{udp}'], max_line: 32KiB"))
    wait_for("it listens", lambda: "inputs running" in server.out)
    half, senders, peak = b"<13>1 - h half - - - " + b"q" * 24000, 900, 0
    conns = [socket.create_connection(("127.0.0.1", port)) for _ in range(senders)]
    for s in conns:
        s.sendall(half)
    wait_for("they fill it", lambda: server.metric("sawlog_memory_refused_total", account="memory") > 0)
    time.sleep(0.5)  # some more are read, none to its end
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"<13>1 - h datagram - - - x", ("127.0.0.1", udp))
    for k, s in enumerate(conns):
        s.sendall(b" end %d\n" % k)
        s.close()

    def committed():
        nonlocal peak
        peak = max(peak, server.rss_anon())
        return server.metric("sawlog_committed_records_total", input="syslog") >= senders + 1

    wait_for("all are committed", committed, 30)
    # The ceiling, the floor of the input, what one connection may read beyond it, and the store's
    # batch: 17 to 19 MiB measured.
    if not sawlog.SANITIZED:
        assert peak < 24 << 20
    assert len(server.entries('{app="datagram"}')) == 1
    # Not all in one answer, as queries have a part of the memory only.
    ends = {line.split()[-1] for digit in range(10)
            for line in server.lines(f'{{app="half"}} |= " end {digit}"')}
    assert ends == {str(k) for k in range(senders)}
    send(port, b"<13>1 - h after - - - one\n")
    only(server, '{app="after"}')


def test_refusals_tell_who_and_why(log, pem):
    """Each by the peer's address, a sentence and what helps; and the zone that there is not, by check."""
    port = sawlog.free_port()
    server = log(f"listen: ['tls://127.0.0.1:{port}'], app: fixed, "
                 f"tls: {{cert: {pem}/server.pem, key: {pem}/server.key, client_ca: {pem}/ca.pem}}")
    with socket.create_connection(("127.0.0.1", port)) as raw:
        peer = "%s:%d" % raw.getsockname()
        with contextlib.suppress(OSError), tls_context(pem).wrap_socket(
                raw, server_hostname="localhost") as s:
            s.sendall(b"<13>1 - h tls - - - no\n")
            s.recv(1)
    wait_for("it is told", lambda: f"{peer} is refused: the client showed no certificate" in server.err)
    assert "tls.client_ca has signed" in server.err
    # What the message says itself does not hide the label.
    tls_send(port, tls_context(pem, "client"), b"<13>1 - h own - - - yes\n")
    ((_, _, labels),) = only(server, '{app="fixed"}')
    assert labels["app"] == "fixed" and labels["appname"] == "own"
    r = sawlog.run("check", "-", stdin=config_of("listen: ['udp://127.0.0.1:5514'], timezone: Berlin").encode())
    assert r.returncode != 0 and "timezone: " in r.stderr.decode() + r.stdout.decode(), r
