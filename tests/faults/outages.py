"""What becomes of the broker and of the way to it, one after the other, over and over.

Each outage strikes until it has been felt where that can be seen, is put right, and is over when the daemon's newest
observations come again: without a restart of the daemon.

    Outages.run -> (outage, mosquitto, BrokerWire, Names, certificates) -> Strike, begun, ended and healed
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho

from tests.faults.bench import LATENCY_S
from tests.faults.identity import BROKER
from tests.faults.wires import Strike
from tests.system.house import leave

if TYPE_CHECKING:
    from tests.faults.campaign import Campaign

SMALL = 2500
"""Bytes of a packet that the broker takes while it takes small ones only; a meter's observations are larger."""

SMALL_ONLY = "broker takes small packets only"
TEN_MINUTES_S = 600.0
LONG_ENOUGH_S = 1200.0
"""A campaign of so long has ten minutes for one black hole; a shorter one makes do with a shorter hole, and says so."""

PERSISTENT = ("persistence true", "autosave_interval 1")
OTHER_SECRET = "0th3r-s3cr3t-of-the-campaign"


def passwords(folder: Path, secret: str) -> Path:
    """Write the file in which the broker finds what the daemon must say."""
    path = folder / "broker" / "passwords"
    path.touch(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "bench", secret], check=True, capture_output=True)
    return path


