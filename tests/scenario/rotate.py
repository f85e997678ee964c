# SPDX-License-Identifier: Apache-2.0
"""Rotation at speed, with kills -9 of forwarder and server, and the audit after it.

A writer a path appends numbered lines and rotates in its own manner, at random
moments.  What was written is never kept but can be made again, so the audit
compares the bytes of each path with what comes back through the API: each line
once, in order, nothing else.

    chain     app.log -> .1 -> .2 ..., the eldest deleted once it is stored
    dates     app.log -> app.log-20260821120000123456
    grow      app.log -> app.log.1, app.log.2 ... growing
    banner    as chain; all files of all its generations begin with the same 1.2 KiB
    hardlink  link(app.log, app.log.n), then another file is renamed over app.log
    symlink   app.log is a link that is changed to another file
    delete    deleted while open, and written on; later another file at the same path
    pack      as chain, the second is compressed with gzip
    reborn    deleted and made anew while no forwarder runs, often with the same inode
    truncate  copied away and truncated: what nobody could read in time is lost, nothing else

A file that is deleted, or swapped behind a link, before anybody could open it is
lost to any reader: those writers wait until the file was seen, and while a
deleted file is read the forwarder is not killed.
"""
import gzip
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import zlib

import sawlog

KINDS = ("chain", "dates", "grow", "banner", "hardlink", "symlink", "delete", "pack", "reborn", "truncate")
TEMPLATES = 6
HOLE = b"@" * 8
BANNER = b"".join(b"# %02d this head is that of every file of its kind, so it tells nothing of which it is\n" % i
                  for i in range(14))
WAIT = 90 if sawlog.SANITIZED else 45


class Stopped(Exception):
    """The campaign is over: a writer that waits gives up."""


