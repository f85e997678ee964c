# SPDX-License-Identifier: Apache-2.0
"""Line formats beside CPython's logging.Formatter: the same records through both, byte for byte.

The records go as SocketHandler pickles them.  What Formatter raises for is left out: there the record is lost in
Python, and sawlog writes the value as text.
"""
import logging
import logging.handlers
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sawlog

PRINT = Path(sawlog.SAWLOG).parent / "src/output/line_format_print"
STYLES = {"percent": "%", "brace": "{"}
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia"]

TEXT_FIELDS = ["name", "levelname", "pathname", "filename", "module", "funcName", "threadName", "processName",
               "message", "asctime"]
INT_FIELDS = ["levelno", "lineno", "process", "thread"]
FLOAT_FIELDS = ["created", "msecs"]

MESSAGES = [
    ("plain", ()), ("", ()), ("%d of %s", (3, "four")), ("Größe 3 € 😀", ()), ("two\nlines", ()), ("100%", ()),
    ("it's \"quoted\" \\ and\ttabbed", ()), ("a" * 3000, ()), ("%r", (["x", 1],)), ("trailing space ", ()),
    ("{braces} {0}", ()), ("\u200b\ufeff\ue000\xa0\xad\xff\U000e0001\u0301", ()), ("'\"\x00\x7f\n\r", ()),
    ("\u2028 and \x85 and \x1b[31m", ()),
]
NAMES = ["root", "a", "shop.cart.payment", "grün"]
LEVELS = [10, 20, 30, 40, 50, 25, 5, 7]
PATHS = ["/srv/shop/cart.py", "x.y.z.py", "/a/.hidden", "/a/..odd.py", "/noext", "<stdin>"]
TIMES = [1795255200.123456, 1795255199.9999, 0.0, 1.5, 1792889999.001, 1792890000.0, 946684799.9994, 1774746000.25]


@pytest.fixture(scope="module")
def program():
    if not (Path(sawlog.SAWLOG).parent / "CMakeCache.txt").exists():
        pytest.skip("the binary is not in the folder that it was built in")
    return PRINT


def item(x):
    x = x if isinstance(x, bytes) else str(x).encode()
    return b"%d:%s" % (len(x), x)


def items(data):
    at, found = 0, []
    while at < len(data):
        colon = data.index(b":", at)
        n = int(data[at:colon])
        found.append(data[colon + 1:colon + 1 + n])
        at = colon + 1 + n
    return found


class Cases:
    """Cases for the program, and what Python makes of them."""

    def __init__(self, program):
        self.program, self.input, self.counts = program, [], []

    def add(self, style, format, records, datefmt="", utc=False, breaks="raw"):
        self.input += [item(x) for x in (style, format, datefmt, "utc" if utc else "", breaks, len(records))]
        self.input += [item(pickled(r)) for r in records]
        self.counts.append(len(records))

    def run(self, zone="UTC"):
        """For each case its lines, or the sentence."""
        done = subprocess.run([self.program], input=b"".join(self.input), capture_output=True, timeout=120,
                              env={**os.environ, "TZ": zone})
        assert done.returncode == 0, done.stderr[-2000:]
        found = iter(items(done.stdout))
        answers = []
        for n in self.counts:
            verdict = next(found).decode()
            answers.append([next(found).decode() for _ in range(n)] if verdict == "ok" else verdict)
        assert next(found, None) is None
        return answers


HANDLER = logging.handlers.SocketHandler("127.0.0.1", 1)


def pickled(record):
    copy = logging.makeLogRecord(record.__dict__)
    return HANDLER.makePickle(copy)[4:]


def boom(text):
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


def make(rng, traceback=None, stack=None):
    msg, args = rng.choice(MESSAGES)
    r = logging.LogRecord(rng.choice(NAMES), rng.choice(LEVELS), rng.choice(PATHS), rng.randrange(100000), msg, args,
                          boom("Fehler €\nzwei") if traceback or (traceback is None and rng.random() < 0.2) else None,
                          rng.choice(["pay", "<module>", "größe"]),
                          "Stack (most recent call last):\n  here" if stack or
                          (stack is None and rng.random() < 0.2) else None)
    r.created = rng.choice(TIMES) if rng.random() < 0.6 else rng.uniform(1e9, 2e9)
    r.msecs = int((r.created - int(r.created)) * 1000) + 0.0
    r.process = rng.randrange(1, 4_000_000)
    r.thread = rng.choice([1, 140_000_000_000_000, 2**40 + 7])
    r.threadName = rng.choice(["MainThread", "Thread-1 (run)"])
    return r


def expected(style, format, record, datefmt="", utc=False):
    """As Python has it, or None where it raises."""
    f = logging.Formatter(format, datefmt or None, STYLES[style])
    if utc:
        f.converter = time.gmtime
    try:
        return f.format(logging.makeLogRecord(record.__dict__))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def in_zone(zone):
    os.environ["TZ"] = zone
    time.tzset()


