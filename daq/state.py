"""Where a station keeps what must outlive it, and where its control socket stands.

systemd names both ($STATE_DIRECTORY, $RUNTIME_DIRECTORY); elsewhere the XDG state folder holds one folder a station.

    site, name -> state folder (journal, lock, marks) and control socket -> station, cli
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from daq.core.errors import ConfigError

SOCKET = "control.sock"
MAX_SOCKET_PATH = 107
"""Bytes: sun_path of unix(7) holds 108 with its end."""

SYSTEM_RUNTIME = Path("/run/bench-daq")
"""Where the packaged unit's RuntimeDirectory= puts the sockets of its stations."""


def state_folder(site: str, name: str, environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of this station; it need not exist yet."""
    env = os.environ if environ is None else environ
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return _stations_folder(env) / f"{site}.{name}"


def socket_path(state: Path, environ: Mapping[str, str] | None = None) -> Path:
    """Return where the control socket of the station with this state folder stands.

    Raises:
        ConfigError: the path is longer than a socket's may be.
    """
    env = os.environ if environ is None else environ
    runtime = env.get("RUNTIME_DIRECTORY")
    path = (Path(runtime.split(":")[0]) if runtime else state) / SOCKET
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        short = f"at most {MAX_SOCKET_PATH} bytes. Set a shorter XDG_STATE_HOME."
        raise ConfigError([f"{path}: too long for a socket: {short}"])
    return path


def sockets(environ: Mapping[str, str] | None = None) -> list[Path]:
    """Return the control sockets of all stations of this machine that this user may know of."""
    env = os.environ if environ is None else environ
    own = _stations_folder(env).glob(f"*/{SOCKET}")
    return sorted([*own, *SYSTEM_RUNTIME.glob(f"*/{SOCKET}")])


def _stations_folder(env: Mapping[str, str]) -> Path:
    base = env.get("XDG_STATE_HOME") or Path(env.get("HOME") or Path.home()) / ".local" / "state"
    return Path(base) / "bench-daq"
