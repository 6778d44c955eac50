"""A load of HTTP/3: small files one by one, then a large one, twice. Usage: load_h3.py PORT. It needs aioquic."""

import asyncio
import json
import ssl
import statistics
import sys
import time
from typing import Any, cast

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent

HOST, SMALL, LARGE = "127.0.0.1", 200, 2


class Client(QuicConnectionProtocol):
    """One connection; ``got`` counts bytes by stream."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - handed on to aioquic as they are
        """As the library makes it."""
        super().__init__(*args, **options)
        self.http = H3Connection(self._quic)
        self.got: dict[int, int] = {}
        self.done: dict[int, asyncio.Future[int]] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        """Count; an ended stream is done."""
        for each in self.http.handle_event(event):
            if isinstance(each, DataReceived):
                self.got[each.stream_id] = self.got.get(each.stream_id, 0) + len(each.data)
            if isinstance(each, DataReceived | HeadersReceived) and each.stream_ended:
                self.done[each.stream_id].set_result(self.got.get(each.stream_id, 0))

    async def get(self, port: int, path: str) -> tuple[int, int]:
        """(bytes that came, ns that it took)."""
        begun = time.monotonic_ns()
        stream = self._quic.get_next_available_stream_id()
        self.done[stream] = asyncio.get_running_loop().create_future()
        head = {":method": "GET", ":scheme": "https", ":authority": f"localhost:{port}", ":path": path}
        self.http.send_headers(stream, [(name.encode(), text.encode()) for name, text in head.items()], end_stream=True)
        self.transmit()
        size = await asyncio.wait_for(self.done[stream], 60)
        return size, time.monotonic_ns() - begun


async def main(port: int) -> None:
    """Ask, and tell."""
    settings = QuicConfiguration(
        is_client=True,
        alpn_protocols=H3_ALPN,
        verify_mode=ssl.CERT_NONE,
        server_name="localhost",
        max_data=1 << 26,
        max_stream_data=1 << 25,
    )
    async with connect(HOST, port, configuration=settings, create_protocol=Client) as made:
        client = cast("Client", made)  # what create_protocol makes
        await client.get(port, "/small")
        took = [(await client.get(port, "/small"))[1] for _ in range(SMALL)]
        large = [await client.get(port, "/made") for _ in range(LARGE)]
    tenth = statistics.quantiles(took, n=10)[-1]
    rate = sum(size for size, _ in large) / sum(ns for _, ns in large) * 1e9 / 2**20
    found = {"small_p50": f"{statistics.median(took) / 1000:.1f}us", "small_p90": f"{tenth / 1000:.1f}us"}
    print(json.dumps(found | {"mib_s": round(rate, 3)}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
