# SPDX-License-Identifier: Apache-2.0
"""The email output and a real mail server: what is asked to wait comes later, what is refused is told."""
import email
import email.policy
import json
import socket
import ssl
import subprocess
import threading
import time

import pytest
import sawlog

smtpd = pytest.importorskip("aiosmtpd.smtp", reason="python3-aiosmtpd is not installed")
controllers = pytest.importorskip("aiosmtpd.controller")


def text(message):
    return message.get_content().replace("\r\n", "\n")


class Mailbox:
    """An SMTP server on loopback that keeps what it takes; `verdict(to)` answers RCPT."""

    def __init__(self, port=None, **more):
        self.port, self.more = port or sawlog.free_port(), more
        self.lock, self.mails, self.tls, self.users, self.verdict = threading.Lock(), [], [], [], None

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = self.verdict(address) if self.verdict else None
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        with self.lock:
            self.mails.append((envelope.rcpt_tos[0], message))
            self.tls.append(session.ssl is not None)
            self.users.append(session.auth_data)
        return "250 taken"

    def start(self):
        self.controller = controllers.Controller(self, hostname="127.0.0.1", port=self.port, **self.more)
        self.controller.start()
        return self

    def stop(self):
        self.controller.stop()

    def texts(self):
        with self.lock:
            return [text(m) for _, m in self.mails]


@pytest.fixture
def mailbox():
    box = Mailbox().start()
    yield box
    box.stop()


def config(box, **more):
    settings = {"name": "mails", "smtp": f"smtp://127.0.0.1:{box.port}", "from": "Logs <sawlog@example.org>",
                "to": ["ops@example.com"], "match": '{app="shop"}', "start": "begin", **more}
    return "outputs:\n  - email: " + json.dumps(settings).replace("$", "$$") + "\n"


def push(server, *lines, **metadata):
    now = time.time_ns()
    answer = server.push({"app": "shop", "host": "web1"},
                         [(str(now + i), line, {k: str(v) for k, v in metadata.items()})
                          for i, line in enumerate(lines)])
    assert answer.status == 204, answer.text


def test_one_mail_each(nodes, mailbox):
    server = nodes.server(config=config(mailbox, to=["ops@example.com", "Küche <k@example.com>"],
                                        format="%(levelname)s %(message)s"))
    push(server, "größer\nals gedacht", "x\r\n.\r\nMAIL FROM:<evil@example.com>", severity="CRITICAL")
    server.push({"app": "other"}, ["not for mails"])
    sawlog.wait_for("four mails", lambda: len(mailbox.texts()) >= 4)
    to, first = mailbox.mails[0]
    assert {to for to, _ in mailbox.mails} == {"ops@example.com", "k@example.com"}
    assert first["To"] == "ops@example.com, Küche <k@example.com>"
    assert first["From"] == "Logs <sawlog@example.org>" and first["Auto-Submitted"] == "auto-generated"
    assert first["Subject"] == "[CRITICAL] shop on web1: größer als gedacht"
    assert text(first) == "CRITICAL größer\n\tals gedacht\n"
    assert text(mailbox.mails[2][1]) == "CRITICAL x\n\t.\n\tMAIL FROM:<evil@example.com>\n"
    assert first["Message-ID"] != mailbox.mails[2][1]["Message-ID"]
    assert "evil@example.com" not in {to for to, _ in mailbox.mails}


def test_nothing_is_lost_while_the_server_is_away(nodes, mailbox):
    mailbox.stop()
    server = nodes.server(config=config(mailbox))
    push(server, "one", "two")
    sawlog.wait_for("it is told", lambda: "mails: smtp://127.0.0.1" in server.err)
    server.kill()
    mailbox.start()
    server.start()
    sawlog.wait_for("both mails", lambda: len(mailbox.texts()) >= 2)
    assert mailbox.texts() == ["one\n", "two\n"]
    # The place in the log is kept: nothing comes again.
    server.stop()
    server.start()
    push(server, "three")
    sawlog.wait_for("the third", lambda: len(mailbox.texts()) >= 3)
    assert mailbox.texts() == ["one\n", "two\n", "three\n"]


def test_greylisting_and_refusal(nodes, mailbox):
    """450 is tried again, 550 costs that record and no other."""
    seen = []

    def verdict(address):
        seen.append(address)
        return "450 come back later" if len(seen) <= 1 else None

    mailbox.verdict = verdict
    server = nodes.server(config=config(mailbox))
    push(server, "patience")
    sawlog.wait_for("the mail", lambda: mailbox.texts() == ["patience\n"])
    assert "450 come back later" in server.err
    mailbox.verdict = lambda address: "550 no such user"
    push(server, "nobody wants me")
    sawlog.wait_for("it is told", lambda: "550 no such user" in server.err and "is passed by" in server.err)
    mailbox.verdict = None
    push(server, "hello again")
    sawlog.wait_for("the next mail", lambda: mailbox.texts() == ["patience\n", "hello again\n"])