@pytest.fixture(autouse=True)
def own_zone():
    before = os.environ.get("TZ")
    yield
    os.environ.pop("TZ", None)
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def compare(program, cases, zone="UTC"):
    """cases: (style, format, records, datefmt, utc).  How many lines were the same."""
    runs = Cases(program)
    for style, format, records, datefmt, utc in cases:
        runs.add(style, format, records, datefmt, utc)
    in_zone(zone)
    same = 0
    for (style, format, records, datefmt, utc), got in zip(cases, runs.run(zone)):
        assert isinstance(got, list), f"{style} {format!r} is refused: {got}"
        for record, line in zip(records, got):
            want = expected(style, format, record, datefmt, utc)
            if want is None:
                continue
            assert line == want, (style, format, datefmt, zone, record.__dict__)
            same += 1
    return same


USUAL = [
    ("percent", "%(asctime)s %(levelname)s [%(name)s] %(message)s"),
    ("percent", "%(asctime)s - %(name)s - %(levelname)s - %(message)s"),
    ("percent", "%(levelname)s:%(name)s:%(message)s"),
    ("percent", "%(message)s"),
    ("percent", "%(asctime)-15s: %(process)-7s: %(levelname)-7s: %(message)s: "
                "%(module)s.%(funcName)s(%(lineno)d)"),
    ("percent", "[ %(asctime)-15s ][ %(levelname)-7s ][ %(processName)-11s ][ %(message)s ][ "
                "%(module)s.%(funcName)s(%(lineno)d) ]"),
    ("percent", "%(pathname)s:%(lineno)d %(filename)s %(module)s %(thread)d %(threadName)s"),
    ("percent", "%(created)f %(msecs)03d %(levelno)s\n"),
    ("percent", "%(message)s\n\n"),
    ("brace", "{asctime} {levelname} [{name}] {message}"),
    ("brace", "{asctime:>30} {levelname:<8} {name:^20} {message!r}"),
    ("brace", "{process:>7d}|{thread:#x}|{lineno:05}|{created:.6f}|{msecs:03.0f}|{message:.10}"),
    ("brace", "{{literal}} {message}\n"),
]


@pytest.mark.parametrize("zone", ZONES)
def test_usual_formats(program, zone):
    rng = random.Random(zone)
    cases = [(style, format, [make(rng) for _ in range(25)], "", utc) for style, format in USUAL
             for utc in (False, True)]
    assert compare(program, cases, zone) == 25 * len(cases)


@pytest.mark.parametrize("traceback", [False, True])
@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("msg", ["text", "two\nlines", "", "ends\n", "ends\n\n"])
def test_tracebacks(program, traceback, stack, msg):
    """Behind whatever the format made.  Only a single line end in front of it that is the message's own cannot be told
    from the one that Formatter puts there, which shows where a format goes on behind the message."""
    rng = random.Random(1)
    cases = []
    formats = [("percent", "%(message)s"), ("percent", "%(levelname)s"), ("brace", "{message}")]
    if not re.search(r"(^|[^\n])\n$", msg) or not (traceback or stack):
        formats += [("percent", "%(message)s [x]"), ("percent", "%(message)s\n")]
    for style, format in formats:
        record = make(rng, traceback, stack)
        record.msg, record.args = msg, ()
        cases.append((style, format, [record], "", True))
    assert compare(program, cases) == len(cases)


def percent_formats(rng, n):
    for _ in range(n):
        parts = []
        for _ in range(rng.randint(1, 5)):
            kind = rng.random()
            width = rng.choice(["", "", "5", "30", "1"])
            flags = "".join(rng.sample("-+ 0#", rng.randint(0, 2)))
            precision = rng.choice(["", "", ".0", ".3", ".12"])
            if kind < 0.5:
                field, types = rng.choice(TEXT_FIELDS), "s" * 8 + "ra"
            elif kind < 0.8:
                field, types = rng.choice(INT_FIELDS), "ddddiuxXosrafFeEgG"
            else:
                field, types = rng.choice(FLOAT_FIELDS), "fffFeEgGdsr"
            parts.append(rng.choice(["", " ", "text: ", "%%", "é", "{}"]))
            parts.append(f"%({field}){flags}{width}{precision}{rng.choice(types)}")
        yield "".join(parts)


