# SPDX-License-Identifier: Apache-2.0
"""Loggregator's wire formats for tests: messages of all three generations, written and read, and emitters.

Written from the public .proto files and the behaviour of the original emitters; nothing of sawlog's own code is
used, so that both sides can be wrong only independently of each other.

    e = Emitter(("127.0.0.1", port), app="my-app", secret="secret")    # 2013, signed; without a secret bare
    e.emit("one\\ntwo")                       # two datagrams, as the original emitters split
    e = DropsondeEmitter(address, app="my-app", secret=None)           # events.Envelope, HMAC with a secret
    e.emit("text", err=True); e.metric("cpu", 1.5, "%"); e.counter("requests", 1, 10)

    LogMessage.decode(frame)                  # what /tail/ sends
    Envelope.decode(frame)                    # what /apps/<id>/stream and /firehose send
    v2_envelope(...), v2_batch([...]), V2.decode(frame)
    multipart(body, content_type)             # the parts of /recent
"""
import dataclasses
import hashlib
import hmac
import os
import re
import socket
import struct
import time

# --- the wire format of protobuf ---------------------------------------------------------------------------------


def varint(n):
    """A number as on the wire; negative ones take ten bytes, as int64 does."""
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def zigzag(n):
    return n << 1 ^ n >> 63


def unzigzag(n):
    return n >> 1 ^ -(n & 1)


def signed(n):
    return n - (1 << 64) if n >> 63 else n


def number(field, n):
    return varint(field << 3) + varint(n)


def chunk(field, data):
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    return varint(field << 3 | 2) + varint(len(data)) + data


def double(field, value):
    return varint(field << 3 | 1) + struct.pack("<d", value)


def fields(data):
    """(number, value) of each field: ints, or bytes for strings, messages and fixed64."""
    at = 0

    def take():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                return n

    while at < len(data):
        tag = take()
        wire = tag & 7
        if wire == 0:
            yield tag >> 3, take()
            continue
        n = {1: 8, 5: 4}.get(wire) or take()
        if at + n > len(data):
            raise ValueError("a field is cut")
        yield tag >> 3, bytes(data[at:at + n])
        at += n


def text(b):
    return b.decode("utf-8", "surrogateescape")


def pairs(data, into, value=text):
    """An entry of a map field."""
    entry = dict(fields(data))
    into[text(entry.get(1, b""))] = value(entry.get(2, b""))


# --- 2013 --------------------------------------------------------------------------------------------------------

CLOUD_CONTROLLER, ROUTER, UAA, DEA, WARDEN_CONTAINER, LOGGREGATOR, UNKNOWN = range(1, 8)
SHORT_NAMES = {CLOUD_CONTROLLER: "API", ROUTER: "RTR", UAA: "UAA", DEA: "DEA", WARDEN_CONTAINER: "App"}


@dataclasses.dataclass
class LogMessage:
    message: bytes = b""
    err: bool = False
    timestamp: int = 0
    app: str = ""
    source_type: int = None  # the field that was removed
    source_id: str = None
    drains: list = dataclasses.field(default_factory=list)
    source_name: str = None

    def encode(self):
        out = chunk(1, self.message) + number(2, 2 if self.err else 1) + number(3, zigzag(self.timestamp))
        out += chunk(4, self.app)
        if self.source_type is not None:
            out += number(5, self.source_type)
        if self.source_id is not None:
            out += chunk(6, self.source_id)
        for url in self.drains:
            out += chunk(7, url)
        if self.source_name is not None:
            out += chunk(8, self.source_name)
        return out

    @classmethod
    def decode(cls, data):
        m = cls()
        need = {1, 2, 3, 4}
        for field, value in fields(data):
            need.discard(field)
            if field == 1:
                m.message = value
            elif field == 2:
                m.err = {1: False, 2: True}[value]
            elif field == 3:
                m.timestamp = unzigzag(value)
            elif field == 4:
                m.app = text(value)
            elif field == 5:
                m.source_type = value
            elif field == 6:
                m.source_id = text(value)
            elif field == 7:
                m.drains.append(text(value))
            elif field == 8:
                m.source_name = text(value)
        if need:
            raise ValueError(f"required fields are missing: {sorted(need)}")
        return m

    @property
    def source(self):
        """As the command line shows it: App/0."""
        name = SHORT_NAMES.get(self.source_type) or self.source_name or ""
        return f"{name}/{self.source_id}" if self.source_id else name


