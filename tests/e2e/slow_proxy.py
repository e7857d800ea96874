#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A slow link: hands on what comes, each piece as many milliseconds later as a file says.

    slow_proxy.py ADDRESS PORT TO-ADDRESS TO-PORT FILE
"""
import asyncio
import sys

address, port, to_address, to_port, path = sys.argv[1:]


def delay():
    with open(path) as file:
        return int(file.read() or 0) / 1000


async def hand_on(reader, writer):
    try:
        while data := await reader.read(65536):
            if wait := delay():
                await asyncio.sleep(wait)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def connected(reader, writer):
    try:
        to_reader, to_writer = await asyncio.open_connection(to_address, int(to_port))
    except OSError:
        writer.close()
        return
    await asyncio.gather(hand_on(reader, to_writer), hand_on(to_reader, writer))


async def main():
    async with await asyncio.start_server(connected, address, int(port)) as server:
        await server.serve_forever()


asyncio.run(main())
