# SPDX-License-Identifier: Apache-2.0
"""Pickles made to harm who reads them: each by a name, most with what the real unpickler would do with them.

None of them is ever unpickled here; they are bytes.  `python3 hostile_pickles.py FOLDER` writes them as files.
"""
import io
import itertools
import pickle
import struct
import sys
from pathlib import Path


def u1(s):
    return b"\x8c" + bytes([len(s)]) + s


def record(value, key=b"payload"):
    """A good record whose last attribute is `value`: it has to be kept, whatever that is."""
    return (b"\x80\x04}(" + u1(b"name") + u1(b"hostile") + u1(b"msg") + u1(b"kept") + u1(b"levelno") + b"K\x14"
            + u1(key) + value + b"u.")


# Code that a pickle may ask to be called.
CALLS = [
    ("posix", "system", "X\x02\0\0\0id"), ("os", "system", "X\x02\0\0\0id"), ("nt", "system", "X\x02\0\0\0id"),
    ("subprocess", "Popen", "]X\x02\0\0\0ida"), ("subprocess", "check_output", "X\x02\0\0\0id"),
    ("builtins", "eval", "X\x011".replace("\x011", "\x01\0\0\x001")), ("builtins", "exec", "X\x01\0\0\x001"),
    ("builtins", "open", "X\x0b\0\0\0/etc/passwd"), ("builtins", "__import__", "X\x02\0\0\0os"),
    ("builtins", "getattr", "X\x02\0\0\0osX\x06\0\0\0system"), ("builtins", "compile", "X\x01\0\0\x001"),
    ("builtins", "input", "X\x01\0\0\x001"), ("builtins", "breakpoint", ""), ("builtins", "exit", "K\x01"),
    ("sys", "exit", "K\x01"), ("os", "_exit", "K\x01"), ("os", "abort", ""), ("os", "kill", "K\x01K\x09"),
    ("os", "fork", ""), ("os", "execv", "X\x07\0\0\0/bin/sh]X\x02\0\0\0sha"), ("pty", "spawn", "X\x07\0\0\0/bin/sh"),
    ("shutil", "rmtree", "X\x01\0\0\0/"), ("os", "remove", "X\x01\0\0\0/"), ("socket", "create_connection", ""),
    ("urllib.request", "urlopen", "X\x10\0\0\0http://127.0.0.1"), ("webbrowser", "open", "X\x01\0\0\0/"),
    ("runpy", "run_path", "X\x04\0\0\0/x.p"), ("code", "interact", ""), ("ctypes", "CDLL", "N"),
    ("ctypes", "string_at", "K\x00K\x08"), ("importlib", "import_module", "X\x02\0\0\0os"), ("timeit", "timeit", ""),
    ("pickle", "loads", "C\x01."), ("marshal", "loads", "C\x01."), ("types", "CodeType", ""), ("types", "FunctionType", ""),
    ("logging", "shutdown", ""), ("logging.config", "listen", ""), ("gc", "get_objects", ""), ("time", "sleep", "Me\x00"),
    ("signal", "alarm", "K\x01"), ("threading", "Thread", ""), ("faulthandler", "_sigsegv", ""),
    ("operator", "attrgetter", "X\x06\0\0\0system"), ("functools", "partial", ""), ("copyreg", "__newobj__", ""),
    ("builtins", "bytearray", "J\xff\xff\xff\x7f"), ("builtins", "bytes", "J\xff\xff\xff\x7f"),
    ("builtins", "range", "K\x00J\xff\xff\xff\x7f"), ("builtins", "list", "J\xff\xff\xff\x7f"),
    ("builtins", "pow", "K\x09J\xff\xff\xff\x7f"), ("decimal", "Decimal", "X\x0b\0\0\x001e999999999"),
]


def calls():
    for module, name, args in CALLS:
        args = args.encode("latin1")
        plain = module.encode() + b"\n" + name.encode() + b"\n"
        stacked = u1(module.encode()) + u1(name.encode()) + b"\x93"
        yield f"reduce-{module}.{name}", b"c" + plain + b"(" + args + b"tR."
        yield f"inst-{module}.{name}", b"(" + args + b"i" + plain + b"."
        yield f"obj-{module}.{name}", b"(c" + plain + args + b"o."
        yield f"record-{module}.{name}", record(stacked + b"(" + args + b"tR")
        yield f"newobj-{module}.{name}", record(stacked + b"(" + args + b"t\x81")


