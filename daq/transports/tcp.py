"""A TCP socket to an instrument, a gateway or a serial-device server.

It never asks the default executor for anything: numeric addresses need no resolver, names are looked up on a thread of
their own that may hang for as long as it likes.

    line -> Tcp -> Descriptor -> socket
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, NoReturn

from daq.core.cut import Cut
from daq.core.errors import LinkClosed, LinkTimeout
from daq.core.observation import Stamp
from daq.transports.aside import Aside
from daq.transports.descriptor import Descriptor, Ends, writable
from daq.transports.seam import Now, Received

_Address = tuple[
    socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
]

# A cable pulled out says nothing. Keep-alive finds it on an idle link in 10 + 3 * 5 s, the user time-out where sent
# bytes stay unacknowledged (tcp(7)).
_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000),
)


class Tcp:
    """The Transport of `tcp:`, `modbus_tcp:` and `modbus_rtu_over_tcp:` addresses.

    Args:
        host: name or number.
        port: 1 to 65535.
        clock: stamps.
        behind_serial_server: outstanding replies outlive the socket in the box at its end.
    """

    can_clear = False

    def __init__(self, host: str, port: int, clock: Now, *, behind_serial_server: bool = False) -> None:
        self.reopen_heals = not behind_serial_server
        self._host = host
        self._port = port
        self._where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._clock = clock
        self._link: Descriptor | None = None
        self._use(None)
        self._look_up: Aside[Sequence[_Address]] = Aside(f"look up {host}", discard=lambda _: None)

    async def open(self, deadline_ns: int) -> None:
        """Connect to the first address that answers."""
        await self.close()
        addresses = await self._addresses(deadline_ns)
        for left in range(len(addresses), 0, -1):
            # Each address gets its share, so that one that swallows everything leaves time for the next.
            now_ns = time.monotonic_ns()
            share_ns = now_ns + (deadline_ns - now_ns) // left
            try:
                self._use(await self._connect(addresses[-left], share_ns))
            except (LinkClosed, LinkTimeout):
                if left == 1:
                    raise
            else:
                return

    async def close(self) -> None:
        """Close the socket at once."""
        if self._link is not None:
            self._link.close()
            self._use(None)

    def _use(self, link: Descriptor | None) -> None:
        """Have a link asked for bytes without anybody between: it is, four times a question."""
        self._link = link
        self.direct = link if link is not None and link.is_direct else None
        self.write: Callable[[bytes, int], Coroutine[None, None, Stamp]] = self._closed
        self.read: Callable[[Cut, int], Coroutine[None, None, Received]] = self._closed
        self.unread: Callable[[], bytes] = bytes
        if link is not None:
            self.write, self.read, self.unread = link.write, link.read, link.unread

    async def clear(self, deadline_ns: int) -> None:
        """Refuse: a bare socket has no device clear."""
        raise LinkClosed(f"{self._where}: a bare socket has no device clear")

    async def _closed(self, *_: object) -> NoReturn:
        raise LinkClosed(f"{self._where}: not open")

    async def _addresses(self, deadline_ns: int) -> Sequence[_Address]:
        try:
            return _resolved(self._host, self._port, socket.AI_NUMERICHOST)
        except (socket.gaierror, UnicodeError):
            pass  # a name
        try:
            return await self._look_up.run(lambda: _resolved(self._host, self._port), deadline_ns)
        except TimeoutError:
            raise LinkTimeout(f"{self._where}: looking up the name took too long. Is the name server up?") from None
        except (OSError, UnicodeError) as error:
            raise LinkClosed(f"{self._where}: no such name ({error}). Put it right or write the number.") from error

    async def _connect(self, address: _Address, deadline_ns: int) -> Descriptor:
        family, kind, protocol, _, peer = address
        silent = self._clock.now()
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            raise LinkClosed(f"{self._where}: no socket ({error})") from error
        try:
            await self._establish(sock, peer, deadline_ns)
        except TimeoutError:
            sock.close()
            raise LinkTimeout(f"{self._where}: no answer to the call. Is it on, and is the address right?") from None
        except OSError as error:
            sock.close()
            raise LinkClosed(
                f"{self._where}: {error.strerror or error}. Is it on, and are address and port right?"
            ) from error
        except BaseException:
            sock.close()
            raise
        return Descriptor(self._where, Ends(sock.fileno(), sock.recv, sock.send, sock.close), self._clock, silent)

    async def _establish(self, sock: socket.socket, peer: object, deadline_ns: int) -> None:
        """Connect. Raises OSError, TimeoutError."""
        sock.setblocking(False)
        for level, option, value in _OPTIONS:
            sock.setsockopt(level, option, value)
        try:
            sock.connect(peer)  # type: ignore[arg-type]  # as getaddrinfo gave it
        except BlockingIOError:
            await writable(sock.fileno(), deadline_ns)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code)) from None
        if sock.getsockname() == sock.getpeername():
            # A closed port of this machine in the range of outgoing ports: now and then a socket reaches itself.
            raise ConnectionRefusedError("nobody listens")


def _resolved(host: str, port: int, flags: int = 0) -> Sequence[_Address]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
