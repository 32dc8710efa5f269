"""A serial port: RS-232, RS-485, USB adapters, pseudo-terminals.

pyserial opens and sets the port; the bytes then move through the descriptor itself, as a socket's do. A driver that
hangs while opening or closing costs a thread of its own, not the loop. The device is looked up anew on each opening, so
that a name under /dev/serial/by-id/ leads to wherever the adapter is now.

    line -> Serial -> Descriptor -> /dev/tty...
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import termios
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import serial

from daq.core.cut import Cut
from daq.core.errors import LinkClosed, LinkTimeout
from daq.core.line_settings import LineSettings
from daq.core.observation import NS, Stamp
from daq.transports.aside import Aside
from daq.transports.descriptor import Descriptor, Ends
from daq.transports.port_counters import PortCounters
from daq.transports.seam import Now, Received

_CLOSING_S: Final = 1.0  # to wait for a port to close; opening it again waits for as long as it may
_BRIMFUL: Final = 2048
"""Bytes: a terminal shows its reader at most 4095 and holds back what comes behind them, some drivers a little earlier.
Source: Linux, drivers/tty/n_tty.c."""

_SPILLS: Final = 4096 - 128
"""Bytes in that buffer from which on the kernel asks a USB adapter for no more: the adapter's own runs over, and some
do not tell. Others are held back (pseudo-terminals, CDC-ACM, flow control) or count (UARTs). Source: as above."""

_USB_MAJOR: Final = 188  # /dev/ttyUSB* (Linux, Documentation/admin-guide/devices.txt)
_PTY_MAJORS: Final = range(136, 144)  # Unix98 pseudo-terminals (Linux, Documentation/admin-guide/devices.txt)

_CURES: Final = {
    errno.ENOENT: "no such device. Is the adapter plugged in, and is its name right?",
    errno.ENXIO: "no such device. Is the adapter plugged in, and is its name right?",
    errno.ENODEV: "no such device. Is the adapter plugged in, and is its name right?",
    errno.EACCES: "not allowed. The station's user must be in the group that owns the device (dialout).",
    errno.EBUSY: "in use by another program. Close that one.",
    errno.EWOULDBLOCK: "in use by another program. Close that one.",
}


class Serial:
    """The Transport of `serial:` addresses, text and Modbus RTU alike.

    Args:
        device: path, best one that names the adapter, as under /dev/serial/by-id/.
        settings: baud rate, frame, modem lines, flow control.
        clock: stamps.
        proven: each reply proves itself by a checksum, as in Modbus RTU: what the port counts of damage refuses none.
    """

    reopen_heals = False
    direct = None
    can_clear = False

    def __init__(self, device: str, settings: LineSettings, clock: Now, *, proven: bool = False) -> None:
        self._device = device
        self._proven = proven
        self._settings = settings
        self._clock = clock
        self._link: Descriptor | None = None
        self._driver: Aside[serial.Serial | None] = Aside(f"serial {device}", discard=_close)

    async def open(self, deadline_ns: int) -> None:
        """Open the port for this program alone, at its settings."""
        await self.close()
        silent = self._clock.now()
        try:
            port = await self._driver.run(lambda: _open(self._device, self._settings), deadline_ns)
        except TimeoutError:
            raise LinkTimeout(
                f"{self._device}: the driver of the port hangs. Pull the adapter out and plug it in again."
            ) from None
        except (OSError, ValueError, termios.error) as error:
            raise LinkClosed(f"{self._device}: {_cure(error)}") from error
        assert port is not None
        self._link = Descriptor(self._device, self._ends(port), self._clock, silent)

    async def close(self) -> None:
        """Close the port; what was not sent yet is dropped."""
        if self._link is None:
            return
        self._link.close()
        self._link = None
        with contextlib.suppress(TimeoutError):
            await self._driver.idle(time.monotonic_ns() + int(_CLOSING_S * NS))

    def write(self, data: bytes, deadline_ns: int) -> Coroutine[None, None, Stamp]:
        """Send all of `data`; returns when the driver of the port has taken it, not when it is on the wire."""
        return self._opened().write(data, deadline_ns)

    def read(self, cut: Cut, deadline_ns: int) -> Coroutine[None, None, Received]:
        """Wait for one whole reply."""
        return self._opened().read(cut, deadline_ns)

    def unread(self) -> bytes:
        """Take out what has arrived."""
        return b"" if self._link is None else self._link.unread()

    async def clear(self, deadline_ns: int) -> None:
        """Refuse: a serial line has no device clear."""
        raise LinkClosed(f"{self._device}: a serial line has no device clear")

    def _opened(self) -> Descriptor:
        if self._link is None:
            raise LinkClosed(f"{self._device}: not open")
        return self._link

    def _ends(self, port: serial.Serial) -> Ends:
        fileno = port.fileno()
        counters, as_set = PortCounters.of(fileno), _settings(fileno)
        return Ends(
            fileno,
            receive=lambda size: os.read(fileno, size),
            send=lambda data: os.write(fileno, data),
            close=lambda: self._driver.launch(lambda: _close(port)),
            brimful=_BRIMFUL,
            spills=_SPILLS if _is_usb(os.fstat(fileno).st_rdev) and not self._settings.holds_back else None,
            damage=None if counters is None else counters.risen,
            proven=self._proven,
            altered=lambda: _settings(fileno) not in ([], as_set),
        )


def _open(device: str, settings: LineSettings) -> serial.Serial:
    """Open and set the port; may hang as long as its driver does. Raises OSError, ValueError, termios.error."""
    port = serial.Serial()
    port.port = device
    port.baudrate = settings.baud
    # The kernel keeps a pseudo-terminal at 8 bits without parity, and refuses who asks for others again (EINVAL).
    if not _is_pty(Path(device).stat().st_rdev):
        port.bytesize = settings.data_bits
        port.parity = settings.parity.upper()
    port.stopbits = float(settings.stop_bits)
    port.rtscts = settings.rtscts
    port.xonxoff = settings.xonxoff
    port.exclusive = True
    if settings.rts is not None:
        port.rts = settings.rts
    if settings.dtr is not None:
        port.dtr = settings.dtr
    port.open()
    try:
        if not _is_pty(os.fstat(port.fileno()).st_rdev):
            fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
        _leave_nothing_as_it_was(port.fileno())
    except BaseException:
        _close(port)
        raise
    return port


def _is_pty(device: int) -> bool:
    """Whether this is a pseudo-terminal: its exclusive mode would outlive a killed station, so its lock must do."""
    return os.major(device) in _PTY_MAJORS


def _is_usb(device: int) -> bool:
    return os.major(device) == _USB_MAJOR


def _leave_nothing_as_it_was(fileno: int) -> None:
    """Set what pyserial leaves as whoever had the port before us left it (termios(3)).

    VMIN: a read of nothing raises BlockingIOError, so that b"" means the adapter is gone. INPCK: a damaged byte reads
    as NUL, and no template takes that for a digit. Not IGNPAR, which has UARTs drop it; not BRKINT, with which a break
    drops what came before it: either joins what does not belong together. Flow control is as asked for.
    """
    attributes = termios.tcgetattr(fileno)
    flow = attributes[0] & (termios.IXON | termios.IXOFF)
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    for attributes[0] in (termios.INPCK, flow | termios.INPCK):  # without IXON, what an XOFF had stopped goes on
        termios.tcsetattr(fileno, termios.TCSANOW, attributes)


def _settings(fileno: int) -> list[Any]:
    """Return the settings of a port as the kernel has them; [] where it is gone."""
    try:
        return termios.tcgetattr(fileno)
    except termios.error:
        return []


def _close(port: serial.Serial | None) -> None:
    """Give the port back; may hang as long as its driver does, never raises."""
    if port is None:
        return
    for last in (
        lambda: termios.tcflush(port.fileno(), termios.TCIOFLUSH),  # else the kernel waits for output nobody takes
        lambda: fcntl.ioctl(port.fileno(), termios.TIOCNXCL),
        port.close,
    ):
        with contextlib.suppress(OSError, termios.error):  # an unplugged adapter refuses each in its own way
            last()


def _cure(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number is None and error.args and isinstance(error.args[0], int):
        number = error.args[0]
    if number in _CURES:
        return _CURES[number]
    return f"{error}. Is it a serial port, and does it know these settings?"
