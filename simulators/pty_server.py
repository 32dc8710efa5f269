"""Serves instruments on pseudo-terminals, as if each hung on a serial adapter of its own.

The stand-in's end alone stays open: when the client closes, what it had not read is thrown away, as a serial driver
does, and nothing is said until somebody opens the line again. Line settings are whatever the client sets; a pty
ignores the baud rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from pathlib import Path

from simulators.dialogue import Dialogue, Lines, loud
from simulators.modbus_server import RtuBus

LOOK_S = 0.02  # how often an abandoned line is looked at for a new client; a pty gives no notice of one
MAX_WAITING = 64  # lines an instrument keeps while it is busy; further ones are lost, as in a full input buffer


class Pty:
    """A pseudo-terminal; a subclass says what is done with the bytes.

    Args:
        link: a symbolic link to keep on it; None for none. The device's own name changes whenever it is plugged in.
    """

    def __init__(self, link: Path | None) -> None:
        self.name = ""
        self._link = link
        self._master = -1
        self._present = False
        self._look: asyncio.TimerHandle | None = None

    def arrived(self) -> None:
        """Be told that a client opened the line."""

    def left(self) -> None:
        """Be told that the last client closed it."""

    def heard(self, data: bytes) -> None:
        """Be given what the client sent."""
        raise NotImplementedError

    async def open(self) -> None:
        """Plug in, under another name than the last time; a wire may be plugged in by any of its units."""
        if self._master >= 0:
            return
        master, slave = os.openpty()
        if os.ttyname(slave) == self.name:
            again = os.openpty()
            os.close(master)
            os.close(slave)
            master, slave = again
        tty.setraw(slave)
        self.name = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(master, False)
        self._master = master
        if self._link is not None:
            if self._link.is_symlink():
                self._link.unlink()
            self._link.symlink_to(self.name)
        self._watch()

    async def close(self) -> None:
        """Unplug: the client sees the line hang up."""
        if self._master < 0:
            return
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._present:
            asyncio.get_running_loop().remove_reader(self._master)
            self._present = False
            self.left()
        if self._link is not None and self._link.is_symlink() and str(self._link.readlink()) == self.name:
            self._link.unlink()
        os.close(self._master)
        self._master = -1

    def where(self) -> dict[str, object]:
        """Say where it stands, as the ready line does."""
        return {"serial": str(self._link) if self._link is not None else self.name}

    def write(self, data: bytes, *, more: bool = False) -> None:
        """Send; without a client, or with one that does not read, bytes are lost."""
        if self._present:
            with contextlib.suppress(OSError):
                os.write(self._master, data)

    def reset(self) -> None:
        """Do nothing: a serial line has no connection to cut."""

    def _read(self) -> bytes | None:
        """Give what has come; None where no client has the line open."""
        try:
            return os.read(self._master, 4096)
        except BlockingIOError:
            return b""
        except OSError:  # EIO
            return None

    def _watch(self) -> None:
        """Look whether a client has opened the line."""
        self._look = None
        data = self._read()
        loop = asyncio.get_running_loop()
        if data is None:
            self._look = loop.call_later(LOOK_S, self._watch)
            return
        self._present = True
        loop.add_reader(self._master, self._readable)
        self.arrived()
        if data:
            self.heard(data)

    def _readable(self) -> None:
        data = self._read()
        if data is None:
            asyncio.get_running_loop().remove_reader(self._master)
            self._present = False
            self.left()
            self._flush()
            self._watch()
        elif data:
            self.heard(data)

    def _flush(self) -> None:
        """Throw away what the last client left unread, and set the line raw for the next."""
        with contextlib.suppress(OSError, termios.error):
            slave = os.open(self.name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                tty.setraw(slave)
                termios.tcflush(slave, termios.TCIFLUSH)
            finally:
                os.close(slave)


class TextPort(Pty):
    """A text instrument on a line of its own."""

    def __init__(self, dialogue: Dialogue, link: Path | None) -> None:
        super().__init__(link)
        self._dialogue = dialogue
        self._lines = Lines()
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._listener: asyncio.Task[None] | None = None
        self._talker: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Plug in."""
        self._listener = asyncio.create_task(self._listen(), name=f"port[{self._dialogue.name}]")
        self._listener.add_done_callback(loud)
        await super().open()

    async def close(self) -> None:
        """Unplug."""
        await super().close()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._dialogue.instrument.clear()

    def arrived(self) -> None:
        """Begin to talk, where the instrument does."""
        self._dialogue.greet(self)
        self._talker = asyncio.create_task(self._dialogue.talk(self), name=f"talker[{self._dialogue.name}]")
        self._talker.add_done_callback(loud)

    def left(self) -> None:
        """Stop talking."""
        if self._talker is not None:
            self._talker.cancel()
            self._talker = None
        self._lines = Lines()

    def heard(self, data: bytes) -> None:
        """Queue the lines that came."""
        for line in self._lines.feed(data):
            if not self._waiting.full():
                self._waiting.put_nowait(line)

    async def _listen(self) -> None:
        while True:
            await self._dialogue.hear(await self._waiting.get(), self)


class RtuPort(Pty):
    """Several Modbus devices on one line."""

    def __init__(self, bus: RtuBus, link: Path | None) -> None:
        super().__init__(link)
        self._bus = bus

    def heard(self, data: bytes) -> None:
        """Hand the bytes to the bus."""
        self._bus.heard(data, self)

    async def close(self) -> None:
        """Unplug."""
        await super().close()
        await self._bus.close()