class Text:
    """The lines of one path: block n is always the same bytes, and no other's."""

    # No word of these is a level: lines of one read that differ in level are of several streams,
    # and carry the same time.
    LETTERS = "abcghjkmnopqsuvxyz  \t{}\\\"'é€"

    def __init__(self, run, number, rng):
        self.templates, self.counts = [], []
        for t in range(TEMPLATES):
            lines = []
            for i in range(rng.randint(100, 400)):
                length = rng.choice([rng.randint(0, 60), rng.randint(60, 250), rng.randint(60, 250)])
                if rng.random() < 0.003:
                    length = rng.choice([4000, 70000, 300000]) if t == 0 else 4000
                body = "".join(rng.choices(self.LETTERS, k=min(length, 200))).encode() * (1 + length // 200)
                lines.append(b"r%08x f%02d %s.%04d %08x %s\n" % (
                    run & 0xffffffff, number, HOLE, i, zlib.crc32(body), body))
            self.templates.append(b"".join(lines))
            self.counts.append(len(lines))

    @staticmethod
    def which(n):
        return (n * 2654435761 >> 7) % TEMPLATES

    def block(self, n):
        return self.templates[self.which(n)].replace(HOLE, b"%08d" % n)

    def count(self, n):
        return self.counts[self.which(n)]


class Generation:
    """One file that was at the path."""

    def __init__(self, number, before):
        self.number, self.blocks = number, []
        self.lines_before, self.lines = before, 0
        self.late = False  # written to when the next one was there already


class Writer(threading.Thread):
    def __init__(self, campaign, number, kind, path):
        super().__init__(daemon=True, name=kind)
        self.campaign, self.kind, self.path = campaign, kind, path
        self.random = random.Random(campaign.seed * 1000 + number)
        self.text = Text(campaign.seed, number, self.random)
        self.turn = threading.Lock()  # who holds it may touch the files
        self.generations, self.n_blocks, self.bytes, self.lines = [], 0, 0, 0
        self.rotations, self.suffix, self.names, self.slow_s = 0, 0, [], 0.0
        self.error, self.same_inode, self.finished = None, 0, False
        self.file, self.lost_bytes, self.told_bytes = None, 0, 0
        if kind == "symlink":
            target = self.target()
            self.begin(target)
            path.symlink_to(target.name)
        else:
            self.begin(path)

    # -- bytes

    def begin(self, path):
        """Make the next file and write to it from now on."""
        if self.file:
            self.file.close()
        self.generations.append(Generation(len(self.generations), self.lines))
        self.file = open(path, "ab", buffering=0)
        if self.kind == "banner":
            self.put(self.file, BANNER, BANNER.count(b"\n"))

    def put(self, f, data, lines, generation=None):
        while data:
            n = f.write(data)
            data = data[n:]
            self.bytes += n
        (generation or self.generations[-1]).lines += lines
        self.lines += lines

    def next_block(self, generation=None):
        n = self.n_blocks
        self.n_blocks += 1
        (generation or self.generations[-1]).blocks.append(n)
        return self.text.block(n), self.text.count(n)

    def write_block(self, between=None):
        """Write a block; `between` is done when part of it is written, often in mid-line."""
        data, lines = self.next_block()
        if between or self.random.random() < 0.1:
            cut = self.random.randint(0, len(data))
            self.put(self.file, data[:cut], 0)
            (between or time.sleep)(self.random.random() * 0.002)
            self.put(self.file, data[cut:], lines)
        else:
            self.put(self.file, data, lines)

    # -- where things stand

    def stored(self):
        return self.campaign.counts.get(self.kind, 0)

    def wait_stored(self, lines):
        began = time.monotonic()
        while self.stored() < lines:
            if self.campaign.over:
                raise Stopped
            assert time.monotonic() - began < WAIT, \
                f"{self.path.name}: {self.stored()} lines stored after {WAIT} s, waiting for {lines}"
            time.sleep(0.02)
        self.slow_s += time.monotonic() - began

    def wait_seen(self):
        self.wait_stored(self.generations[-1].lines_before + 1)

    # -- rotations

    def name(self, suffix):
        return self.path.with_name(self.path.name + suffix)

    def target(self):
        self.suffix += 1
        return self.path.with_name(f"{self.path.stem}-{self.suffix:06d}.target")

    def shift(self):
        """app.log.1 -> app.log.2 and so on; the eldest is deleted, if it is stored."""
        n = len(self.names)
        if self.unordered():
            # How many are stored says nothing of the eldest, unless it is all of them.
            if n >= 20:
                self.wait_stored(self.lines)
                while len(self.names) > 5:
                    self.names.pop().unlink()
                n = len(self.names)
        elif n >= 5 and self.stored() >= self.generations[-n].lines_before:
            self.names.pop().unlink()
        for i in range(len(self.names), 0, -1):
            name = self.names[i - 1]
            to = self.name(f".{i + 1}" + (".gz" if name.suffix == ".gz" else ""))
            name.rename(to)
            self.names[i - 1] = to
        self.names.insert(0, self.name(".1"))
        return self.names[0]

    def unordered(self):
        """Files that are compressed before they are stored may be found after younger ones."""
        return self.kind == "pack" and self.campaign.reads_packed

    def pack(self):
        """Compress the one before last, once it is stored or if compressed files are read too."""
        if len(self.names) < 2 or self.names[1].suffix == ".gz":
            return
        if not self.campaign.reads_packed and self.stored() < self.generations[-2].lines_before:
            return
        old = self.names[1]
        new = old.with_name(old.name + ".gz")
        with open(old, "rb") as f, gzip.open(new, "wb", compresslevel=1) as out:
            shutil.copyfileobj(f, out)
        old.unlink()
        self.names[1] = new

    def aside(self):
        if self.kind == "dates":
            return self.name(time.strftime("-%Y%m%d%H%M%S") + f"{time.time_ns() // 1000 % 10**6:06d}")
        if self.kind in ("chain", "banner", "pack"):
            return self.shift()
        self.suffix += 1
        return self.name(f".{self.suffix}")

    def rotate_by_rename(self):
        aside = self.aside()
        if self.random.random() < 0.3:
            # The program does not notice at once: it goes on in mid-line.
            self.write_block(between=lambda _: self.path.rename(aside))
            for _ in range(self.random.randint(0, 2)):
                self.write_block()
        else:
            self.path.rename(aside)
        if self.random.random() < 0.2:
            time.sleep(self.random.random() * 0.05)
        if self.random.random() < 0.15:
            # The new file is there, and grows, before the program has left the old one.
            old, late = self.file, self.generations[-1]
            self.file, late.late = None, True
            self.begin(self.path)
            data, lines = self.next_block(late)
            self.write_block()
            self.put(old, data, lines, late)
            old.close()
        else:
            self.begin(self.path)
        if self.kind == "pack" and self.random.random() < 0.7:
            self.pack()

    def rotate_by_link(self):
        aside, new = self.aside(), self.path.with_name("hardlink.tmp")
        self.begin(new)
        os.link(self.path, aside)
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * 0.01)
        new.rename(self.path)

    def rotate_by_symlink(self):
        self.write_block()
        self.wait_seen()
        new, link = self.target(), self.path.with_name("symlink.tmp")
        self.begin(new)
        link.symlink_to(new.name)
        link.rename(self.path)

    def rotate_by_deletion(self):
        if self.random.random() < 0.6:
            self.rotate_by_rename()
            return
        with self.campaign.forwarder_lock:
            # The forwarder that runs now has it open when something written from here on is stored.
            before = self.lines
            self.write_block()
            self.wait_stored(before + 1)
            self.path.unlink()
            for _ in range(self.random.randint(0, 5)):
                self.write_block()
            if self.random.random() < 0.3:
                time.sleep(self.random.random() * 0.1)
            self.begin(self.path)
            self.wait_stored(self.generations[-1].lines_before)

    def rotate_by_truncation(self):
        shutil.copyfile(self.path, self.aside())
        if self.random.random() < 0.3:
            self.write_block()  # this is not in the copy
        os.truncate(self.path, 0)
        self.generations.append(Generation(len(self.generations), self.lines))

    def reborn(self):
        """No forwarder runs, and all is stored: another file comes to the path."""
        before = os.stat(self.path).st_ino
        self.file.close()
        self.file = None
        self.path.unlink()
        self.begin(self.path)
        self.same_inode += os.stat(self.path).st_ino == before
        self.write_block()
        self.rotations += 1

    def rotate(self):
        {"hardlink": self.rotate_by_link, "symlink": self.rotate_by_symlink,
         "delete": self.rotate_by_deletion, "truncate": self.rotate_by_truncation,
         }.get(self.kind, self.rotate_by_rename)()
        self.rotations += 1

    def run(self):
        c = self.campaign
        try:
            began = time.monotonic()
            while self.rotations < c.rotations_each:
                size = min(self.random.expovariate(1 / c.mean_bytes), 5 * c.mean_bytes)
                end = self.bytes + size
                while True:
                    with self.turn:
                        self.write_block()
                        if self.bytes >= end:
                            break
                    ahead = self.bytes / c.rate_each - (time.monotonic() - began - self.slow_s)
                    if ahead > 0:
                        time.sleep(min(ahead, 0.2))
                with self.turn:
                    self.rotate()
            with self.turn:
                self.write_block()
        except Stopped:
            pass
        except BaseException as e:  # pylint: disable=broad-except
            self.error = e
        finally:
            if self.file:
                self.file.close()
            self.finished = True

    # -- audit

    def audit(self, server):
        """Compare what is stored with what was written.  Returns the lines stored and those lost."""
        if self.kind == "truncate" or self.campaign.wide:
            return self.audit_lines(server)
        with Reader(server, self.path) as reader:
            same = all(reader.take(len(data)) == data for data in self.expected()) and not reader.take(1)
        if same:
            return self.lines, 0
        return self.audit_lines(server)

    def expected(self):
        for g in self.generations:
            if self.kind == "banner":
                yield BANNER
            for n in g.blocks:
                yield self.text.block(n)

    def audit_lines(self, server):
        """Line by line: which file, in order, each once."""
        home = {n: g for g in self.generations for n in g.blocks}
        place = re.compile(rb"r[0-9a-f]{8} f\d\d (\d{8})\.(\d{4}) ")
        gap = re.compile(rb"sawlog: (up to )?\d+ bytes of \S+ \((\d+) to (\d+)\) were truncated before they could be read")
        last, missing, twice, order, strange = {}, [], [], [], []
        banners, n_lines, current, seen = 0, 0, None, set()
        lines_of, at_block, gaps = [], None, []
        banner_lines = set(BANNER.splitlines()) if self.kind == "banner" else set()
        with Reader(server, self.path) as reader:
            for line in reader.lines():
                n_lines += 1
                if line in banner_lines:
                    banners += 1
                    continue
                m = gap.fullmatch(line) if self.kind == "truncate" else None
                if m:
                    gaps.append((bool(m.group(1)), int(m.group(2)), int(m.group(3))))
                    continue
                m = place.match(line)
                n, i = (int(m.group(1)), int(m.group(2))) if m else (-1, -1)
                if n in home and n != at_block:
                    at_block, lines_of = n, self.text.block(n).split(b"\n")[:-1]
                if n not in home or i >= len(lines_of) or line != lines_of[i]:
                    strange.append(line[:120])
                    continue
                g = home[n]
                if (n, i) in seen:
                    twice.append((n, i))
                    continue
                seen.add((n, i))
                if (n, i) < last.get(g.number, (-1, -1)):
                    order.append((g.number, n, i))
                last[g.number] = (n, i)
                # The names of one file may be several paths that are followed: then only each is in order.
                if current and g.number < current.number and not g.late and not self.campaign.wide \
                        and not self.unordered():
                    order.append((g.number, n, i))
                current = g if not current or g.number > current.number else current
        lost, ends = 0, []
        for g in self.generations:
            gone = [(n, i) for n in g.blocks for i in range(self.text.count(n)) if (n, i) not in seen]
            if self.kind == "truncate" and g is not self.generations[-1]:
                # Whatever was read is the beginning of the file.
                ends.append(self.ends(g, last.get(g.number)))
                if not gone or gone[0] > last.get(g.number, (-1, -1)):
                    lost += len(gone)
                    continue
            missing += [(g.number, *x) for x in gone]
        who = f"{self.path.name}, {len(self.generations)} files, {self.lines} lines written, {n_lines} stored"
        assert not strange, f"{who}: {len(strange)} lines that nobody wrote: {strange[:3]}"
        assert not twice, f"{who}: {len(twice)} lines are stored twice, the first (block, line) {twice[0]}, " \
            f"of file {home[twice[0][0]].number}"
        assert not missing, f"{who}: {len(missing)} lines are not stored, from (file, block, line) {missing[0]}" \
            f" to {missing[-1]}, of files {sorted({x[0] for x in missing})[:20]}"
        assert not order, f"{who}: {len(order)} lines out of order, the first (file, block, line) {order[0]}"
        self.audit_gaps(who, gaps, ends)
        if self.kind == "banner":
            want = len(self.generations) * BANNER.count(b"\n")
            assert banners == want, f"{who}: {banners} lines of file heads stored, {want} written"
        return n_lines, lost

    def ends(self, g, last):
        """The offset behind the last stored line of a file, and the file's size."""
        size = stored = 0
        for n in g.blocks:
            data = self.text.block(n)
            if last and n < last[0]:
                stored = size + len(data)
            elif last and n == last[0]:
                stored = size + sum(len(line) + 1 for line in data.split(b"\n")[:last[1] + 1])
            size += len(data)
        return stored, size

    def audit_gaps(self, who, gaps, ends):
        """Each loss is told once at most, and truly; a size that nobody saw in time tells nothing."""
        self.lost_bytes, self.told_bytes = sum(b - a for a, b in ends), sum(b - a for _, a, b in gaps)
        fits = [[i for i, (stored, size) in enumerate(ends) if size >= end and
                 (stored >= start if vague else stored == start)] for vague, start, end in gaps]
        left = unmatched(fits)
        assert left is None, f"{who}: told that bytes {gaps[left][1]} to {gaps[left][2]} are lost, which is so of " \
            f"no file: told {gaps}, lost {sorted(ends)}"


