"""The service manager hears datagrams, or nothing at all."""

import contextlib
import os
import resource
import socket

import pytest

from daq.systemd import from_environment


@pytest.fixture
def no_descriptors():
    """Let this process open nothing more."""

    @contextlib.contextmanager
    def taken():
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    return taken


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(10)
        yield ear


def test_ready_and_alive_arrive(manager):
    notifier = from_environment({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready("9 instruments")
    notifier.alive()
    assert manager.recv(999) == b"READY=1\nSTATUS=9 instruments"
    assert manager.recv(999) == b"WATCHDOG=1"
    notifier.close()


def test_it_is_alive_with_no_descriptor_to_spare(manager, no_descriptors):
    notifier = from_environment({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready("9 instruments")
    with no_descriptors():
        notifier.alive()
    assert manager.recv(999) == b"READY=1\nSTATUS=9 instruments"
    assert manager.recv(999) == b"WATCHDOG=1"
    notifier.close()


def test_no_descriptor_at_all_is_no_fault_of_the_stations(manager, no_descriptors):
    notifier = from_environment({"NOTIFY_SOCKET": manager.getsockname()})
    with no_descriptors():
        notifier.alive()
    notifier.close()


def test_abstract_sockets_are_understood():
    name = f"@bench-daq-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + name[1:])
        ear.settimeout(10)
        notifier = from_environment({"NOTIFY_SOCKET": name})
        notifier.stopping()
        assert ear.recv(99) == b"STOPPING=1"
        notifier.close()


@pytest.mark.parametrize(
    ("environ", "watchdog_ns"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30_000_000_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_is_ours_only(environ, watchdog_ns):
    assert from_environment(environ).watchdog_ns == watchdog_ns


def test_nobody_listening_is_no_fault():
    from_environment({}).alive()
    notifier = from_environment({"NOTIFY_SOCKET": "/nonexistent/notify"})
    notifier.alive()
    notifier.close()
