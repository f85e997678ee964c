# SPDX-License-Identifier: Apache-2.0
"""Fixtures of scenarios and interop tests."""
import shutil

import pytest
import sawlog


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell the fixtures how the test itself went."""
    outcome = yield
    if call.when == "call":
        item.went_well = outcome.get_result().passed


@pytest.fixture
def nodes(tmp_path, request):
    """nodes.server(...) and nodes.forwarder(...): started or startable, ended with the test.  What a
    test that passed has on the disk is removed: all of them together would leave 7 GB."""
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
    if getattr(request.node, "went_well", False):
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def server(nodes):
    return nodes.server()
