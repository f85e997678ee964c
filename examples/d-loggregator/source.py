#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An application's agent as Loggregator's of 2014 on: sends dropsonde envelopes over UDP behind their HMAC-SHA256.

    source.py HOST:PORT SECRET-FILE APP COUNT
"""
import hashlib
import hmac
import socket
import sys
import time


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def number(field, n):
    return varint(field << 3) + varint(n)


def text(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def envelope(app, instance, line, err):
    now = time.time_ns()
    message = (text(1, line) + number(2, 2 if err else 1) + number(3, now) + text(4, app) +
               text(5, "APP/PROC/WEB") + text(6, instance))
    return text(1, "rep") + number(2, 5) + number(6, now) + text(8, message)


def main():
    address, secret, app, count = sys.argv[1:]
    host, _, port = address.rpartition(":")
    with open(secret, encoding="utf-8") as f:
        key = f.read().strip().encode()
    with socket.socket(type=socket.SOCK_DGRAM) as to:
        to.connect((host, int(port)))
        for i in range(int(count)):
            data = envelope(app, str(i % 2), f"order {i} paid" if i % 10 else f"order {i}: card refused", i % 10 == 0)
            to.send(hmac.new(key, data, hashlib.sha256).digest() + data)
            time.sleep(0.002)


if __name__ == "__main__":
    main()