def sign_2013(message_text, secret, iv=None):
    """AES-128-CBC of the digest of the text, behind its random IV."""
    key = hashlib.sha256(secret.encode()).digest()[:16]
    digest = hashlib.sha256(message_text).digest()
    iv = iv or os.urandom(16)
    return iv + cbc_encrypt(key, iv, digest + b"\x80" + bytes(15))


def log_envelope(message, secret, key=None, iv=None):
    """A LogMessage signed in a LogEnvelope."""
    return (chunk(1, message.app if key is None else key) + chunk(2, sign_2013(message.message, secret, iv)) +
            chunk(3, message.encode()))


def split_lines(data):
    """What the original emitters make of a text: lines, the blank ones left out, cut at 8704 bytes."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    most, suffix = 9 * 1024 - 512, b"TRUNCATED"
    for line in re.split(rb"[\n\r]", data):
        if line.strip():
            yield line if len(line) <= most else line[:most - len(suffix)] + suffix


class Datagrams:
    """A socket that sends datagrams to (host, port) or "host:port"."""

    def __init__(self, address):
        if isinstance(address, str):
            host, _, port = address.rpartition(":")
            address = host, int(port)
        self.sock = socket.socket(type=socket.SOCK_DGRAM)
        self.sock.connect(address)

    def send(self, datagram):
        self.sock.send(datagram)
        return datagram

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Emitter(Datagrams):
    """The emitter of 2013: signed envelopes with a secret, bare messages without."""

    def __init__(self, address, app="my-app", secret=None, source_type=WARDEN_CONTAINER, source_name="App",
                 source_id="0", drains=()):
        super().__init__(address)
        self.app, self.secret, self.source_type = app, secret, source_type
        self.source_name, self.source_id, self.drains = source_name, source_id, list(drains)

    def message(self, line, err=False, timestamp=None):
        return LogMessage(line, err, time.time_ns() if timestamp is None else timestamp, self.app, self.source_type,
                          self.source_id, self.drains, self.source_name)

    def datagram(self, line, err=False, timestamp=None):
        m = self.message(line, err, timestamp)
        return log_envelope(m, self.secret) if self.secret else m.encode()

    def emit(self, data, err=False, timestamp=None):
        """How many datagrams were sent."""
        n = 0
        if self.app.strip():
            for line in split_lines(data):
                self.send(self.datagram(line, err, timestamp))
                n += 1
        return n


def modulo(app, n):
    """The server of an application among n, as routers of 2013 choose it."""
    return int.from_bytes(app.encode(), "big") % n


# --- dropsonde ---------------------------------------------------------------------------------------------------

HTTP_START_STOP, LOG_MESSAGE, VALUE_METRIC, COUNTER_EVENT, ERROR, CONTAINER_METRIC = range(4, 10)


@dataclasses.dataclass
class Envelope:
    """events.Envelope: `event` holds the fields of what is inside, by the names of the .proto file."""
    kind: int
    event: dict
    origin: str = "origin"
    timestamp: int = 0
    deployment: str = None
    job: str = None
    index: str = None
    ip: str = None
    tags: dict = dataclasses.field(default_factory=dict)

    # Name and type of the fields of each event: b text or bytes, n number, d double, u UUID, s repeated text.
    EVENTS = {
        HTTP_START_STOP: (7, {1: "n:startTimestamp", 2: "n:stopTimestamp", 3: "u:requestId", 4: "n:peerType",
                              5: "n:method", 6: "b:uri", 7: "b:remoteAddress", 8: "b:userAgent", 9: "n:statusCode",
                              10: "n:contentLength", 12: "u:applicationId", 13: "n:instanceIndex",
                              14: "b:instanceId", 15: "s:forwarded"}),
        LOG_MESSAGE: (8, {1: "b:message", 2: "n:message_type", 3: "n:timestamp", 4: "b:app_id", 5: "b:source_type",
                          6: "b:source_instance"}),
        VALUE_METRIC: (9, {1: "b:name", 2: "d:value", 3: "b:unit"}),
        COUNTER_EVENT: (10, {1: "b:name", 2: "n:delta", 3: "n:total"}),
        ERROR: (11, {1: "b:source", 2: "n:code", 3: "b:message"}),
        CONTAINER_METRIC: (12, {1: "b:applicationId", 2: "n:instanceIndex", 3: "d:cpuPercentage", 4: "n:memoryBytes",
                                5: "n:diskBytes", 6: "n:memoryBytesQuota", 7: "n:diskBytesQuota"}),
    }

    def encode(self):
        field, names = self.EVENTS[self.kind]
        numbers = {name[2:]: (n, name[0]) for n, name in names.items()}
        inner = b""
        for name, value in self.event.items():
            n, shape = numbers[name]
            if shape == "n":
                inner += number(n, value)
            elif shape == "d":
                inner += double(n, value)
            elif shape == "u":
                inner += chunk(n, uuid_encode(value))
            else:
                for one in value if shape == "s" else [value]:
                    inner += chunk(n, one)
        out = chunk(1, self.origin) + number(2, self.kind) + number(6, self.timestamp) + chunk(field, inner)
        for n, value in (13, self.deployment), (14, self.job), (15, self.index), (16, self.ip):
            if value is not None:
                out += chunk(n, value)
        for name, value in self.tags.items():
            out += chunk(17, chunk(1, name) + chunk(2, value))
        return out

    @classmethod
    def decode(cls, data):
        x = cls(0, {}, origin=None)
        inner = {}
        for field, value in fields(data):
            if field == 1:
                x.origin = text(value)
            elif field == 2:
                x.kind = value
            elif field == 6:
                x.timestamp = signed(value)
            elif 7 <= field <= 12:
                inner[field] = value
            elif field in (13, 14, 15, 16):
                setattr(x, {13: "deployment", 14: "job", 15: "index", 16: "ip"}[field], text(value))
            elif field == 17:
                pairs(value, x.tags)
        if x.origin is None or x.kind not in cls.EVENTS:
            raise ValueError("origin or eventType is missing")
        field, names = cls.EVENTS[x.kind]
        for n, value in fields(inner[field]):
            shape, name = names[n].split(":")
            if shape == "n":
                value = signed(value)
            elif shape == "d":
                value, = struct.unpack("<d", value)
            elif shape == "u":
                value = uuid_decode(value)
            elif name != "message":
                value = text(value)
            if shape == "s":
                x.event.setdefault(name, []).append(value)
            else:
                x.event[name] = value
        return x

    @property
    def message(self):
        """Text of a log message."""
        return self.event["message"]


def uuid_encode(value):
    raw = bytes.fromhex(value.replace("-", ""))
    return number(1, int.from_bytes(raw[:8], "little")) + number(2, int.from_bytes(raw[8:], "little"))


def uuid_decode(data):
    halves = dict(fields(data))
    raw = (halves.get(1, 0).to_bytes(8, "little") + halves.get(2, 0).to_bytes(8, "little")).hex()
    return "-".join([raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]])


def sign_dropsonde(envelope, secret):
    return hmac.new(secret.encode(), envelope, hashlib.sha256).digest() + envelope


class DropsondeEmitter(Datagrams):
    """What applications' agents send from 2014 on."""

    def __init__(self, address, app="my-app", secret=None, origin="origin", source_type="APP", instance="0", tags=None):
        super().__init__(address)
        self.app, self.secret, self.origin = app, secret, origin
        self.source_type, self.instance, self.tags = source_type, instance, dict(tags or {})

    def put(self, kind, event, timestamp=None, **more):
        x = Envelope(kind, event, self.origin, time.time_ns() if timestamp is None else timestamp, tags=self.tags,
                     **more)
        data = x.encode()
        return self.send(sign_dropsonde(data, self.secret) if self.secret else data)

    def emit(self, line, err=False, timestamp=None):
        timestamp = time.time_ns() if timestamp is None else timestamp
        return self.put(LOG_MESSAGE, {"message": line, "message_type": 2 if err else 1, "timestamp": timestamp,
                                      "app_id": self.app, "source_type": self.source_type,
                                      "source_instance": self.instance}, timestamp)

    def metric(self, name, value, unit, **more):
        return self.put(VALUE_METRIC, {"name": name, "value": value, "unit": unit}, **more)

    def counter(self, name, delta, total, **more):
        return self.put(COUNTER_EVENT, {"name": name, "delta": delta, "total": total}, **more)

    def container(self, cpu, memory, disk, memory_quota=0, disk_quota=0, index=0, **more):
        return self.put(CONTAINER_METRIC, {
            "applicationId": self.app, "instanceIndex": index, "cpuPercentage": cpu, "memoryBytes": memory,
            "diskBytes": disk, "memoryBytesQuota": memory_quota, "diskBytesQuota": disk_quota}, **more)

    def http(self, uri, status, start, stop, method=1, peer=2, **more):
        return self.put(HTTP_START_STOP, {
            "startTimestamp": start, "stopTimestamp": stop, "requestId": "01234567-89ab-cdef-0123-456789abcdef",
            "peerType": peer, "method": method, "uri": uri, "remoteAddress": "10.0.0.1:4711",
            "userAgent": "agent/1.0", "statusCode": status, "contentLength": 12, "applicationId": self.app,
            "instanceIndex": 0, "instanceId": "i-0"}, **more)

    def error(self, source, code, message, **more):
        return self.put(ERROR, {"source": source, "code": code, "message": message}, **more)


