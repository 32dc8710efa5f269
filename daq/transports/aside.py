"""Runs one call that may hang on a daemon thread of its own, so that it can be left behind.

The default executor would not do: its threads are waited for on exit, and a few hung calls in it make every name
look-up hang. Here at most one call of each owner is out; while it hangs, the owner's next call waits for that one.

    tcp (names), serial (ports) -> Aside.run -> result, or TimeoutError at the deadline
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from daq.core.observation import NS

T = TypeVar("T")


class Aside(Generic[T]):
    """One owner's place for calls that may hang.

    Args:
        name: of the thread, for whoever looks at the process.
        discard: given what a call returned after nobody waited for it any more.
    """

    def __init__(self, name: str, discard: Callable[[T], None]) -> None:
        self._name = name
        self._discard = discard
        self._ended: asyncio.Event | None = None

    def launch(self, call: Callable[[], T]) -> None:
        """Start a call whose end nobody waits for; the next `run` does. `call` must not raise."""
        self._start(call)

    async def idle(self, deadline_ns: int) -> None:
        """Wait until no call is out. Raises TimeoutError."""
        if self._ended is not None and not self._ended.is_set():
            async with asyncio.timeout_at(deadline_ns / NS):
                await self._ended.wait()

    async def run(self, call: Callable[[], T], deadline_ns: int) -> T:
        """Return what `call` returns. Raises what it raises, or TimeoutError at the deadline."""
        await self.idle(deadline_ns)
        async with asyncio.timeout_at(deadline_ns / NS):
            return await self._start(call)

    def _start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()
        ended = self._ended = asyncio.Event()

        def hand_over(result: T | None, error: BaseException | None) -> None:
            ended.set()
            if not waiting.done():
                if error is not None:
                    waiting.set_exception(error)
                else:
                    waiting.set_result(result)  # type: ignore[arg-type]  # None only beside an error
            elif error is None:
                self._discard(result)  # type: ignore[arg-type]  # the same

        def work() -> None:
            try:
                result, error = call(), None
            except Exception as caught:  # noqa: BLE001  # handed over to the one who waits
                result, error = None, caught
            try:
                loop.call_soon_threadsafe(hand_over, result, error)
            except RuntimeError:  # the loop is closed: nobody waits, nobody else gives it back
                if result is not None:
                    with contextlib.suppress(Exception):
                        self._discard(result)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return waiting
