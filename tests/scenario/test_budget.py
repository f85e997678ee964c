# SPDX-License-Identifier: Apache-2.0
"""The worst queries there are, fifty at once: each ends with an answer or a sentence, within its
time and memory, and ingest goes on."""
import random
import threading
import time

import sawlog

SECONDS = 4  # what a query may take
WORST = [
    '{} |~ "(a|b|ab)*[0-9]+(x+x+)+y"',
    '{} |~ "(?i)([a-z]+ )*z{3}[0-9]{999}"',
    '{} | json | logfmt | line_format "{{.msg}}{{repeat 1000000 \\"x\\"}}"',
    '{} | logfmt | line_format "{{range $k, $v := .}}{{$k}}{{printf \\"%1000000s\\" $v}}{{end}}"',
    '{} | regexp "(?P<a>.*)(?P<b>.*)(?P<c>.*)x(?P<d>.*)y" | a="b"',
    'count_over_time({} | logfmt [1h])',
    'sum by (msg, id, n) (count_over_time({} | logfmt | json [1h]))',
    'quantile_over_time(0.99, {} | logfmt | unwrap n [1h]) by (id)',
    'label_replace(count_over_time({} | logfmt [1h]), "x", "$1$1$1$1", "msg", "(.*)")',
    'count_over_time({} | logfmt [1h]) * on () group_left () sum(count_over_time({}[1h]))',
    '{} | logfmt | uniq by (msg)',
    '{} | logfmt | top 100000 by (id, msg)',
    '{} | sort by (line) | context -B 100 -A 100',
    'topk(100000, stddev_over_time({} | logfmt | unwrap n [59m]) by (id, msg))',
]


def ask(server, logql, answers):
    """Over all time, at as many steps as may be."""
    now = time.time_ns()
    params = {"query": logql, "start": str(now - 7200 * 10**9), "end": str(now + 10**9),
              "limit": "1000000", "step": "1"}
    try:
        answers.append((logql, server.get("/loki/api/v1/query_range", params)))
    except OSError as e:
        answers.append((logql, e))


def test_fifty_of_the_worst_at_once(nodes):
    server = nodes.server(config=f"memory: 128MiB\nlimits: {{query_timeout: {SECONDS}s}}\n")
    rng = random.Random(5)
    now = time.time_ns()
    for i in range(20):
        server.push({"app": f"a{i % 7}"}, [
            f'msg="{"ab" * rng.randrange(60)} {rng.randrange(10**9)}" id={rng.randrange(10**6):x} n={rng.random()}'
            for _ in range(2500)], start_ns=now - 3600 * 10**9 + i * 10**9)
    answers = []
    threads = [threading.Thread(target=ask, args=(server, WORST[i % len(WORST)], answers), daemon=True) for i in range(50)]
    began, pushed, peak = time.monotonic(), 0, 0
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        server.push({"app": "meanwhile"}, [f"line {pushed + k}" for k in range(100)])
        pushed += 100
        peak = max(peak, server.rss_anon())
        assert time.monotonic() - began < 50 * SECONDS * (5 if sawlog.SANITIZED else 2), "they do not end"
        time.sleep(0.02)
    assert server.running
    for logql, answer in answers:
        assert not isinstance(answer, OSError), f"{logql}: {answer}"
        assert answer.status in (200, 400, 413, 422, 429, 500, 503, 504), f"{logql}: {answer.status} {answer.text[:300]}"
        assert answer.status != 500, f"{logql}: {answer.text[:300]}"
        assert answer.status == 200 or len(answer.text) > 20, f"{logql}: no sentence"
    assert sum(a.status == 200 for _, a in answers) < 50, "these are not bad enough to tell"
    counted = server.get("/loki/api/v1/query", {"query": 'sum(count_over_time({app="meanwhile"}[1h]))'}).json()
    assert counted["data"]["result"][0]["value"][1] == str(pushed)
    assert peak < 128 << 20 or sawlog.SANITIZED
    print(f"{time.monotonic() - began:.1f} s, {pushed} lines meanwhile, peak {peak >> 20} MiB, "
          f"{sorted(a.status for _, a in answers)}")