# --- v2 ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class V2:
    """loggregator.v2.Envelope: `kind` is log, counter, gauge, timer or event, `event` its fields."""
    source_id: str = ""
    instance_id: str = ""
    kind: str = None
    event: dict = dataclasses.field(default_factory=dict)
    timestamp: int = 0
    tags: dict = dataclasses.field(default_factory=dict)
    deprecated_tags: dict = dataclasses.field(default_factory=dict)

    def encode(self):
        out = number(1, self.timestamp) + chunk(2, self.source_id)
        for name, value in self.deprecated_tags.items():
            coded = (chunk(1, value) if isinstance(value, str) else number(2, value) if isinstance(value, int)
                     else double(3, value))
            out += chunk(3, chunk(1, name) + chunk(2, coded))
        x = self.event
        if self.kind == "log":
            out += chunk(4, chunk(1, x["payload"]) + (number(2, 1) if x.get("err") else b""))
        elif self.kind == "counter":
            out += chunk(5, chunk(1, x["name"]) + number(2, x.get("delta", 0)) + number(3, x.get("total", 0)))
        elif self.kind == "gauge":
            out += chunk(6, b"".join(
                chunk(1, chunk(1, name) + chunk(2, chunk(1, unit) + double(2, value)))
                for name, (unit, value) in x.items()))
        elif self.kind == "timer":
            out += chunk(7, chunk(1, x["name"]) + number(2, x["start"]) + number(3, x["stop"]))
        elif self.kind == "event":
            out += chunk(10, chunk(1, x["title"]) + chunk(2, x["body"]))
        out += chunk(8, self.instance_id)
        for name, value in self.tags.items():
            out += chunk(9, chunk(1, name) + chunk(2, value))
        return out

    @classmethod
    def decode(cls, data):
        e = cls()
        for field, value in fields(data):
            if field == 1:
                e.timestamp = signed(value)
            elif field == 2:
                e.source_id = text(value)
            elif field == 3:
                pairs(value, e.deprecated_tags, lambda v: dict(fields(v)))
            elif field == 8:
                e.instance_id = text(value)
            elif field == 9:
                pairs(value, e.tags)
            elif field in (4, 5, 6, 7, 10):
                e.kind = {4: "log", 5: "counter", 6: "gauge", 7: "timer", 10: "event"}[field]
                e.event = e._inner(value)
        return e

    def _inner(self, data):
        if self.kind == "gauge":
            metrics = {}
            for _, entry in fields(data):
                pairs(entry, metrics, lambda v: (lambda d: (
                    text(d.get(1, b"")), struct.unpack("<d", d.get(2, bytes(8)))[0]))(dict(fields(v))))
            return metrics
        got = dict(fields(data))
        if self.kind == "log":
            return {"payload": got.get(1, b""), "err": got.get(2, 0) == 1}
        if self.kind == "counter":
            return {"name": text(got.get(1, b"")), "delta": got.get(2, 0), "total": got.get(3, 0)}
        if self.kind == "timer":
            return {"name": text(got.get(1, b"")), "start": signed(got.get(2, 0)), "stop": signed(got.get(3, 0))}
        return {"title": text(got.get(1, b"")), "body": text(got.get(2, b""))}


