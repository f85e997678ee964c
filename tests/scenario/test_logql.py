# SPDX-License-Identifier: Apache-2.0
"""The cases of tests/logql over HTTP: pushed, queried and compared as a client sees them.

The files and their form are told in tests/logql/README.md; src/query/cases_test.c runs the same
ones in the process.  Each set of lines has a tenant of its own.
"""
import json
import math
import re
import urllib.parse
from pathlib import Path

import pytest
import sawlog

FOLDER = sawlog.ROOT / "tests/logql"
BASE = 1_704_067_200 * 10**9
# What is found out at ingest would be labels that the cases do not tell of.
CONFIG = "discover: {service_name: false, level: false}\n"
DEFAULTS = {"at": 60, "start": -3600, "end": 86400, "step": 60, "limit": 0,
            "direction": "forward", "strict": 0, "ordered": 0}
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
           "\\": "\\", '"': '"'}


def nanos(seconds):
    """A time of a file, written as decimal seconds, without the rounding of a float."""
    sign = -1 if str(seconds).startswith("-") else 1
    whole, _, part = str(seconds).lstrip("-").partition(".")
    return BASE + sign * (int(whole) * 10**9 + int(part.ljust(9, "0")[:9]))


def unescape(text):
    """Go's escapes, as a string's inside; bytes that are written singly make up UTF-8."""
    out, at = bytearray(), 0
    form = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.S)
    for m in form.finditer(text):
        out += text[at:m.start()].encode()
        at = m.end()
        if m[1]:
            out.append(int(m[1], 16))
        elif m[2] or m[3]:
            out += chr(int(m[2] or m[3], 16)).encode()
        elif m[4]:
            out.append(int(m[4], 8))
        else:
            out += ESCAPES[m[5]].encode()
    return (out + text[at:].encode()).decode()


PAIR = re.compile(r'\s*([^\s=,{}"]+)="((?:[^"\\]|\\.)*)"\s*,?')


def labels_of(text):
    """({"a": "b"}, rest) of `{a="b"} rest`."""
    assert text.startswith("{"), text
    at, found = 1, {}
    while m := PAIR.match(text, at):
        found[m[1]] = unescape(m[2])
        at = m.end()
    assert text[at] == "}", text
    return found, text[at + 1:].removeprefix(" ")


class Case:
    def __init__(self, file, line, tenant, settings, query):
        self.place = f"tests/logql/{file}.case:{line}"
        self.tenant, self.settings, self.query = tenant, settings, query
        self.rows = []


class File:
    def __init__(self, path):
        self.name = path.stem
        self.data, self.cases = {}, []
        self.settings, self.stream, self.wrap, self.set = dict(DEFAULTS), None, None, None
        for number, line in enumerate(path.read_text().split("\n"), 1):
            try:
                self.read(number, line)
            except Exception as e:
                raise AssertionError(f"{path}:{number}: {line!r}") from e

    def read(self, number, line):
        word, _, rest = line.partition(" ")
        if not line or line[0] == "#":
            return
        if word == "data":
            self.set = self.data[rest] = []
            self.at = rest
        elif word == "use":
            self.at = rest
        elif word == "stream":
            self.stream = labels_of(rest)[0]
        elif word == "set":
            if not rest:
                self.settings = dict(DEFAULTS)
            self.settings.update(self.words(rest))
        elif word == "wrap":
            self.wrap = rest
        elif word == "none":
            self.cases[-1].rows.append(("0", ""))
        elif len(word) == 1 and word in "=$+~*c@nvsm!f":
            self.row(word, rest)
        elif re.match(r"[qt][:$\[]", line):
            self.begin(number, line)
        else:
            self.line(rest, word)

    @staticmethod
    def words(text):
        return dict(w.split("=") for w in text.split())

    def row(self, kind, text):
        self.cases[-1].rows.append(("=", unescape(text)) if kind == "$" else (kind, text))

    def line(self, rest, time):
        meta = {}
        if rest.startswith("{"):
            meta, rest = labels_of(rest)
        body = rest[2:]
        if rest[0] == "$":
            body = unescape(body)
        else:
            assert rest[0] == "|", rest
        self.set.append((self.stream, nanos(time), body, meta))

    def begin(self, number, line):
        head, escapes, words, text = re.match(r"([qt])(\$?)(?:\[([^]]*)\])?: ?(.*)", line).groups()
        settings = {**self.settings, **self.words(words or "")}
        short = re.search(r" ==([>!$svmf0n+~*@])(?: |$)", text)
        answer = None
        if short:
            text, answer = text[:short.start()], (short[1], text[short.end():])
        if escapes:
            text = unescape(text)
        if head == "t":
            text = self.wrap.replace("@", text, 1)
        tenant = f"{self.name}.{self.at}" if self.data else "none"
        self.cases.append(Case(self.name, number, tenant, settings, text))
        if answer:
            self.row("=" if answer[0] == ">" else answer[0], answer[1])


