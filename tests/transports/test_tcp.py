"""What only a socket does: names, addresses, resets, half-open links."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from daq.clock import SystemClock
from daq.core.address import host_and_port
from daq.core.cut import ends_with
from daq.core.errors import LinkClosed, LinkTimeout
from daq.transports import tcp
from daq.transports.tcp import Tcp

LINE = ends_with(b"\n")
LONG_S = 20.0
SHORT_S = 0.3
FAR_SIDES = ("tcp",)


def within(seconds):
    return time.monotonic_ns() + int(seconds * 1e9)


async def test_reset_is_loss(far, opened):
    reading = asyncio.create_task(opened.read(LINE, within(LONG_S)))
    await asyncio.sleep(0)
    far.reset()
    with pytest.raises(LinkClosed, match="reset"):
        await reading


async def test_whole_answer_before_the_end_of_file_counts(far, opened):
    await far.say(b"last words\n")
    await far.hang_up()
    assert (await opened.read(LINE, within(LONG_S))).data == b"last words\n"
    with pytest.raises(LinkClosed, match="closed by the other side"):
        await opened.read(LINE, within(LONG_S))


async def test_half_closed_peer_is_loss(far, opened):
    far._conn.shutdown(socket.SHUT_WR)
    with pytest.raises(LinkClosed, match="closed by the other side"):
        await opened.read(LINE, within(LONG_S))


async def test_half_open_peer_is_watched_for(far, opened):
    fileno = opened._link._ends.fileno
    with socket.socket(fileno=socket.dup(fileno)) as same:
        assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_peer_that_never_accepts_answers_nothing_in_time():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        near = Tcp("127.0.0.1", deaf.getsockname()[1], SystemClock())
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        try:
            with pytest.raises(LinkTimeout, match="no answer to the call"):
                await near.open(within(SHORT_S))
        finally:
            for filler in fillers:
                filler.close()
            await near.close()


async def test_name_is_looked_up(far):
    near = Tcp("localhost", far._port, SystemClock())
    await near.open(within(LONG_S))
    await far.accept()
    await near.close()


async def test_second_address_is_tried(far, monkeypatch):
    near = Tcp("two.example", far._port, SystemClock())
    real = tcp._resolved

    def resolved(host, port, flags=0):
        if flags:
            return real(host, port, flags)
        with socket.create_server(("127.0.0.1", 0)) as gone:
            nobody = gone.getsockname()[1]
        return [*real("127.0.0.1", nobody), *real("127.0.0.1", far._port)]

    monkeypatch.setattr(tcp, "_resolved", resolved)
    await near.open(within(LONG_S))
    await far.accept()
    await near.close()


async def test_hung_name_server_costs_its_own_open_only(monkeypatch):
    hang = threading.Event()
    real = tcp._resolved
    asked = []

    def resolved(host, port, flags=0):
        if flags or host != "hung.example":
            return real(host, port, flags)
        asked.append(host)
        hang.wait(LONG_S * 3)
        return []

    monkeypatch.setattr(tcp, "_resolved", resolved)
    near = Tcp("hung.example", 5025, SystemClock())
    try:
        for _ in range(3):
            with pytest.raises(LinkTimeout, match="looking up the name"):
                await near.open(within(SHORT_S))
        assert asked == ["hung.example"], "one thread at most hangs for one address"
        with socket.create_server(("127.0.0.1", 0)) as other:
            numeric = Tcp("127.0.0.1", other.getsockname()[1], SystemClock())
            await numeric.open(within(LONG_S))
            await numeric.close()
    finally:
        hang.set()
        await near._look_up.idle(within(LONG_S))


async def test_unknown_name_says_so(monkeypatch):
    def unknown(host, port, flags=0):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(tcp, "_resolved", unknown)
    near = Tcp("no-such-host.invalid", 5025, SystemClock())
    with pytest.raises(LinkClosed, match="no such name"):
        await near.open(within(LONG_S * 3))


async def test_behind_a_serial_server_reopening_heals_nothing():
    assert Tcp("127.0.0.1", 1, SystemClock()).reopen_heals
    assert not Tcp("127.0.0.1", 1, SystemClock(), behind_serial_server=True).reopen_heals


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("10.0.0.5:5025", "10.0.0.5", 5025), ("dmm.lab:1", "dmm.lab", 1), ("[fe80::1]:65535", "fe80::1", 65535)],
)
def test_host_and_port(text, host, port):
    assert host_and_port(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.5", "Write the port behind a colon"),
        (":5025", "Write the port behind a colon"),
        ("h:٣", "Write the port behind a colon"),
        ("h:0", "outside 1 to 65535"),
        ("h:65536", "outside 1 to 65535"),
        ("fe80::1:5025", "in brackets"),
        ("[h]:5025", "in brackets"),
    ],
)
def test_wrong_host_and_port_says_how_to_mend(text, words):
    with pytest.raises(ValueError, match=words):
        host_and_port(text)