def v2_log(app, payload, err=False, instance="0", timestamp=None, tags=None):
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogateescape")
    return V2(app, instance, "log", {"payload": payload, "err": err},
              time.time_ns() if timestamp is None else timestamp, tags or {"source_type": "APP/PROC/WEB"})


def v2_batch(envelopes):
    return b"".join(chunk(1, e.encode()) for e in envelopes)


# --- /recent -----------------------------------------------------------------------------------------------------


def multipart(body, content_type):
    """The parts of an answer, cut as Loggregator's own clients do: by what stands behind "boundary="."""
    boundary = re.search(r"boundary=(.*)", content_type).group(1).encode()
    assert b'"' not in boundary and b";" not in boundary, boundary
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    assert pieces[0] == b"" and pieces[-1].startswith(b"--"), "no multipart body"
    for piece in pieces[1:-1]:
        head, blank, part = piece.partition(b"\r\n\r\n")
        assert blank and head == b"", f"a part with headers: {head!r}"
        yield part


# --- AES, for what no library is needed (FIPS 197) ----------------------------------------------------------------


def _tables():
    sbox, p, q = bytearray(256), 1, 1
    while True:
        p ^= (p << 1) & 0xFF ^ (0x1B if p & 0x80 else 0)
        for shift in 1, 2, 4:
            q ^= q << shift & 0xFF
        q ^= 0x09 if q & 0x80 else 0
        x = q
        for shift in 1, 2, 3, 4:
            x ^= (q << shift | q >> (8 - shift)) & 0xFF
        sbox[p] = x ^ 0x63
        if p == 1:
            break
    sbox[0] = 0x63
    return bytes(sbox), bytes((b << 1) & 0xFF ^ (0x1B if b & 0x80 else 0) for b in range(256))


