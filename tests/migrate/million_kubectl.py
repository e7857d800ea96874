#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for `kubectl proxy` and a cluster that has STAND_IN_COUNT Secrets, for tests/migrate/million.

Which were patched is kept in STAND_IN_DIR/rewritten, a byte each, so that the next one goes on with it;
STAND_IN_DIR/patched has their number when this ends.
"""
import asyncio
import json
import mmap
import os
import signal
import sys
from urllib.parse import parse_qs, urlparse

count = int(os.environ["STAND_IN_COUNT"])
folder = os.environ["STAND_IN_DIR"]
path = next(a.split("=", 1)[1] for a in sys.argv if a.startswith("--unix-socket="))
fd = os.open(folder + "/rewritten", os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(fd, count)
rewritten = mmap.mmap(fd, count)


def meta(i):
    return {"metadata": {"namespace": f"ns{i // 1000:04}", "name": f"s{i:07}",
                         "resourceVersion": str(10 + rewritten[i])}}


def page(query):
    first, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
    end = min(count, first + limit)
    more = {"continue": str(end), "remainingItemCount": count - end} if end < count else {}
    return {"metadata": more, "items": [meta(i) for i in range(first, end)]}


RESOURCES = {"resources": [{"name": "secrets", "namespaced": True, "verbs": ["list", "patch"]}]}


def respond(method, url):
    if method == "PATCH":
        i = int(url.rsplit("/s", 1)[1])
        rewritten[i] = 1
        return meta(i)
    parts = urlparse(url)
    return RESOURCES if parts.path == "/api/v1" else page(parse_qs(parts.query))


async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    method, url, _ = head.split(b" ", 2)
    body = json.dumps(respond(method.decode(), url.decode())).encode()
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    writer.close()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_unix_server(serve, path, backlog=256)
    print("Starting to serve on " + path, flush=True)
    async with server:
        await stop.wait()
    with open(folder + "/patched", "w") as f:
        f.write(str(rewritten[:].count(1)))


asyncio.run(main())
