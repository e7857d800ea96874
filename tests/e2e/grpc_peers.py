# SPDX-License-Identifier: Apache-2.0
"""One test of grpc_peers: grpc_peers.py TEST SOCKET PID. Exit status 0 if it holds."""
import os
import signal
import sys

import grpc

TESTS = {}


def test(function):
    TESTS[function.__name__] = function
    return function


def method(channel, name):
    return channel.unary_unary(
        "/echo.Echo/" + name, request_serializer=bytes, response_deserializer=bytes
    )


def fails(channel, name, message=b"", **how):
    try:
        method(channel, name)(message, **{"timeout": 20, **how})
    except grpc.RpcError as error:
        return error.code(), error.details()
    return None


def works(channel):
    assert method(channel, "Now")(b"still here", timeout=20) == b"still here"


@test
def unary(channel, _pid):
    for message in (b"", b"x", bytes(range(256)) * 256):
        assert method(channel, "Now")(message, timeout=20) == message


@test
def later(channel, _pid):
    assert method(channel, "Later")(b"hello", timeout=20) == b"hello"


@test
def large_answer(channel, _pid):
    for _ in range(50):
        assert method(channel, "Big")(b"", timeout=20) == b"b" * 65536


@test
def failure_text(channel, _pid):
    expected = (grpc.StatusCode.DATA_LOSS, "bad tag: 100% sure\nr\u00e9sum\u00e9")
    assert fails(channel, "Fail") == expected
    works(channel)


@test
def unknown_method(channel, _pid):
    assert fails(channel, "Nope")[0] == grpc.StatusCode.UNIMPLEMENTED
    works(channel)


# On a connection that stands: gRPC's C core (seen with 1.51) resets a stream whose deadline passes while it is
# still connecting without ever having opened it, which RFC 9113, 5.1, makes an error of the connection.
@test
def deadline(channel, _pid):
    works(channel)
    assert fails(channel, "Never", timeout=1)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    works(channel)


@test
def too_large(channel, _pid):
    for _ in range(40):
        code, _text = fails(channel, "Now", b"x" * 70000)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    works(channel)


@test
def cancel(channel, _pid):
    pending = [method(channel, "Hold").future(b"", timeout=20) for _ in range(5)]
    stats = method(channel, "Stats")
    while stats(b"", timeout=20) != b"cancelled 0 open 6":
        pass
    for call in pending:
        call.cancel()
    while stats(b"", timeout=20) != b"cancelled 5 open 1":
        pass


@test
def compressed(channel, _pid):
    code, _text = fails(channel, "Now", b"a" * 1000, compression=grpc.Compression.Gzip)
    assert code == grpc.StatusCode.UNIMPLEMENTED
    works(channel)


@test
def raw_authority(_channel, _pid):
    for authority in ("/run/kekd/kms.sock", "%2Frun%2Fkekd%2Fkms.sock", "localhost"):
        options = [("grpc.default_authority", authority)]
        with grpc.insecure_channel("unix:" + sys.argv[2], options=options) as channel:
            works(channel)


@test
def parallel(channel, _pid):
    calls = [
        method(channel, "Later").future(b"%d" % i * 50, timeout=20) for i in range(500)
    ]
    for i, call in enumerate(calls):
        assert call.result() == b"%d" % i * 50


@test
def keepalive(_channel, _pid):
    options = [
        ("grpc.keepalive_time_ms", 10),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with grpc.insecure_channel("unix:" + sys.argv[2], options=options) as channel:
        for _ in range(200):
            works(channel)


@test
def shutdown_finishes(channel, pid):
    pending = [method(channel, "Hold").future(b"%d" % i, timeout=20) for i in range(5)]
    while method(channel, "Stats")(b"", timeout=20) != b"cancelled 0 open 6":
        pass
    os.kill(pid, signal.SIGTERM)
    for i, call in enumerate(pending):
        assert call.result() == b"%d" % i


if __name__ == "__main__":
    with grpc.insecure_channel("unix:" + sys.argv[2]) as the_channel:
        TESTS[sys.argv[1]](the_channel, int(sys.argv[3]))