def nesting():
    yield "reduce-of-reduce", b"cbuiltins\ngetattr\n(cos\nsystem\n(X\x02\0\0\0idtRX\x01\0\0\0atR(tR."
    yield "reduce-deep", b"cos\nsystem\n" + b"(" * 150 + b"tR" * 150 + b"."
    yield "reduce-chain", b"cos\nsystem\n" + b")R" * 50_000 + b"."
    for n in (199, 200, 201, 100_000):
        yield f"marks-{n}", b"(" * n + b"t" * n + b"."
        yield f"lists-{n}", b"]" * n + b"a" * (n - 1) + b"."
        yield f"tuples-{n}", b")" + b"\x85" * n + b"."
        yield f"dicts-{n}", b"}" + b"K\x01}" * n + b"s" * n + b"."
        yield f"record-tuples-{n}", record(b")" + b"\x85" * n)
        yield f"frozensets-{n}", b"(" * n + b"\x91" * n + b"."
        yield f"exceptions-{n}", b"cbuiltins\nValueError\nq\0N" + b"\x85q\x01h\0h\x01\x81" * n + b"."


def cycles():
    yield "list-in-itself", b"]\x94h\0a."
    yield "dict-in-itself", b"}\x94K\x01h\0s."
    yield "two-lists", b"]\x94]\x94h\0ah\x01a."
    yield "tuple-through-list", b"]\x94h\0\x85a."
    yield "set-in-itself", b"\x8f\x94(h\0\x90."
    yield "record-with-itself", b"\x80\x04}\x94(" + u1(b"msg") + u1(b"kept") + u1(b"self") + b"h\0u."
    yield "record-as-its-args", (b"\x80\x04}\x94(" + u1(b"msg") + u1(b"kept %(args)s") + u1(b"args") + b"h\0u.")
    yield "record-as-its-msg", b"\x80\x04}\x94(" + u1(b"msg") + b"h\0u."
    yield "object-as-its-state", b"\x80\x04clogging\nLogRecord\n)\x81\x94h\0b."
    yield "exception-of-itself", b"cbuiltins\nValueError\n]\x94\x85R\x940h\0h\x01a."
    yield "key-is-its-dict", b"}\x94h\0K\x01s."


