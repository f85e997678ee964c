# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import sawlog  # noqa: E402


@pytest.fixture
def nodes(tmp_path):
    """make(kind, ...) -> a started or startable node, ended with the test."""
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