def unmatched(fits):
    """fits[i]: what i may be matched with, each once.  The first for which nothing is left, or None."""
    taken = {}

    def place(i, tried):
        for at in fits[i]:
            if at not in tried:
                tried.add(at)
                if at not in taken or place(taken[at], tried):
                    taken[at] = i
                    return True
        return False

    return next((i for i in range(len(fits)) if not place(i, set())), None)


class Reader:
    """The bytes of an application as the command line prints them, page by page through the API."""

    def __init__(self, server, path):
        self.child = subprocess.Popen(
            [sawlog.SAWLOG, "query", f'{{app="{path.stem}"}}', "--forward", "--limit", "0", "--since", "48h",
             "-o", "raw", "--addr", server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def take(self, n):
        return self.child.stdout.read(n)

    def lines(self):
        for line in self.child.stdout:
            yield line[:-1]
        assert self.child.wait() == 0, self.child.stderr.read()[-500:]

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.child.stdout.close()
        self.child.stderr.close()
        self.child.kill()
        self.child.wait()


class Watcher(threading.Thread):
    """How many lines of each path are stored: a lower bound at any time."""

    def __init__(self, campaign):
        super().__init__(daemon=True)
        self.campaign = campaign

    def run(self):
        while not self.campaign.done:
            try:
                self.campaign.counts.update(counts(self.campaign.server))
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(0.15)


def counts(server):
    answer = server.get("/loki/api/v1/query", {
        "query": 'sum by (app) (count_over_time({input="file"}[2d]))'}).json()
    return {s["metric"]["app"]: int(float(s["value"][1])) for s in answer["data"]["result"]}


class Campaign:
    """`rotations` rotations of files of `mean_bytes` in the mean, at `rate` bytes a second in all.
    With `mutant` ("store" or "file") the server or the forwarder is a build with a protection off.
    With `wide` the forwarder's glob takes in the rotated names too: it finds a file by any of them."""

    def __init__(self, nodes, seed, rotations=200, mean_bytes=1.0e6, rate=120e6, kinds=KINDS, mutant=None,
                 kills=True, reads_packed=False, wide=False):
        self.seed, self.random, self.kinds, self.kills = seed, random.Random(seed), kinds, kills
        self.rotations_each = -(-rotations // len(kinds))
        self.mean_bytes, self.rate_each, self.reads_packed = mean_bytes, rate / len(kinds), reads_packed
        self.counts, self.over, self.done, self.wide = {}, False, False, wide
        self.patience = 5 if mutant else 30
        self.forwarder_lock = threading.Lock()
        self.counted = {"server": 0, "forwarder": 0, "both": 0, "stopped": 0, "long": 0, "reborn": 0}
        self.logs = nodes.folder / "logs"
        self.logs.mkdir()
        self.writers = [Writer(self, i, kind, self.logs / f"{kind}.log") for i, kind in enumerate(kinds)]
        binary = {m: sawlog.SAWLOG + f"-mutant{x}" for m, x in (("store", ""), ("file", "-file"))}
        self.server = nodes.server(config="memory: 96MiB\n", binary=binary["store"] if mutant == "store" else sawlog.SAWLOG)
        self.forwarder = nodes.forwarder(self.server, self.logs / ("*.log*" if wide else "*.log"),
                                         binary=binary["file"] if mutant == "file" else sawlog.SAWLOG)
        # Files that are rotated before they are first followed are nobody's.
        positions = self.forwarder.data / "file" / "positions"
        sawlog.wait_for("the forwarder follows the files", lambda: positions.exists() and all(
            str(w.path) in positions.read_text() for w in self.writers))

    # -- kills

    def strike(self):
        """Kill one or both, and start again what was killed."""
        for p in (self.server, self.forwarder):
            assert p.running, f"the {p.name} ended by itself: {p.err[-2000:]}"
        who = self.random.choice(["server", "forwarder", "forwarder", "both", "stopped", "long", "reborn"])
        if who == "server":
            self.server.kill(signal.SIGKILL)
        elif not self.forwarder_lock.acquire(timeout=0.05):
            return
        else:
            try:
                if who == "reborn":
                    self.reborn()
                else:
                    code = self.forwarder.kill(signal.SIGTERM if who == "stopped" else signal.SIGKILL)
                    assert who != "stopped" or code == 0, f"stopped with {code}: {self.forwarder.err[-2000:]}"
                    if who == "both":
                        self.server.kill(signal.SIGKILL)
                    if who == "long":
                        self.wait_rotations(self.random.randint(5, 40))
            finally:
                if not self.server.running:
                    self.server.start()
                if not self.forwarder.running:
                    self.forwarder.start()
                self.forwarder_lock.release()
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * 0.2)
        if not self.server.running:
            self.server.start()
        self.counted[who] += 1

    def n_rotations(self):
        return sum(w.rotations for w in self.writers)

    def wait_rotations(self, n):
        """No forwarder runs meanwhile.  A writer may wait for one: not longer than a second."""
        want, end = self.n_rotations() + n, time.monotonic() + 1
        while self.n_rotations() < want and time.monotonic() < end and not self.all_finished():
            time.sleep(0.01)

    def reborn(self):
        """Give the path of that kind a new file while no forwarder runs."""
        w = next((w for w in self.writers if w.kind == "reborn"), None)
        if not w or w.finished:
            return
        with w.turn:
            if w.finished:
                return
            end = time.monotonic() + 5
            while w.stored() < w.lines and time.monotonic() < end:
                time.sleep(0.02)
            # Also the acknowledgement's way back: else the position is still before the end.
            if w.stored() < w.lines:
                return
            self.forwarder.kill(signal.SIGKILL)
            w.reborn()

    def all_finished(self):
        return all(w.finished for w in self.writers)

    def run(self):
        watcher = Watcher(self)
        began = time.monotonic()
        for t in [watcher, *self.writers]:
            t.start()
        try:
            while not self.all_finished():
                time.sleep(self.random.uniform(0.1, 0.6))
                if self.kills:
                    self.strike()
            wrote_s = time.monotonic() - began
            for w in self.writers:
                if w.error:
                    raise w.error
            written = sum(w.bytes for w in self.writers)
            self.settle()
            caught_up_s = time.monotonic() - began
        finally:
            self.over = self.done = True
            for w in self.writers:
                w.join(5)
            watcher.join(5)
        lines = lost = 0
        for w in self.writers:
            n, gone = w.audit(self.server)
            lines, lost = lines + n, lost + gone
        self.audit_metrics(lines)
        return {"rotations": self.n_rotations(), "lines": lines, "MB": round(written / 1e6),
                "MB/s": round(written / 1e6 / wrote_s), "s": round(caught_up_s),
                "truncated": lost, "truncated bytes": sum(w.lost_bytes for w in self.writers),
                "told": sum(w.told_bytes for w in self.writers), "same inode": sum(w.same_inode for w in self.writers), **self.counted}

    def settle(self):
        """All that can come is there; of what was truncated nobody knows how much: it stands still."""
        sure = [w for w in self.writers if w.kind != "truncate"]
        began, last, since = time.monotonic(), None, time.monotonic()
        while time.monotonic() - since < self.patience:
            time.sleep(0.2)
            if self.kills and time.monotonic() - began < 10 and self.random.random() < 0.2:
                self.strike()
            if self.counts != last:
                last, since = dict(self.counts), time.monotonic()
            still = time.monotonic() - since > (4 if sawlog.SANITIZED else 2)
            if still and all(w.stored() >= w.lines for w in sure):
                return

    def audit_metrics(self, lines):
        m = self.server.metrics()

        def total_of(name):
            return sum(v for k, v in m.items() if k.startswith(f"sawlog_{name}"))

        received = total_of("received_records_total")
        accounted = sum(map(total_of, ["committed_records_total", "deduplicated_records_total",
                                       "rejected_records_total", "dropped_records_total"]))
        assert received == accounted, f"received {received}, accounted for {accounted}"
        assert total_of("committed_records_total") == lines, "committed is not what is stored"


def campaign(nodes, seed, **kw):
    print(f"seed {seed}")
    return Campaign(nodes, seed, **kw).run()
