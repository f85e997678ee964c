# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser."""
import json
import os

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
