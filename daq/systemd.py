"""What systemd is told: that the station is ready, alive, reloading, stopping. Nothing when nobody listens.

The protocol is one datagram of `KEY=value` lines to the socket named in $NOTIFY_SOCKET (sd_notify(3)).

    station -> Notifier -> service manager
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from daq.core.observation import NS


@dataclass(slots=True)
class Notifier:
    """The way to the service manager, kept open: a station that has no descriptor to spare is alive all the same.

    Args:
        address: of its datagram socket, "" where there is none.
        watchdog_ns: how often it wants to hear from us at least; None where it does not watch.
    """

    address: str
    watchdog_ns: int | None
    _speaker: socket.socket | None = None

    def send(self, *lines: str) -> None:
        """Tell the service manager; a manager that is not there is no fault of the station's."""
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            if self._speaker is None:
                self._speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._speaker.setblocking(False)
            self._speaker.sendto("\n".join(lines).encode(), name)
        except OSError:
            return

    def close(self) -> None:
        """Have nothing more to say."""
        if self._speaker is not None:
            self._speaker.close()
            self._speaker = None

    def ready(self, status: str) -> None:
        """Say that the station is up (or up again after a reload)."""
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the files are being read again (Type=notify-reload wants the monotonic time with it)."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """Feed the watchdog; call only where there was progress."""
        self.send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the stop has begun."""
        self.send("STOPPING=1")


def from_environment(environ: Mapping[str, str] | None = None) -> Notifier:
    """Read $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID."""
    env = os.environ if environ is None else environ
    for_us = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    usec = env.get("WATCHDOG_USEC", "")
    watchdog_ns = int(usec) * (NS // 1_000_000) if for_us and usec.isdigit() and int(usec) > 0 else None
    return Notifier(env.get("NOTIFY_SOCKET", ""), watchdog_ns)
