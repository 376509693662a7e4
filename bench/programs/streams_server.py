"""Opens every event stream asked of it, says one thing on it and holds it. `python streams_server.py PORT…`; standard
library only."""

import asyncio
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"open"}}\n\n'


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
        await writer.drain()
        await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(ports: list[str]) -> None:
    listening = [await asyncio.start_server(serve, "127.0.0.1", int(port), backlog=4096) for port in ports]
    await asyncio.gather(*(one.serve_forever() for one in listening))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
