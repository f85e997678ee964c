# SPDX-License-Identifier: Apache-2.0
"""Fixtures of scenarios and interop tests."""
import pytest
import sawlog


@pytest.fixture
def nodes(tmp_path):
    """nodes.server(...) and nodes.forwarder(...): started or startable, ended with the test."""
    made = []

    class Nodes:
        folder = tmp_path

        def server(self, start=True, **kw):
            s = sawlog.Server(tmp_path, **kw)
            made.append(s)
            return s.start() if start else s

        def forwarder(self, server, *paths, start=True, **kw):
            f = sawlog.Forwarder(tmp_path, server.url, paths, **kw)
            made.append(f)
            return f.start() if start else f

    yield Nodes()
    for node in made:
        node.close()


@pytest.fixture
def server(nodes):
    return nodes.server()
