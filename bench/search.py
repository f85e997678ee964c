# SPDX-License-Identifier: Apache-2.0
"""Search: each question as a request on an open connection, over everything, and the same with rg.

The goal of a row is a ratio to rg on the raw files in the same run.  Goals that were stated
against VictoriaLogs stand for the ratio that it had to rg on the same machine, times the factor
that was asked for: a phrase 0.53 x rg, a common word 2.46, severity by hour 1.92 x rg's needle,
the newest 100 errors 1.59 x rg's needle; each is to be ten times faster.
"""
import http.client
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlencode

import sawlog

REPEAT = 7
DROP = Path("/proc/sys/vm/drop_caches")


def words_of(files):
    """What to search for, out of the corpus itself."""
    first = subprocess.run(["grep", "-ohE", r"trace=\w{16}", *map(str, files)], capture_output=True)
    needle = first.stdout.decode().split("\n")[0]
    sample = b"".join(f.open("rb").read(1 << 20) for f in files).decode("utf-8", "replace")
    numbers = re.findall(r"(?<![\w.])\d{7}(?!\w)", sample) or re.findall(r"\d{7}", sample)
    addresses = re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", sample)
    long_numbers = re.findall(r"\d{12,19}", sample)
    return {
        "needle": needle.removeprefix("trace=") or "q7Zt0mPx3LwK9vRb",
        "digits7": numbers[len(numbers) // 2] if numbers else "1234567",
        "digits5": long_numbers[len(long_numbers) // 2][4:9] if long_numbers else "12345",
        "address": addresses[len(addresses) // 2] if addresses else "10.0.0.1",
    }


def questions(files):
    """(name, LogQL, limit or None for a count, rg's pattern and flags, how many times faster than rg)"""
    w = words_of(files)

    def count(inside):
        return f"sum(count_over_time({{}} {inside} [50y]))"

    return [
        ("needle with letters", f'{{}} |= "{w["needle"]}"', 500, ["-F", w["needle"]], 10),
        ("text without a hit", '{} |= "nowhere to be found"', 500, ["-F", "nowhere to be found"], 10),
        ("whole word without a hit", '{} |~ "\\\\bxylophone\\\\b"', 500, ["-w", "-F", "xylophone"], 10),
        ("7 digits", f'{{}} |= "{w["digits7"]}"', 500, ["-F", w["digits7"]], 3),
        ("5 digits inside a number", count(f'|= "{w["digits5"]}"'), None, ["-F", w["digits5"]], 3),
        ("an IP address", count(f'|= "{w["address"]}"'), None, ["-F", w["address"]], 3),
        ("count of a phrase", count('|= "Failed password for"'), None, ["-F", "Failed password for"], 19),
        ("count of a common word", count('|= "INFO"'), None, ["-F", "INFO"], 4.1),
        ("count of a regex with some text", count('|~ "(timeout|timed out).*[0-9]{3}"'), None,
         ["(timeout|timed out).*[0-9]{3}"], 10),
        ("count of a regex without text", count('|~ "[0-9]{5}[a-f]{2}"'), None, ["[0-9]{5}[a-f]{2}"], 2),
    ]


def no_rg():
    """(name, LogQL, range query or not, how many times faster than rg finds the needle)"""
    return [
        ("level by hour", "sum by (detected_level) (count_over_time({}[1h]))", "hour", 5.2),
        ("count by app", "sum by (app) (count_over_time({}[50y]))", None, 5.2),
        ("newest 100 with a text", '{} |= "error"', "newest", 6.3),
    ]


class Asker:
    def __init__(self, server, span):
        self.conn = http.client.HTTPConnection("127.0.0.1", server.port)
        self.span = span

    def ask(self, query, limit=None, step=None):
        at = {"start": self.span[0], "end": self.span[1] + 1}
        if step:
            at["start"] -= at["start"] % step  # as Grafana asks: on multiples of the step
            path = "/loki/api/v1/query_range?" + urlencode({"query": query, "step": step, **at})
        elif limit:
            path = "/loki/api/v1/query_range?" + urlencode({"query": query, "limit": limit, **at})
        else:
            path = "/loki/api/v1/query?" + urlencode({"query": query, "time": self.span[1] + 1})
        start = time.monotonic()
        self.conn.request("GET", path)
        answer = self.conn.getresponse()
        body = answer.read()
        ms = (time.monotonic() - start) * 1e3
        assert answer.status == 200, body[:500]
        return ms, body


def rg(flags, files):
    start = time.monotonic()
    out = subprocess.run(["rg", "-c", "--no-filename", "-j2", *flags, *map(str, files)], capture_output=True)
    ms = (time.monotonic() - start) * 1e3
    return ms, sum(int(n) for n in out.stdout.split())


def hits(body):
    data = json.loads(body)["data"]
    if data["resultType"] == "streams":
        return sum(len(s["values"]) for s in data["result"])
    return sum(int(float(s["value"][1])) for s in data["result"]) if data["resultType"] == "vector" else 0


def span_of(server):
    """The oldest and newest second of the store."""
    conn = http.client.HTTPConnection("127.0.0.1", server.port)
    ends = []
    for forward in ("forward", "backward"):
        conn.request("GET", "/loki/api/v1/query_range?" + urlencode(
            {"query": "{}", "limit": 1, "direction": forward, "start": 0, "end": int(time.time()) + 10 * 365 * 86400}))
        got = json.loads(conn.getresponse().read())["data"]["result"]
        ends.append(int(got[0]["values"][0][0]) // 10**9)
    return ends


def drop_caches():
    os.sync()
    try:
        DROP.write_text("3\n")
        return True
    except OSError:
        return False


def measure(server, files, report):
    span = span_of(server)
    asker, has_rg = Asker(server, span), shutil.which("rg")
    best = {}
    for name, query, limit, flags, goal in questions(files):
        asker.ask(query, limit)
        for _ in range(REPEAT):
            ms, body = asker.ask(query, limit)
            report.add(f"search: {name}", ms, "ms")
            best.setdefault(name, []).append(ms)
            if has_rg:
                theirs, found = rg(flags, files)
                report.add(f"  rg, {name}", theirs, "ms")
                best.setdefault("rg " + name, []).append(theirs)
        got = hits(body)
        if has_rg and got != (min(found, limit) if limit else found):
            print(f"search: {name}: {got} hits, rg has {found}")
        if has_rg:
            ratio = median(best["rg " + name]) / median(best[name])
            report.add(f"  times faster than rg (goal {goal}), {name}", ratio, "x")
    for name, query, how, goal in no_rg():
        step = max(3600, (span[1] - span[0]) // 10000 // 3600 * 3600 + 3600) if how == "hour" else None
        q = query.replace("[1h]", f"[{step}s]") if step else query
        for _ in range(REPEAT):
            ms, _ = asker.ask(q, 100 if how == "newest" else None, step)
            report.add(f"search: {name}", ms, "ms")
            best.setdefault(name, []).append(ms)
        if has_rg:
            ratio = median(best["rg needle with letters"]) / median(best[name])
            report.add(f"  times faster than rg's needle (goal {goal}), {name}", ratio, "x")
    name, query, limit, flags, _ = questions(files)[0]
    for _ in range(3):
        if drop_caches():
            report.add(f"search, cold: {name}", asker.ask(query, limit)[0], "ms")
            if has_rg:
                drop_caches()
                report.add("  rg, cold", rg(flags, files)[0], "ms")
    for _ in range(3):
        start = time.monotonic()
        subprocess.run([sawlog.SAWLOG, "query", query, "--addr", server.url, "--from", str(span[0]), "--limit", "500"],
                       stdout=subprocess.DEVNULL, check=True)
        report.add(f"the command sawlog query, {name}", (time.monotonic() - start) * 1e3, "ms")


def median(v):
    return sorted(v)[len(v) // 2]
