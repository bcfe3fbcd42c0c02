"""A TCP relay that holds every byte back for a while, in order, without limiting the bandwidth."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import cast

_PIECE = 65536


class DelayedPort:
    """Listens on `port` and passes everything on to 127.0.0.1:`target`.

    delay_ms: what a round trip takes longer; half of it is added each way. Opening a connection
    is not delayed. host: the address to listen on, "0.0.0.0" for boards on the network.
    """

    def __init__(self, target: int, delay_ms: float, host: str = "127.0.0.1") -> None:
        self._target = target
        self._one_way_s = delay_ms / 2000
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> DelayedPort:
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, self._host, 0), self._loop
        )
        self._server = listening.result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._settle()  # what was accepted just now gets its task
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._settle()  # and the connections are closed

    async def _settle(self) -> None:
        """Let the loop do what is due by now, and what follows from that."""
        for _ in range(4):
            await asyncio.sleep(0)

    async def _serve(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        far_out = None
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pass(near_in, far_out), self._pass(far_in, near_out))
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone, and soon the other
        finally:
            for writer in (near_out, far_out):
                if writer:
                    writer.close()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one direction on until it ends. What is under way is not bounded."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def take() -> None:
            data = b"more"
            while data:
                data = await reader.read(_PIECE)
                under_way.put_nowait((self._loop.time() + self._one_way_s, data))

        taking = asyncio.create_task(take())
        try:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - self._loop.time())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