SBOX, TWICE = _tables()


def _round_keys(key):
    words = [key[i:i + 4] for i in range(0, 16, 4)]
    rcon = 1
    for i in range(4, 44):
        w = words[-1]
        if i % 4 == 0:
            w = bytes(SBOX[b] for b in w[1:] + w[:1])
            w = bytes([w[0] ^ rcon]) + w[1:]
            rcon = TWICE[rcon]
        words.append(bytes(a ^ b for a, b in zip(words[-4], w)))
    return [b"".join(words[i:i + 4]) for i in range(0, 44, 4)]


# Where each byte of a block goes in ShiftRows.
_SHIFT = [(i + 4 * (i % 4)) % 16 for i in range(16)]


def _encrypt(keys, block):
    state = bytes(a ^ b for a, b in zip(block, keys[0]))
    for n, key in enumerate(keys[1:], 1):
        s = [SBOX[state[i]] for i in _SHIFT]
        if n < 10:
            mixed = []
            for c in range(0, 16, 4):
                a = s[c:c + 4]
                whole = a[0] ^ a[1] ^ a[2] ^ a[3]
                mixed += [a[i] ^ whole ^ TWICE[a[i] ^ a[(i + 1) % 4]] for i in range(4)]
            s = mixed
        state = bytes(a ^ b for a, b in zip(s, key))
    return state


def cbc_encrypt(key, iv, data):
    keys, out = _round_keys(key), b""
    for at in range(0, len(data), 16):
        iv = _encrypt(keys, bytes(a ^ b for a, b in zip(data[at:at + 16], iv)))
        out += iv
    return out
