"""What a serial port has counted of bytes that did not come as they were sent.

A byte with the wrong parity, or without its stop bit, and bytes that nobody fetched in time leave no trace in what is
read: two halves of lines join, and may read as a number. The driver of the port counts them; the count is read behind
each reply, a microsecond or two.

How much they know: UARTs (serial_core) and FTDI count all; CP210x where input is checked for parity (INPCK); CDC-ACM
what the device tells. PL2303 only marks damaged bytes, which INPCK turns into NUL, and does not count what it lost;
CH34x and pseudo-terminals know nothing.

    ioctl -> PortCounters.risen -> serial -> descriptor (LinkDamaged)

Sources: tty_ioctl(4); Linux, include/uapi/linux/serial.h (serial_icounter_struct), drivers/tty/n_tty.c,
drivers/usb/serial/, drivers/usb/class/cdc-acm.c.
"""

from __future__ import annotations

import fcntl
import struct
from typing import Final

_TIOCGICOUNT: Final = 0x545D  # <asm-generic/ioctls.h>; Python's termios has it from 3.13 on
_SIZE: Final = 20 * 4
_FAULTS: Final = slice(6 * 4, 11 * 4)
_NAMES: Final = (
    ("framing error", "is the baud rate right, and the frame?"),
    ("overrun", "the port was not emptied in time: take a lower baud rate, or flow control"),
    ("parity error", "is the parity right, and the cable good?"),
    ("break", "the line was held low: is the cable good, was the instrument switched on?"),
    ("overflow of the port's buffer", "this computer was held up: take a lower baud rate, or flow control"),
)
"""In the order of the structure."""


class PortCounters:
    """The counters of one open port, and how far they were when they were last looked at.

    Args:
        fileno: of the port.

    Raises:
        OSError: this port does not count.
    """

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        self._counters = bytearray(_SIZE)
        self._seen = self._read()

    @classmethod
    def of(cls, fileno: int) -> PortCounters | None:
        """Return the counters of a port; None where it has none."""
        try:
            return cls(fileno)
        except OSError:
            return None

    def risen(self) -> str:
        """Say which have risen since they were last looked at, and how to mend it; "" where none has.

        An adapter that is gone, and cannot be asked any more, says so with the next read.
        """
        try:
            now = self._read()
        except OSError:
            return ""
        if now == self._seen:
            return ""
        before, self._seen = self._seen, now
        counts = zip(struct.unpack("=5I", now), struct.unpack("=5I", before), _NAMES, strict=True)
        return ", ".join(
            f"{(more - less) % (1 << 32)} {name}{'s' if more - less != 1 else ''} ({mend})"
            for more, less, (name, mend) in counts
            if more != less
        )

    def _read(self) -> bytearray:
        fcntl.ioctl(self._fileno, _TIOCGICOUNT, self._counters, True)
        return self._counters[_FAULTS]