def bombs():
    doubled = b"]\x94" + b"".join(b"](h%sh%se\x94" % (bytes([i]), bytes([i])) for i in range(100)) + b"."
    yield "doubled-lists", doubled
    yield "record-doubled-lists", record(doubled[:-1])
    yield "doubled-tuples", b")q\0" + b"".join(b"h%sh%s\x86q%s" % (bytes([i]), bytes([i]), bytes([i + 1]))
                                              for i in range(150)) + b"."
    yield "doubled-dicts", b"}q\0" + b"".join(b"}(K\x01h%sK\x02h%suq%s" % (bytes([i]), bytes([i]), bytes([i + 1]))
                                             for i in range(150)) + b"."
    text = b"X" + struct.pack("<I", 100_000) + b"x" * 100_000
    yield "many-of-a-text", b"(" + text + b"q\0" + b"h\0" * 100_000 + b"l."
    yield "encode-again-and-again", text + b"q\0" + b"0c_codecs\nencode\n(h\0X\x06\0\0\0latin1tR" * 2000 + b"."
    yield "names-again-and-again", b"S'" + b"m" * 50_000 + b"'\nq\0" + b"h\0h\0\x93" * 5000 + b"."
    yield "message-of-many-lists", (b"\x80\x04](" + b"K\x01" * 3000 + b"e\x940}(" + u1(b"msg") + b"X"
                                   + struct.pack("<I", 80_000) + b"%.0s" * 20_000 + u1(b"args") + b"(" + b"h\0" * 20_000
                                   + b"tu.")
    yield "message-of-wide-numbers", (b"}(" + u1(b"msg") + b"X" + struct.pack("<I", 70_000) + b"%9999d" * 10_000
                                     + b" " * 10_000 + u1(b"args") + b"(" + b"K\x01" * 10_000 + b"tu.")
    yield "message-of-large-numbers", (b"\x80\x04\x8a\x80" + b"\x7f" * 128 + b"\x940}(" + u1(b"msg") + b"X"
                                      + struct.pack("<I", 40_000) + b"%x" * 20_000 + u1(b"args") + b"(" + b"h\0" * 20_000
                                      + b"tu.")
    yield "message-of-digits", (b"}(" + u1(b"msg") + u1(b"kept %x %o") + u1(b"args") + b"(L" + b"9" * 9000 + b"L\nL"
                               + b"7" * 9000 + b"L\ntu.")
    yield "message-of-keys", (b"}(" + u1(b"msg") + b"X" + struct.pack("<I", 50_000) + b"%(z)s" * 10_000 + u1(b"args") + b"}("
                             + b"".join(b"J%sN" % struct.pack("<I", i) for i in range(20_000)) + b"uu.")
    yield "many-attributes", b"}(" + u1(b"msg") + u1(b"kept") + b"".join(u1(b"a%d" % i) + b"K\x01" for i in range(5000)) + b"u."
    yield "large-attributes", b"}(" + u1(b"msg") + u1(b"kept") + b"".join(u1(b"a%d" % i) + text for i in range(20)) + b"u."
    yield "long-attribute-name", b"}(" + u1(b"msg") + u1(b"kept") + text + b"K\x01u."
    yield "memo-far-away", b"Nr\xff\xff\xff\x7f."
    yield "memo-further", b"Nr\xff\xff\xff\xff."
    yield "memo-in-text", b"Np99999999999999999999\n."
    yield "memo-at-the-limit", b"Nr\x9f\x86\x01\x00."
    yield "memo-behind-the-limit", b"Nr\xa0\x86\x01\x00."
    yield "memo-steps", b"N" + b"".join(b"r" + struct.pack("<I", i * 7) for i in range(20_000)) + b"."
    yield "many-memos", b"N" + b"\x94" * 100_001 + b"."
    yield "many-values", b"(" + b"K\x01" * 100_001 + b"l."
    yield "many-nones", b"(" + b"N" * 6_000_000 + b"l."
    yield "many-dups", b"]" + b"2" * 6_000_000 + b"."
    yield "appends-one-by-one", b"]" + b"Na" * 500_000 + b"."
    yield "growing-in-turn", b"]q\0]q\x01" + b"h\0Nah\x01Na" * 5000 + b"."


def lengths():
    """Lengths that are not there."""
    for op, size in ((b"X", 4), (b"T", 4), (b"B", 4), (b"\x8b", 4), (b"\x8d", 8), (b"\x8e", 8), (b"\x96", 8), (b"\x95", 8),
                     (b"U", 1), (b"C", 1), (b"\x8c", 1), (b"\x8a", 1)):
        for n in (5, 0x7f, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 2**63 - 1, 2**63, 2**64 - 1):
            if n < 1 << 8 * size:
                yield f"length-{op.hex()}-{n:x}", op + n.to_bytes(size, "little") + b"abc."
    yield "frame-of-everything", b"\x80\x04\x95" + b"\xff" * 8 + b"N."
    yield "zero-long", b"\x8a\0."
    yield "long-of-64k", b"\x8b\0\0\1\0" + b"\x80" * 65536 + b"."
    yield "long-of-1m", b"\x8b\0\0\x10\0" + b"\x7f" * (1 << 20) + b"."
    yield "digits-1m", b"L" + b"9" * (1 << 20) + b"L\n."
    yield "zeros-1m", b"L" + b"0" * (1 << 20) + b"1L\n."
    yield "name-of-2m", b"c" + b"a" * (1 << 20) + b"\n" + b"b" * (1 << 21) + b"\n."


def numbers():
    for text in (b"", b"-", b"+", b"0x10", b"1e5", b"1_000", b" 1", b"1 ", b"99999999999999999999", b"-9223372036854775808",
                 b"9223372036854775808", b"\xd9\xa1", b"1\0", b"00", b"01", b"02"):
        yield f"int-{text.hex()}", b"I" + text + b"\n."
        yield f"long-{text.hex()}", b"L" + text + b"L\n."
        yield f"float-{text.hex()}", b"F" + text + b"\n."
    for text in (b"inf", b"-inf", b"nan", b"1e999", b"0x1p3", b"1" * 400, b"infinity"):
        yield f"float-{text[:10].hex()}", b"F" + text + b"\n."
    for created in (float("nan"), float("inf"), -1e300, 1e300, 9e9, -9e9, 5e-324):
        yield f"created-{created}", (b"}(" + u1(b"msg") + u1(b"kept") + u1(b"created") + b"G" + struct.pack(">d", created) + b"u.")
    for level in (b"J\xff\xff\xff\x7f", b"J\0\0\0\x80", b"\x8a\x20" + b"\x7f" * 32, b"N", b"G\x7f\xf8\0\0\0\0\0\0", b"]", b"}",
                  u1(b"INFO"), b"\x88", b"C\x01\x05"):
        yield f"level-{level[:6].hex()}", b"\x80\x04}(" + u1(b"msg") + u1(b"kept") + u1(b"levelno") + level + b"u."