def brace_formats(rng, n):
    for _ in range(n):
        parts = []
        for _ in range(rng.randint(1, 5)):
            kind = rng.random()
            align = rng.choice(["", "", "<", ">", "^", "*<", "é^", "0>"])
            width = rng.choice(["", "", "5", "30", "1"])
            parts.append(rng.choice(["", " ", "text: ", "{{", "}}", "é", "%s"]))
            if kind < 0.5:
                field = rng.choice(TEXT_FIELDS)
                spec = align + rng.choice(["", "", "0"]) + width + rng.choice(["", "", ".4"]) + rng.choice(["", "s"])
            else:
                align = rng.choice([align, align, "=", "0=", "x="])
                sign, alternate, zero = rng.choice(["", "", "+", "-", " "]), rng.choice(["", "", "#"]), \
                    rng.choice(["", "0"])
                grouping = rng.choice(["", "", ",", "_"])
                if kind < 0.75:
                    field = rng.choice(INT_FIELDS)
                    tail = rng.choice(["", "", "d", "x", "X", "o", "b", "n", "e", ".2f", "%", "g"])
                else:
                    field = rng.choice(FLOAT_FIELDS)
                    # '#' without a type is left out: it is for 'g' and its like.
                    tail = rng.choice([".3f", ".0f", "e", ".4g", "%", "G", "F", ".12", ".4", "", "n"])
                    alternate = alternate if tail[-1:].isalpha() else ""
                spec = align + sign + alternate + zero + width + grouping + tail
            conversion = rng.choice(["", "", "", "!s", "!r", "!a"])
            if conversion:
                spec = rng.choice(["", "<12", "^9.3", ">4s"])
            parts.append("{" + field + conversion + (":" + spec if spec else "") + "}")
        yield "".join(parts)


@pytest.mark.parametrize("style,formats", [("percent", percent_formats), ("brace", brace_formats)])
def test_random_formats(program, style, formats):
    rng = random.Random(7)
    cases = [(style, format, [make(rng) for _ in range(4)], "", False) for format in formats(rng, 600)]
    assert compare(program, cases, "Europe/Berlin") > 1200


DATES = ["%Y-%m-%dT%H:%M:%S%z", "%d.%m.%Y %H:%M", "%c", "%x %X", "%a %A %b %B %p %I %j", "%y%m%d", "%H:%M:%S %Z",
         "%D %T %R %r", "%F %e %k %l", "%G-W%V-%u %w %U %W", "%h %C %g %n%t", "%-d.%-m. %_H %^a %#Z %P", "%Ey %Od %10Y",
         "100%% é %s"]


@pytest.mark.parametrize("zone", ZONES)
def test_dates(program, zone):
    rng = random.Random(3)
    cases = [(style, format, [make(rng, False, False) for _ in range(20)], date, utc)
             for style, format in [("percent", "%(asctime)s|"), ("brace", "{asctime}|")]
             for date in DATES for utc in (False, True)
             # Python counts %s as if UTC were the local time.
             if not (utc and "%s" in date)]
    assert compare(program, cases, zone) == 20 * len(cases)


REFUSED = [
    ("percent", ""), ("percent", "no field"), ("percent", "{message}"), ("percent", "%(message"),
    ("percent", "%(message)"), ("percent", "%(message)y"), ("percent", "%(message)s %"),
    ("brace", "no field"), ("brace", "%(message)s"), ("brace", "{message"), ("brace", "{message}}"),
    ("brace", "{message!x}"), ("brace", "{message:y}"), ("brace", "{message:5.}"), ("brace", "{}"),
    ("brace", "{message:<{lineno}}"),
]


@pytest.mark.parametrize("style,format", REFUSED)
def test_refused(program, style, format):
    """What Formatter refuses or cannot ever format is refused, too: by a sentence with a place, at the start."""
    runs = Cases(program)
    runs.add(style, format, [])
    [answer] = runs.run()
    assert isinstance(answer, str) and answer.startswith("format: "), answer
    assert re.search(r"column \d+|no fields", answer), answer


def lines_that_readers_see(text):
    """What str.splitlines takes for line ends includes \\v, \\f, U+0085 and U+2028."""
    return text.splitlines()


@pytest.mark.parametrize("breaks", ["indent", "escape"])
def test_no_forged_lines(program, breaks):
    """W-A8: no part of a record begins a line that looks like another record."""
    rng = random.Random(5)
    forged = "\n2026-11-21 10:00:00,123 CRITICAL [root] forged"
    records = []
    for end in ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\n\n", "\r\r\n"]:
        r = make(rng, rng.random() < 0.5, rng.random() < 0.5)
        r.msg, r.args = "text" + forged.replace("\n", end), ()
        for name in ("name", "funcName", "levelname", "threadName"):
            if rng.random() < 0.5:
                setattr(r, name, "x" + forged.replace("\n", end))
        records.append(r)
    runs = Cases(program)
    for style, format in USUAL:
        runs.add(style, format, records, breaks=breaks)
    for lines in runs.run():
        for line in lines:
            seen = lines_that_readers_see(line)
            assert not any(l.startswith("2026-11-21 10:00:00,123 CRITICAL") for l in seen)
            assert all(l.startswith("\t") for l in seen[1:])
            if breaks == "escape":
                assert len(seen) <= 1
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", line)
