"""Answers that are made while they are sent, such as exports."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from anyio import CapacityLimiter
    from starlette.types import Receive, Scope, Send


class Stream(Response):
    """The pieces of a generator, made in threads, one at a time, no faster than the client takes them.

    Whatever ends the answer (its end, a client that goes or stops reading, the end of the process), the generator is
    closed at once, in a thread: an export records then how far it came. Starlette's own leaves that to the garbage
    collector, which would do it late and hold up the event loop.
    """

    def __init__(
        self,
        first: bytes,
        rest: Generator[bytes],
        limiter: CapacityLimiter,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        """``first`` was made before the answer begins, so that what fails then can still be told."""
        super().__init__(media_type=media_type, headers=headers)
        del self.headers["content-length"]
        self._first: Final = first
        self._rest: Final = rest
        self._limiter: Final = limiter
        self._making: Final = threading.Lock()

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the pieces.

        Raises:
            ClientDisconnect: the client has gone.
        """
        left = asyncio.create_task(_left(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            piece: bytes | None = self._first
            while piece is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if left.done():
                    raise ClientDisconnect
                piece = await anyio.to_thread.run_sync(self._next, limiter=self._limiter)
            await send({"type": "http.response.body", "body": b""})
        finally:
            left.cancel()
            # Shielded, and in the loop's own threads, which are waited for at the end of the process.
            closing = asyncio.get_running_loop().run_in_executor(None, self._close)
            with suppress(asyncio.CancelledError):
                await asyncio.shield(closing)

    def _next(self) -> bytes | None:
        with self._making:
            return next(self._rest, None)

    def _close(self) -> None:
        with self._making:  # a thread may still be making a piece that nobody waits for any more
            self._rest.close()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