def test_digest(nodes, mailbox):
    server = nodes.server(config=config(mailbox, digest="3s"))
    push(server, *[f"line {i}" for i in range(40)])
    sawlog.wait_for("one mail", lambda: mailbox.texts())
    _, mail = mailbox.mails[0]
    assert mail["Subject"].endswith("line 0 (and 39 more)")
    head, rest = text(mail).split("\n\n")
    assert head.startswith("40 records from ") and rest.splitlines() == [f"line {i}" for i in range(40)]


def test_rate(nodes, mailbox):
    """A flood is two mails and a digest that waits; the place in the log waits with it."""
    server = nodes.server(config=config(mailbox, rate=2))
    push(server, *[f"line {i}" for i in range(20)])
    sawlog.wait_for("two mails", lambda: len(mailbox.texts()) == 2)
    server.kill()
    server.start()
    sawlog.wait_for("two more", lambda: len(mailbox.texts()) == 4)
    assert mailbox.texts()[:2] == ["line 0\n", "line 1\n"]


def test_severity(nodes, mailbox):
    server = nodes.server(config=config(mailbox, min_severity="error"))
    push(server, "info", severity="INFO", level="info")
    push(server, "bad", severity="ERROR", level="error")
    sawlog.wait_for("a mail", lambda: mailbox.texts())
    assert mailbox.texts() == ["bad\n"]


def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == b"logs" and data.password == b"very secret"
    return smtpd.AuthResult(success=good, handled=False, auth_data=data.login.decode())


def test_starttls_and_password(nodes):
    nodes.folder.mkdir(exist_ok=True)
    box = Mailbox(tls_context=certificate(nodes.folder), require_starttls=True, auth_required=True,
                  authenticator=authenticate).start()
    password = nodes.folder / "password"
    password.write_text("wrong one\n")
    try:
        server = nodes.server(config=config(box, user="logs", password_file=str(password),
                                            ca=str(nodes.folder / "cert.pem")))
        push(server, "sealed")
        sawlog.wait_for("it is told", lambda: "does not take the password" in server.err)
        # The file is read again; nothing has to be restarted.
        password.write_text("very secret\n")
        sawlog.wait_for("the mail", lambda: box.texts())
        assert (box.texts(), box.tls, box.users) == (["sealed\n"], [True], ["logs"])
        shown = server.err + server.get("/config").text
        assert "very secret" not in shown and "wrong one" not in shown and str(password) not in shown
    finally:
        box.stop()


def test_certificate_is_checked_where_a_password_goes(nodes):
    box = Mailbox(tls_context=certificate(nodes.folder)).start()
    (nodes.folder / "password").write_text("very secret\n")
    try:
        server = nodes.server(config=config(box, user="logs", password_file=str(nodes.folder / "password")))
        push(server, "for nobody")
        sawlog.wait_for("it is told", lambda: "not to be trusted" in server.err)
        assert box.texts() == []
    finally:
        box.stop()


def test_starttls_is_taken_where_it_is_offered(nodes):
    box = Mailbox(tls_context=certificate(nodes.folder)).start()
    try:
        server = nodes.server(config=config(box))
        push(server, "sealed")
        sawlog.wait_for("the mail", lambda: box.texts())
        assert box.tls == [True]
    finally:
        box.stop()


def test_a_dead_server_holds_up_nobody(nodes):
    """It takes connections and says nothing: intake goes on, and the stop is not late."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        box = Mailbox(port=mute.getsockname()[1])
        server = nodes.server(config=config(box))
        push(server, "into the void")
        sawlog.wait_for("it is stored", lambda: server.lines('{app="shop"}') == ["into the void"])
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 12


@pytest.mark.parametrize("wrong, sentence", [
    ({"smtp": "http://x"}, "must be the URL of a mail server"),
    ({"smtp": "smtp://u:pw@x"}, "must hold neither user nor password"),
    ({"to": ["ops"]}, "is no mailbox"),
    ({"to": []}, "name at least one recipient"),
    ({"from": "a@b\r\nBcc: c@d"}, "is no mailbox"),
    ({"user": "x"}, "password_file is missing"),
    ({"format": "%(message"}, "format"),
])
def test_check(nodes, wrong, sentence):
    box = Mailbox()
    file = nodes.folder / "c.yaml"
    file.write_text(config(box, **wrong))
    r = sawlog.run("check", file)
    assert r.returncode != 0 and sentence in (r.stdout + r.stderr).decode(), r.stdout + r.stderr
    assert "u:pw" not in (r.stdout + r.stderr).decode()


def test_private_targets_are_refused(nodes):
    box = Mailbox()
    server = nodes.server(config=config(box, smtp="smtp://10.255.255.1:25"))
    push(server, "x")
    sawlog.wait_for("it is told", lambda: "set allow_private" in server.err)
