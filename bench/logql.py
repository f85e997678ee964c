# SPDX-License-Identifier: Apache-2.0
"""Metric queries and parsers: each as a request on an open connection over everything, with the
CPU time that it took the server, and where there is a common tool for it, that on the raw file.
"""
import re
import shutil
import subprocess
import threading
import time

import search

REPEAT = 5


def questions(apps, span):
    """(name, LogQL, "range" with its step or None for instant, the tool's command with {file} of an app, or None)"""
    whole = f"[{span}s]"
    yield ("level by minute", 'sum by (detected_level) (count_over_time({app=~".+"} [1m]))', 60, None, None)
    yield ("topk(10) of rates by app", 'topk(10, sum by (app) (rate({app=~".+"} [5m])))', 300, None, None)
    yield ("topk(10) of rates by app, once", f'topk(10, sum by (app) (rate({{app=~".+"}} {whole})))', None, None, None)
    yield ("json over all lines, few are any", f'sum(count_over_time({{app=~".+"}} | json | x > 5 | __error__="" {whole}))', None, None, None)
    yield ("logfmt over all lines", f'sum(count_over_time({{app=~".+"}} | logfmt | x > 5 | __error__="" {whole}))', None, None, None)
    if "jsonl" in apps:
        yield ("json | ms > 2900, count", f'sum(count_over_time({{app="jsonl"}} | json | __error__="" | ms > 2900 {whole}))', None,
               "jsonl", ["jq", "-R", "-c", "fromjson? | select(.ms > 2900)"])
        yield ("json, average by service",
               f'avg_over_time({{app="jsonl"}} | json | __error__="" | unwrap ms {whole}) by (service)', None, None, None)
        yield ("json | ms > 2990, the newest 100 lines", '{app="jsonl"} | json | ms > 2990', "lines", None, None)
    if "kv" in apps:
        yield ("logfmt | bytes > 100kB, count", f'sum(count_over_time({{app="kv"}} | logfmt | bytes > 100kB | __error__="" {whole}))',
               None, None, None)
        yield ("quantile 0.99 of a duration by level",
               f'quantile_over_time(0.99, {{app="kv"}} | logfmt | unwrap duration(duration) | __error__="" {whole}) by (level)',
               None, None, None)
    for app in ("auth", "OpenSSH"):
        if app in apps:
            yield ("captures of a regex, by user",
                   f'topk(10, sum by (user) (count_over_time({{app="{app}"}} |= "Failed password" '
                   f'| regexp "for (invalid user )?(?P<user>\\\\S+) from (?P<ip>\\\\S+)" {whole})))', None,
                   app, ["rg", "-o", "--no-filename", "-r", "$u",
                         r"Failed password.*for (?:invalid user )?(?P<u>\S+) from \S+"])
            yield ("captures of a pattern, by user",
                   f'topk(10, sum by (user) (count_over_time({{app="{app}"}} |= "Failed password for" '
                   f'| pattern "<_> for <_> user <user> from <_>" {whole})))', None, None, None)
    if "OpenStack" in apps:
        yield ("quantile 0.99 of a number in the text",
               f'quantile_over_time(0.99, {{app="OpenStack"}} |= "time: " | regexp "time: (?P<t>[0-9.]+)" '
               f'| unwrap t {whole}) by ()', None, None, None)


WORST = [
    '{} |~ "(a|b|ab)*[0-9]+(x+x+)+y"',
    '{} | regexp "(?P<a>.*) (?P<b>.*)(?P<c>.*)x(?P<d>.*)y" | a="b"',
    'sum by (a) (count_over_time({} | regexp "(?P<a>[0-9]+)" [1h]))',
    'quantile_over_time(0.99, {} | regexp "(?P<n>[0-9]+)" | unwrap n [1h]) by (app)',
    '{} | json | line_format "{{range $k, $v := .}}{{$k}}{{printf \\"%100s\\" $v}}{{end}}" |= "zzz"',
    '{} | logfmt | uniq by (msg)',
    'topk(1000, stddev_over_time({} | regexp "(?P<n>[0-9]+)" | unwrap n [59m]))',
]


class Worst:
    """n of the worst queries at a time, until stop()."""

    def __init__(self, server, n):
        self.over, self.asked, self.server = False, 0, server
        self.threads = [threading.Thread(target=self.ask, args=(WORST[i % len(WORST)],)) for i in range(n)]
        for t in self.threads:
            t.start()

    def ask(self, query):
        while not self.over:
            now = int(time.time())
            self.server.get("/loki/api/v1/query_range", {
                "query": query, "start": 0, "end": now + 10**8, "step": 10**6, "limit": 10**6})
            self.asked += 1

    def stop(self):
        self.over = True
        asked = self.asked
        self.server.call("POST", "/-/flush", timeout=600)
        for t in self.threads:
            t.join(120)
        return asked


def cpu_ms(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 10


def measure(server, files, report):
    span = search.span_of(server)
    asker = search.Asker(server, span)
    paths = {re.sub(r"\.log$", "", f.name): f for f in files}
    for name, query, how, app, tool in questions(set(paths), span[1] - span[0] + 2):
        step = how if isinstance(how, int) else None
        if step:  # no more points than a query may have
            step *= -(-(span[1] - span[0]) // (10000 * step))
            query = re.sub(r"\[\d+[ms]\]", f"[{step}s]", query)
        limit = 100 if how == "lines" else None
        asker.ask(query, limit, step)
        before, start = cpu_ms(server.child.pid), time.monotonic()
        ours = [asker.ask(query, limit, step)[0] for _ in range(REPEAT)]
        spent = cpu_ms(server.child.pid) - before
        for ms in ours:
            report.add(f"LogQL: {name}", ms, "ms")
        report.add(f"  CPU of the server, {name}", spent / REPEAT, "ms")
        if tool and shutil.which(tool[0]):
            start = time.monotonic()
            subprocess.run([*tool, paths[app]], stdout=subprocess.DEVNULL, check=True)
            theirs = (time.monotonic() - start) * 1e3
            report.add(f"  {tool[0]}, {name}", theirs, "ms")
            report.add(f"  times faster than {tool[0]}", theirs / sorted(ours)[REPEAT // 2], "x")
