# SPDX-License-Identifier: Apache-2.0
"""amqplib, the client of Node's, publishes unmodified."""
import sawlog


def test_amqplib(npm, nodes, rabbit):
    server = nodes.server(config=f"inputs:\n  - amqp: {rabbit.url}\n")
    sawlog.wait_for("the input consumes", lambda: "takes the messages of queue" in server.err, 60)
    done = npm("amqplib.mjs", rabbit.url, 100)
    assert done.returncode == 0, done.stderr
    entries = sawlog.wait_for("100 lines", lambda: (lambda e: e if len(e) == 100 else None)(
        server.entries('{input="amqp"}')))
    labels = {e[2]["message_id"]: e[2] for e in entries}
    assert labels.keys() == {f"node-{i}" for i in range(100)}
    assert labels["node-4"]["app"] == "Node Service" and labels["node-4"]["severity"] == "Error"
    assert labels["node-5"]["app"] == "node" and labels["node-5"]["detected_level"] == "info"
    assert labels["node-7"]["header_n"] == "7" and labels["node-7"]["header_big"] == str(2 ** 40)
    assert labels["node-7"]["header_x_y"] == "ünïcode"
    assert {line for _, line, labels in entries if labels["app"] == "Node Service"} == {
        f"text {i}" for i in range(0, 100, 2)}