def machine():
    """What the stack and the memo are not there for."""
    for op in range(256):
        op = bytes([op])
        yield f"alone-{op.hex()}", op
        yield f"alone-{op.hex()}-stop", op + b"."
        yield f"behind-mark-{op.hex()}", b"N(" + op + b"."
        yield f"wrong-values-{op.hex()}", b"K\x01NN" + op + b"\0\0\0\0\0\0\0\0\n\n."
        yield f"in-a-list-{op.hex()}", b"]]]" + op + b"\x01\0\0\0\0\0\0\0\n\n."
    yield "empty", b""
    yield "stop", b"."
    yield "mark-left", b"N(."
    yield "stop-behind-mark", b"(N."
    yield "odd-dict", b"(NNNd."
    yield "odd-setitems", b"}(NNNu."
    yield "get-nothing", b"h\x05."
    yield "get-a-hole", b"Nq\x05h\x04."
    yield "get-a-mark", b"N(q\0."
    yield "pop-a-mark", b"N(0."
    yield "pop-all", b"N00."
    yield "build-on-none", b"N}b."
    yield "build-on-list", b"]}b."
    yield "build-on-class", b"cos\nsystem\n}b."
    yield "build-twice", b"clogging\nLogRecord\n)\x81}b}b."
    yield "build-with-slots", b"clogging\nLogRecord\n)\x81}}\x86b."
    yield "build-with-none", b"clogging\nLogRecord\n)\x81Nb."
    yield "build-uuid-of-text", b"cuuid\nUUID\n)\x81}(X\x03\0\0\0intX\x03\0\0\0abcub."
    yield "build-uuid-negative", b"cuuid\nUUID\n)\x81}(X\x03\0\0\0int\x8a\x11" + b"\x80" * 17 + b"ub."
    yield "build-uuid-large", b"cuuid\nUUID\n)\x81}(X\x03\0\0\0int\x8a\x20" + b"\x7f" * 32 + b"ub."
    yield "setattr-of-a-class", b"cbuiltins\nsetattr\n(clogging\nLogRecord\nX\x01\0\0\0aNtR."
    yield "append-to-a-class", b"cos\nsystem\n(NNe."
    yield "items-for-an-object", b"cos\nsystem\n)R(NNu."
    yield "state-then-items", b"cos\nsystem\n)R}b(NNu."
    yield "call-a-number", b"K\x01)R."
    yield "call-with-a-list", b"cos\nsystem\n]R."
    yield "newobj-ex", b"cos\nsystem\n)}(X\x01\0\0\0aNu\x92."
    yield "newobj-ex-of-data", b"cbuiltins\nset\n)}(X\x01\0\0\0aNu\x92."
    yield "stack-global-of-numbers", b"K\x01K\x02\x93."
    yield "stack-global-of-nothing", u1(b"") + u1(b"") + b"\x93."
    yield "stack-global-dotted", u1(b"os") + u1(b"path.join") + b"\x93."
    yield "global-not-utf8", b"c\xff\xfe\n\x80\n."
    yield "global-without-end", b"cos\nsystem"
    yield "ext1", b"\x82\x01."
    yield "ext2", b"\x83\xff\xff."
    yield "ext4", b"\x84\xff\xff\xff\xff."
    yield "ext1-called", b"\x82\x01)R."
    yield "persid", b"Psecret\n."
    yield "persid-not-utf8", b"P\xff\n."
    yield "binpersid", b"NQ."
    yield "binpersid-of-nothing", b"Q."
    yield "buffer", b"\x80\x05\x97."
    yield "readonly-buffer", b"\x80\x05\x97\x98."
    yield "readonly-nothing", b"\x80\x05\x98."
    yield "record-buffer", record(b"\x97\x98")
    yield "bytearray8", b"\x80\x05\x96\x02\0\0\0\0\0\0\0ab."
    for n in (6, 7, 0x80, 0xff):
        yield f"protocol-{n}", b"\x80" + bytes([n]) + b"N."
    yield "protocol-again", b"\x80\x04\x80\x02N."
    yield "two-pickles", b"N.N."


