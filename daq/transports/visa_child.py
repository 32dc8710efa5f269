"""A process of its own for one VISA board or host, so that a call that never returns can be ended.

It does one thing after the other: opens, writes, reads, clears and closes resources as it is told on its standard
input, and reads both clocks right before each viWrite and right after each viRead. It decides nothing. Its own
time-outs are courtesy; the station trusts its own. It ends when its input ends, or when the station dies.

    visa (frames on stdin) -> visa_child -> VISA library -> instrument      python -m daq.transports.visa_child BACKEND
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import termios
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import pyvisa
from pyvisa import constants
from pyvisa.constants import ResourceAttribute, StatusCode
from pyvisa.highlevel import VisaLibraryBase

from daq.transports.seam import MAX_REPLY
from daq.transports.visa_frames import LENGTHS, Head, Outcome, frame, head_of

_CHUNK: Final = 1 << 16  # bytes a viRead may bring: an endless message ends here at MAX_REPLY
_SLICE_MS: Final = 50  # how long a stream is waited on at once, so that its end is noticed between
_WATCH_S: Final = 0.1  # seconds between two looks at whether a VXI-11 server is still there
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_MORE: Final = StatusCode.success_max_count_read

_PARITIES: Final = {"n": "none", "o": "odd", "e": "even", "m": "mark", "s": "space"}
_STOP_BITS: Final = {"1": "one", "3/2": "one_and_a_half", "2": "two"}


_Kind = Literal["stream", "push", "pull"]


class _Outcome(Exception):
    """How a question went, where it did not go well."""

    def __init__(self, outcome: Outcome, text: str, body: bytes = b"") -> None:
        super().__init__(text)
        self.outcome = outcome
        self.body = body


@dataclass(slots=True)
class _Link:
    """One open resource.

    Args:
        kind: `stream` knows no messages (SOCKET, ASRL); `push` sends them when it likes, each with the number of its
            question (HiSLIP); `pull` sends while it is read from (GPIB, USB-TMC, VXI-11).
        silent: nothing that was not taken yet came before it; not kept for `pull`.
    """

    resource: Any
    kind: _Kind
    silent: tuple[int, int]


class _Board:
    """The resources of one board or host."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._manager: pyvisa.ResourceManager | None = None
        self._links: dict[int, _Link] = {}
        self._ops: dict[str, Callable[[Head, bytes], tuple[Head, bytes]]] = {
            "open": self._open,
            "write": self._write,
            "read": self._read,
            "clear": self._clear,
            "close": self._close,
            "list": self._list,
        }

    def answer(self, head: Head, body: bytes) -> bytes:
        """Do what a frame asks; return the frame that says how it went."""
        try:
            facts, got = self._ops[head["op"]](head, body)
            outcome: Outcome = "done"
        except _Outcome as other:
            facts, got, outcome = {"text": str(other)}, other.body, other.outcome
        except Exception as error:  # noqa: BLE001  # backends raise whatever they like
            outcome = _outcome(error)
            facts, got = {"text": f"{type(error).__name__}: {error}"}, b""
        if outcome == "closed":
            self._drop(head["link"])
        return frame({"number": head["number"], "outcome": outcome, **facts}, got)

    def _open(self, head: Head, _: bytes) -> tuple[Head, bytes]:
        left_ms = _left_ms(head)
        if self._manager is None:
            self._manager = pyvisa.ResourceManager(self._backend)
        self._drop(head["link"])
        silent = _stamp()
        resource: Any = self._manager.open_resource(head["resource"], open_timeout=left_ms)
        if not resource.session:  # pyvisa-sim gives a nought instead of an error
            raise _Outcome("closed", "no such resource")
        link = self._links[head["link"]] = _Link(resource, _kind(head["resource"]), silent)
        if link.kind == "stream":
            _stay_open(link)
            _leave_no_byte_out(head["resource"])
            _set(link, ResourceAttribute.termchar, head["end"])
            _set(link, ResourceAttribute.termchar_enabled, True)
            _set(link, ResourceAttribute.suppress_end_enabled, False)
        if head["line"] is not None:
            _set_line(resource, head["line"])
        library = type(resource.visalib)
        return {"clears": link.kind != "stream" and library.clear is not VisaLibraryBase.clear}, b""

    def _write(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        link = self._link(head)
        if link.kind == "stream" and (waiting := _slice(link, 1)):  # a millisecond is pyvisa's shortest wait
            raise _Outcome("unasked", "bytes were waiting before the question", waiting)
        link.resource.timeout = _left_ms(head)
        asked = _stamp()
        try:
            taken = link.resource.write_raw(body)
        except Exception:
            self._drop(head["link"])  # half a question may be out
            raise
        if taken != len(body):
            raise _Outcome("closed", f"only {taken} of {len(body)} bytes were taken")
        if link.kind == "push":
            link.silent = asked  # a reply to an older question bears another number, and the library drops it
        return {"asked": asked}, b""

    def _read(self, head: Head, _: bytes) -> tuple[Head, bytes]:
        link = self._link(head)
        return _stream(link, head) if link.kind == "stream" else _message(link, head)

    def _clear(self, head: Head, _: bytes) -> tuple[Head, bytes]:
        link = self._link(head)
        link.resource.timeout = _left_ms(head)
        try:
            link.resource.clear()
        except Exception as error:
            # Half a device clear is no state to go on from.
            raise _Outcome("closed", f"device clear failed: {type(error).__name__}: {error}") from error
        return {}, b""

    def _close(self, head: Head, _: bytes) -> tuple[Head, bytes]:
        self._drop(head["link"])
        return {}, b""

    def _list(self, _: Head, __: bytes) -> tuple[Head, bytes]:
        if self._manager is None:
            self._manager = pyvisa.ResourceManager(self._backend)
        return {"resources": list(self._manager.list_resources())}, b""

    def watch_for_ends(self) -> None:
        """Close the sockets that have come to their end, so that a call that waits through it fails at once."""
        while True:
            time.sleep(_WATCH_S)
            for link in tuple(self._links.values()):
                with contextlib.suppress(Exception):
                    if link.kind == "pull" and _over(link.resource) and (sock := _socket(link.resource)):
                        sock.close()

    def _link(self, head: Head) -> _Link:
        if head["link"] not in self._links:
            raise _Outcome("closed", "not open")
        return self._links[head["link"]]

    def _drop(self, number: int) -> None:
        link = self._links.pop(number, None)
        if link is not None:
            with contextlib.suppress(Exception):
                link.resource.close()


def _kind(resource: str) -> _Kind:
    name = resource.upper()
    if name.endswith("::SOCKET") or name.startswith("ASRL"):
        return "stream"
    return "push" if "::HISLIP" in name else "pull"


def _message(link: _Link, head: Head) -> tuple[Head, bytes]:
    """Read one message, in as many calls as it takes. The bytes of most interfaces travel only while we read."""
    got = bytearray()
    before, first, status = link.silent if link.kind == "push" else _stamp(), None, _MORE
    while status == _MORE:
        link.resource.timeout = _left_ms(head, bytes(got))
        try:
            piece, status = link.resource.visalib.read(link.resource.session, _CHUNK)
        except pyvisa.VisaIOError as error:
            raise _Outcome(_outcome(error), str(error), bytes(got)) from error
        last = _stamp()
        first = first or last
        got += piece
        if len(got) > MAX_REPLY:
            raise _Outcome("flooded", f"{len(got)} bytes and no end", bytes(got[:_CHUNK]))
    return {"before": before, "first": first, "last": last}, bytes(got)


def _stream(link: _Link, head: Head) -> tuple[Head, bytes]:
    """Read what is there, or comes first; nothing may be lost to a time-out, as half a reply would be."""
    while True:
        before = link.silent
        piece = _slice(link, min(_left_ms(head), _SLICE_MS))
        seen = _stamp()
        if piece:
            return {"before": before, "first": seen, "last": seen}, piece
        _stay_open(link)


def _slice(link: _Link, wait_ms: int) -> bytes:
    """Return what comes within `wait_ms`; b"" where nothing does, which proves silence when it began."""
    link.resource.timeout = wait_ms
    before, count = _stamp(), _CHUNK
    if link.resource.interface_type == constants.InterfaceType.asrl:
        # A serial read that ends in time-out would drop what it had: ask for no more than is there.
        count = max(1, link.resource.bytes_in_buffer)
    try:
        piece, _ = link.resource.visalib.read(link.resource.session, count)
    except pyvisa.VisaIOError as error:
        if error.error_code != StatusCode.error_timeout:
            raise
        link.silent = before
        return b""
    return bytes(piece)


def _stay_open(link: _Link) -> None:
    """Raise where the other side of a pyvisa-py socket has closed."""
    if _over(link.resource):
        raise _Outcome("closed", "closed by the other side")


def _over(resource: Any) -> bool:
    """Whether the socket of a pyvisa-py session has come to its end; its own reads wait through that, busily."""
    sock = _socket(resource)
    if sock is None:
        return False
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def _socket(resource: Any) -> socket.socket | None:
    """Return the socket beneath a pyvisa-py session; None for other sessions and libraries."""
    session = getattr(resource.visalib, "sessions", {}).get(resource.session)
    interface = getattr(session, "interface", None)
    found = getattr(interface, "sock", interface)
    return found if isinstance(found, socket.socket) else None


def _set(link: _Link, attribute: ResourceAttribute, state: object) -> None:
    with contextlib.suppress(pyvisa.Error):  # not every backend has every attribute
        link.resource.visalib.set_attribute(link.resource.session, attribute, state)


def _leave_no_byte_out(name: str) -> None:
    """Undo what another program left set on a serial port and pyserial leaves: IGNPAR, BRKINT and the like (serial.py).

    A serial resource whose name is none of a device is the library's own business.
    """
    device = Path(name[len("ASRL") :].partition("::")[0])
    if not name.upper().startswith("ASRL") or not device.is_char_device():
        return
    fileno = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        attributes = termios.tcgetattr(fileno)
        attributes[0] &= termios.IXON | termios.IXOFF
        termios.tcsetattr(fileno, termios.TCSANOW, attributes)
    finally:
        os.close(fileno)


def _set_line(resource: Any, line: Head) -> None:
    resource.baud_rate = line["baud"]
    resource.data_bits = line["data_bits"]
    resource.parity = constants.Parity[_PARITIES[line["parity"]]]
    resource.stop_bits = constants.StopBits[_STOP_BITS[line["stop_bits"]]]
    resource.flow_control = line["xonxoff"] * constants.VI_ASRL_FLOW_XON_XOFF + (
        line["rtscts"] * constants.VI_ASRL_FLOW_RTS_CTS
    )


def _outcome(error: Exception) -> Outcome:
    if isinstance(error, TimeoutError):
        return "timeout"
    code = error.error_code if isinstance(error, pyvisa.VisaIOError) else None
    if code == StatusCode.error_timeout:
        return "timeout"
    return "refused" if code == StatusCode.error_nonsupported_operation else "closed"


def _left_ms(head: Head, got: bytes = b"") -> int:
    left_ns: int = head["deadline"] - time.monotonic_ns()
    if left_ns <= 0:
        raise _Outcome("timeout", "the deadline passed", got)
    return -(-left_ns // 1_000_000)


def _stamp() -> tuple[int, int]:
    return time.monotonic_ns(), time.time_ns()


def _frames(source: BinaryIO) -> Any:
    while len(lengths := source.read(LENGTHS.size)) == LENGTHS.size:
        head_size, body_size = LENGTHS.unpack(lengths)
        head, body = source.read(head_size), source.read(body_size)
        if len(body) < body_size:
            return
        yield head_of(head), body


def _die_with_the_station() -> None:
    """Neither Ctrl-C nor a stop of the whole group ends this process: the station still needs it to say goodbye."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve frames from standard input until it ends."""
    _die_with_the_station()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not get between the frames
    logging.disable(logging.CRITICAL)  # what goes wrong is told in the answer
    warnings.simplefilter("ignore")
    board = _Board(sys.argv[1])
    threading.Thread(target=board.watch_for_ends, name="watch for ends", daemon=True).start()
    _send(answers, frame({"number": 0, "outcome": "done"}))
    for head, body in _frames(sys.stdin.buffer):
        _send(answers, board.answer(head, body))
    os._exit(0)  # a library's threads and exit hooks may hang


def _send(answers: Any, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[answers.write(rest) :]


if __name__ == "__main__":
    main()