class Outages:
    """Strikes the broker of a campaign."""

    def __init__(self, campaign: Campaign) -> None:
        self._of = campaign
        self._wire, self._broker, self._names = campaign.broker_wire, campaign.broker, campaign.names
        self._hold_s = campaign.plan.hold_s
        self._hole_s = TEN_MINUTES_S if campaign.plan.seconds >= LONG_ENOUGH_S else campaign.plan.hold_s

    async def run(self) -> None:
        """Strike until the campaign is over."""
        while not self._of.stopping.is_set():
            for fault, act in self._table():
                if self._of.stopping.is_set():
                    return
                strike = self.begin(fault)
                await act()
                await self.over(strike)
                await self._of.until(lambda: self._mqtt()["connected"])
                await asyncio.sleep(0.5)

    def _table(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        table: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("broker killed and restarted", self._killed(())),
            ("broker frozen", self._freeze),
            ("broker's password changed", self._other_password(renewed=False)),
            ("broker's certificate expired", self._showing("expired")),
            ("broker has no quota left", self._quota),
            ("broker connection reset", self._reset),
            ("broker refuses by ACL", self._deny),
            (SMALL_ONLY, self._small_packets),
            ("broker gives the session to another", self._take_over),
            ("broker refuses connections", self._refuse),
            ("broker slow", self._slow),
            ("broker killed and restarted, with persistence", self._killed(PERSISTENT)),
            ("broker's certificate is of another name", self._showing("of another name")),
            ("broker's certificate is of another authority", self._showing("of another authority")),
            ("broker's password changed at both ends", self._other_password(renewed=True)),
            ("broker's name is not found", self._nameless),
            ("broker's name server hangs", self._name_hangs),
            (f"broker black-holed {self._hole_s:.0f} s", self._black_hole),
        ]
        self._hole_s = self._hold_s  # once is enough of the long one
        return table

    # ------------------------------------------------------------ begin and end

    def begin(self, fault: str) -> Strike:
        """Note that an outage begins."""
        strike = Strike(fault, "broker", random.Random(0), LATENCY_S, begun_ns=time.monotonic_ns())
        self._of.strikes.append(strike)
        return strike

    async def over(self, strike: Strike) -> None:
        """Open the way, and note when the daemon's newest observations come again."""
        await self._wire.open()
        self._wire.flow()
        strike.ended_ns = time.monotonic_ns()

        def live() -> bool:
            for heard in reversed(self._of.ear.heard[-50:]):
                if heard.is_obs and not heard.is_late and heard.arrived_ns > strike.ended_ns:
                    strike.healed_ns = heard.arrived_ns
                    return True
            return False

        await self._of.until(live)

    def _mqtt(self) -> Any:
        return self._of.told["sinks"]["mqtt"]

    async def _felt(self, *words: str) -> None:
        """Wait until the daemon says that it is away for such a reason."""
        came = await self._of.until(lambda: any(word in (self._mqtt()["why"] or "") for word in words))
        if not came:
            self._of.missed.append(f"never felt: {words}; it says {self._mqtt()['why']}")

    # ------------------------------------------------------------ the broker

    def _killed(self, config: tuple[str, ...]) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            kept = [f"persistence_location {self._of.folder / 'broker'}/"] if config else []
            self._broker.config = [*self._of.broker_config(), *config, *kept]
            for _ in range(2 if config else 1):  # what it kept of the first time is there the second time
                await asyncio.to_thread(self._broker.kill)
                await self._wire.shut()
                await asyncio.to_thread(self._of.ear.deaf)
                await asyncio.to_thread(self._broker.start)
                # before the daemon is there: what it is sent, the ear is sent
                await asyncio.to_thread(self._of.ear.listening)
                if config:
                    await self._wire.open()
                    await self._of.until(lambda: self._mqtt()["connected"])
                    await asyncio.sleep(self._hold_s / 4)

        return act

    async def _freeze(self) -> None:
        self._broker.freeze()
        await asyncio.sleep(self._hold_s / 2)
        self._broker.thaw()

    async def _reload(self) -> None:
        assert self._broker.process is not None
        self._broker.process.send_signal(1)
        await asyncio.sleep(0.2)

    async def _deny(self) -> None:
        self._of.acl(("pressure1",))
        await self._reload()
        before = len(self._wire.refused)
        await self._of.until(lambda: len(self._wire.refused) > before + 2)
        self._of.acl(())
        await self._reload()

    async def _small_packets(self) -> None:
        conf = self._of.folder / "broker" / "mosquitto.conf"
        said = conf.read_text()
        conf.write_text(said + f"max_packet_size {SMALL}\n")
        await self._reload()
        self._wire.cut()
        await asyncio.sleep(self._hold_s / 2)
        conf.write_text(said + "max_packet_size 1000000\n")
        await self._reload()
        self._wire.cut()

    async def _take_over(self) -> None:
        thief = paho.Client(paho.CallbackAPIVersion.VERSION2, "bench-daq-lab-b1", protocol=paho.MQTTv5)
        await asyncio.to_thread(thief.connect, "127.0.0.1", self._broker.port)
        thief.loop_start()
        await self._of.until(thief.is_connected)
        await asyncio.to_thread(leave, thief)

    def _other_password(self, *, renewed: bool) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            """Change what the broker wants; put that right, or what the daemon says, in the file it says it from."""
            secret = self._of.folder / "mqtt-password"
            was = secret.read_text()
            other = OTHER_SECRET if was != OTHER_SECRET else self._of.secret
            passwords(self._of.folder, other)
            await self._reload()
            self._wire.cut()
            await self._felt("Not authorized", "Bad user name")
            if renewed:
                secret.write_text(other)
            else:
                passwords(self._of.folder, was)
                await self._reload()

        return act

    # ------------------------------------------------------------ the way to it

    async def _black_hole(self) -> None:
        self._wire.hold()
        await asyncio.sleep(self._hole_s)

    async def _slow(self) -> None:
        self._wire.pause_s = 0.03
        await asyncio.sleep(self._hold_s / 2)
        self._wire.pause_s = 0.0

    async def _quota(self) -> None:
        self._wire.quota = 5
        await self._of.until(lambda: self._wire.quota == 0)

    async def _reset(self) -> None:
        self._wire.cut()

    async def _refuse(self) -> None:
        await self._wire.shut()
        await asyncio.sleep(self._hold_s / 2)

    def _showing(self, what: str) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            await self._wire.shut()
            self._wire.shows = self._of.shown[what]
            await self._wire.open()
            await self._felt("certificate")
            self._wire.shows = self._of.shown["good"]
            await self._wire.shut()

        return act

    async def _nameless(self) -> None:
        self._names.say(BROKER, "fails")
        self._wire.cut()
        await self._felt("gaierror")
        self._names.say(BROKER, "")

    async def _name_hangs(self) -> None:
        self._names.say(BROKER, "hangs")
        self._wire.cut()
        await self._of.until(lambda: not self._mqtt()["connected"])
        await asyncio.sleep(self._hold_s)
        self._names.say(BROKER, "")