def texts():
    for name, text in (("surrogate", b"\xed\xa0\xbd"), ("pair", b"\xed\xa0\xbd\xed\xb8\x80"), ("latin1", b"h\xe9"),
                       ("cut", b"\xe2\x82"), ("overlong", b"\xc0\xaf"), ("beyond", b"\xf4\x90\x80\x80"), ("nul", b"a\0b"),
                       ("controls", bytes(range(32))), ("escape", b"\x1b[2J\x1b]0;x\x07"), ("lines", b"a\nERROR forged\n")):
        yield f"text-{name}", b"X" + struct.pack("<I", len(text)) + text + b"."
        yield f"str-{name}", b"T" + struct.pack("<I", len(text)) + text + b"."
        yield f"key-{name}", b"}(" + u1(b"msg") + u1(b"kept") + u1(text) + u1(text) + b"u."
    for line in (b"'a", b"a'", b"'", b"", b"'a\"", b"'\\x'", b"'\\x4'", b"'\\'", b"'\\777'", b"'\\q'", b"'a'b'", b"'\\\\'"):
        yield f"string-{line.hex()}", b"S" + line + b"\n."
    for line in (b"\\u12", b"\\U00110000", b"\\ud800", b"\\", b"\\\\u0041", b"\xff", b"\\x41", b"\\U0001F600"):
        yield f"unicode-{line.hex()}", b"V" + line + b"\n."


def types():
    """Known types with arguments they do not have."""
    values = [b"N", b"K\x01", b"]", b"}", u1(b"x"), b"C\x00", b"C\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"C\x04\0\0\0\0",
              b"C\x06\xff\xff\xff\xff\xff\xff", b"\x8a\x20" + b"\x7f" * 32]
    names = [b"_codecs\nencode", b"builtins\nset", b"builtins\nfrozenset", b"builtins\ndict", b"builtins\nbytes",
             b"builtins\nbytearray", b"collections\nOrderedDict", b"collections\ndefaultdict", b"collections\ndeque",
             b"copyreg\n_reconstructor", b"datetime\ndatetime", b"datetime\ndate", b"datetime\ntime", b"datetime\ntimedelta",
             b"datetime\ntimezone", b"decimal\nDecimal", b"fractions\nFraction", b"pathlib\nPosixPath", b"uuid\nUUID",
             b"ipaddress\nIPv4Address"]
    for name in names:
        for n in range(3):
            for args in itertools.product(values, repeat=n):
                if n == 2 and args[0] != args[1] and args[0] != values[6] and args[1] != values[0]:
                    continue
                yield (f"type-{name.decode().replace(chr(10), '.')}-" + "-".join(str(values.index(a)) for a in args),
                       b"c" + name + b"\n(" + b"".join(args) + b"tR.")
    yield "timedelta-huge", b"cdatetime\ntimedelta\n(\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x8a\x08\0\0\0\0\0\0\0\x80K\0tR."
    yield "path-of-many", b"cpathlib\nPosixPath\n(X\x01\0\0\0aq\0" + b"h\0" * 50_000 + b"tR."


def damaged():
    """A good pickle with single bytes changed, and cut short."""
    good = pickle.dumps({"name": "a", "msg": "kept", "args": None, "levelno": 20, "created": 1.5, "x": {1, 2}, "y": b"z",
                         "t": (1, [2], 2**80)}, 4)
    for n in range(len(good)):
        yield f"cut-{n}", good[:n]
        for flip in (0x01, 0x80):
            yield f"flip-{n}-{flip}", good[:n] + bytes([good[n] ^ flip]) + good[n + 1:]


def all_of_them():
    for make in (calls, nesting, cycles, bombs, lengths, numbers, machine, texts, types, damaged):
        for name, data in make():
            yield name, bytes(data)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, data in all_of_them():
        (out / name.replace("/", "_")).write_bytes(data)