FILES = [File(p) for p in sorted(FOLDER.glob("*.case"))]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A server with all sets of lines."""
    server = sawlog.Server(tmp_path_factory.mktemp("logql"), config=CONFIG)
    try:
        server.start()
        for file in FILES:
            for name, lines in file.data.items():
                push(server, f"{file.name}.{name}", lines)
        yield server
    finally:
        server.close()


def push(server, tenant, lines):
    """In the order of the file: one request for each run of lines of one stream."""
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and lines[end][0] is lines[at][0]:
            end += 1
        values = [(ns, body, meta) if meta else (ns, body) for _, ns, body, meta in lines[at:end]]
        answer = server.push(lines[at][0], values, tenant=tenant)
        assert answer.status == 204, answer.text
        at = end


# -- asking

def ask(server, case):
    kind, s = (case.rows or [("", "")])[0][0], case.settings
    log = re.sub(r"#[^\n]*\n", "", case.query).lstrip("( \t\n").startswith("{")
    params = {"query": case.query}
    headers = {"X-Scope-OrgID": case.tenant}
    if s["strict"] != 0:
        params["strict"] = "true"
    if kind == "f":
        return server.get("/loki/api/v1/format_query", params, headers)
    if kind in "vs" or (kind in "0n" and not log):
        params["time"] = nanos(s["at"])
        return server.get("/loki/api/v1/query", params, headers)
    params |= {"start": nanos(s["start"]), "end": nanos(s["end"]), "step": s["step"],
               "direction": s["direction"], "limit": int(s["limit"]) or 5000}
    if log:
        del params["step"]
    if kind == "c":
        headers["X-Loki-Response-Encoding-Flags"] = "categorize-labels"
    return server.get("/loki/api/v1/query_range", params, headers)


# -- comparing

def same_number(a, b):
    a, b = float(a), float(b)
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return math.isnan(a) and math.isnan(b) or a == b
    return abs(a - b) <= 1e-9 * max(1e-3, abs(a), abs(b))


def present(labels):
    """A label with an empty value counts as one that is not there."""
    return {k: v for k, v in labels.items() if v}


def same_entry(row, entry):
    kind, text = row
    ns, line, stream, more = entry
    stream = present(stream)
    if kind == "=":
        return line == text
    if kind == "+":
        return labels_of(text)[0] == stream
    if kind == "*":
        want, rest = labels_of(text)
        return want == stream and rest[2:] == line
    if kind == "~":
        return all(stream.get(k, "") == v for k, v in labels_of(text)[0].items())
    if kind == "@":
        time, _, rest = text.partition(" ")
        return nanos(time) == ns and rest[2:] == line
    if kind == "c":
        want, rest = labels_of(text)
        meta, rest = labels_of(rest)
        return (want, meta, labels_of(rest)[0]) == (
            stream, present(more.get("structuredMetadata", {})), present(more.get("parsed", {})))
    return False


def pair_up(rows, found, same):
    """Each row with another of what was found."""
    left = list(found)
    for row in rows:
        hit = next((x for x in left if same(row, x)), None)
        if hit is None:
            return False
        left.remove(hit)
    return not left


def same_entries(case, data):
    found = [(int(v[0]), v[1], s["stream"], v[2] if len(v) > 2 else {})
             for s in data["result"] for v in s["values"]]
    found.sort(key=lambda e: e[0], reverse=case.settings["direction"] == "backward")
    if len(found) == len(case.rows) and all(map(same_entry, case.rows, found)):
        return True
    # Of entries at one time, and of those that were sorted by something else, streams tell no order.
    ordered = len({e[0] for e in found}) == len(found) and not re.search(r"\|\s*(sort|top)\b", case.query)
    return not ordered and pair_up(case.rows, found, same_entry)


def same_series(row, series):
    want, rest = labels_of(row[1])
    if want != series["metric"]:
        return False
    if row[0] == "v":
        return same_number(rest, series["value"][1])
    samples = [w.split(":") for w in rest.split()]
    return len(samples) == len(series["values"]) and all(
        abs(float(t) + BASE / 1e9 - got[0]) < 1e-3 and same_number(v, got[1])
        for (t, v), got in zip(samples, series["values"]))


def same_answer(case, answer):
    kind = case.rows[0][0] if case.rows else ""
    if kind == "!":
        return 400 <= answer.status < 500 and case.rows[0][1] in answer.text \
            and answer.headers["Content-Type"].startswith("text/plain")
    if answer.status != 200:
        return False
    data = answer.json()["data"]
    if kind == "f":
        return data == "\n".join(text for _, text in case.rows)
    kinds = {"s": "scalar", "v": "vector", "m": "matrix"}
    if kind == "s":
        return data["resultType"] == "scalar" and same_number(data["result"][1], case.rows[0][1])
    if kind in "0n":
        n = sum(len(s["values"]) if data["resultType"] == "streams" else 1 for s in data["result"])
        return n == int(case.rows[0][1] or 0)
    if data["resultType"] != kinds.get(kind, "streams"):
        return False
    if data["resultType"] == "streams":
        return same_entries(case, data)
    if case.settings["ordered"] != 0:
        return len(case.rows) == len(data["result"]) and all(map(same_series, case.rows, data["result"]))
    return pair_up(case.rows, data["result"], same_series)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_cases(loaded, file):
    failures = []
    for case in file.cases:
        answer = ask(loaded, case)
        if not same_answer(case, answer):
            rows = "\n".join(f"    {k} {t}" for k, t in case.rows)
            got = answer.text if answer.status != 200 else json.dumps(answer.json()["data"].get("result") if isinstance(
                answer.json()["data"], dict) else answer.json()["data"], ensure_ascii=False)
            failures.append(f"{case.place}\n    {case.query}\n  expected:\n{rows}\n  got {answer.status}:\n    {got[:2000]}")
    assert file.cases
    assert not failures, f"{len(failures)} of {len(file.cases)} cases:\n" + "\n".join(failures)


def test_empty_values(loaded):
    """Where an empty label and none are told apart: a key alone is one with --keep-empty."""
    loaded.push({"app": "empty"}, [(BASE, 'a=1 alone b="" c=')], tenant="empty.values")

    def labels(stage):
        answer = loaded.get("/loki/api/v1/query_range", {
            "query": '{app="empty"} | ' + stage, "start": BASE, "end": BASE + 10**9},
            {"X-Scope-OrgID": "empty.values"})
        return answer.json()["data"]["result"][0]["stream"]

    assert "alone" not in labels("logfmt")
    assert labels("logfmt --keep-empty")["alone"] == ""
    assert labels("logfmt alone")["alone"] == ""
    assert labels("logfmt --keep-empty")["a"] == "1"
