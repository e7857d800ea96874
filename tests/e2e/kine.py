#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What kine is to a client of etcd, without a database: it answers what kine answers and refuses what kine refuses.

    kine.py PORT

As in k3s-io/kine, pkg/server (limited.go, create.go, update.go, kv.go, get.go, list.go) and pkg/drivers/generic: the header
of an answer has a revision and nothing else; of transactions there are those of one comparison, of a mod_revision, with
one put, and either nothing or one range if it fails; a range is of names from its key to before its end, so that the
end "\\0", which etcd reads as "all there is", has none.
"""
import sys
import threading
from concurrent import futures

import grpc

VARINT, BYTES = 0, 2
lock = threading.Lock()
stored = {}  # by key: value, create_revision, mod_revision, version
revision = 1


class Refused(Exception):
    pass


def varint(n):
    out = bytearray()
    while True:
        out.append(n & 127 | (128 if n > 127 else 0))
        n >>= 7
        if not n:
            return bytes(out)


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | BYTES) + varint(len(value)) + value
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def parse(data):
    """{number: [value, ...]}, of numbers and bytes."""
    at, fields = 0, {}

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(data):
        tag = number()
        value = number()
        if tag & 7 == BYTES:
            at, value = at + value, data[at : at + value]
        elif tag & 7 != VARINT:
            raise Refused("a type of field that no message has")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def one(fields, number, default=b""):
    return fields.get(number, [default])[-1]


def header():
    return field(1, field(3, revision))


def key_value(key):
    value, created, modified, version = stored[key]
    return field(1, key) + field(2, created) + field(3, modified) + field(4, version) + field(5, value)


def range_answer(keys, more=False, count=None):
    kvs = b"".join(field(2, key_value(key)) for key in keys)
    return header() + kvs + field(3, int(more)) + field(4, len(keys) if count is None else count)


def do_range(request):
    for number, name in {5: "sortOrder", 6: "sortTarget", 7: "serializable", 10: "minModRevision"}.items():
        if one(request, number, 0):
            raise Refused(name + " is not implemented by kine")
    key, end, limit = one(request, 1), one(request, 2), one(request, 3, 0)
    if not end:
        if limit > 1:
            raise Refused("limit is not implemented by kine")
        return range_answer([key] if key in stored else [])
    keys = sorted(k for k in stored if key <= k < end)
    if limit and len(keys) > limit:
        return range_answer(keys[:limit], True, len(keys))
    return range_answer(keys)


def do_txn(request):
    global revision
    compares, success, failure = (request.get(n, []) for n in (1, 2, 3))
    compare = parse(compares[0]) if len(compares) == 1 else {}
    put = parse(one(parse(success[0]), 2, None) or b"") if len(success) == 1 else {}
    gets = len(failure) == 1 and 1 in parse(failure[0])
    expected = one(compare, 6, 0)
    is_mod = one(compare, 2, 0) == 2 and one(compare, 1, 0) == 0
    if not put or not is_mod or not (gets or (not failure and expected == 0)):
        raise ValueError("etcdserver: unsupported operations in txn request")
    if one(put, 3, 0):
        raise ValueError("a lease: kekd has none")
    key = one(compare, 3)
    _, created, current, version = stored.get(key, (b"", 0, 0, 0))
    if expected != current:
        found = range_answer([key] if current else [])
        return header() + (field(3, field(1, found)) if gets else b"")
    revision += 1
    stored[key] = (one(put, 2), created or revision, revision, version + 1)
    return header() + field(2, 1) + field(3, field(2, header()))


def answer(what):
    def run(message, context):
        with lock:
            try:
                return what(parse(message))
            except Refused as why:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, str(why))
            except ValueError as why:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(why))

    return grpc.unary_unary_rpc_method_handler(run)


METHODS = {
    "/etcdserverpb.KV/Range": answer(do_range),
    "/etcdserverpb.KV/Txn": answer(do_txn),
}


class Kine(grpc.GenericRpcHandler):
    def service(self, details):
        return METHODS.get(details.method)


server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Kine()])
server.add_insecure_port("127.0.0.1:" + sys.argv[1])
server.start()
server.wait_for_termination()
