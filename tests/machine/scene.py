"""One scenario: a house that runs, something that happens to it, and the account of it at the end.

A scenario is a function of a Scene and dice; it asserts what it alone can know and gives its longest stop or recovery
in seconds. That no value was wrong, nothing lost and every slot spoken for is looked at behind each of them.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daq.core.record import Record
from daq.demo.audit import Audit, Witness
from daq.demo.places import PLACES
from daq.journal import open_idle
from tests.machine.account import Account, Number, compare, numbers_in
from tests.machine.shim import Shim
from tests.system.house import BENCH, House, eventually, retained

SMALL = ("dmm1", "pressure1", "meter3")
"""Three wires of three kinds, where it is not about the wires."""

SERVICE_LIMIT_S = 15.0
"""The service manager kills a station that has not ended so long after its signal (TimeoutStopSec of the unit)."""

WIDE_S = 0.2
"""No reading here has such a bound, unless the clock was set while it was taken."""

TRUE_WITHIN_S = 5.0
"""What `daq status` and the retained status say may be so old."""


@dataclass
class Row:
    """What became of one event, over all its times."""

    event: str
    times: int = 0
    wrong: int = 0
    lost: int = 0
    unaccounted: int = 0
    duplicates: int = 0
    longest_s: float = 0.0
    told: list[str] = field(default_factory=list)

    def add(self, other: Row) -> None:
        for what in ("times", "wrong", "lost", "unaccounted", "duplicates"):
            setattr(self, what, getattr(self, what) + getattr(other, what))
        self.longest_s = max(self.longest_s, other.longest_s)
        self.told += other.told

    @property
    def kept(self) -> bool:
        return not (self.wrong or self.lost or self.unaccounted or self.told)


@dataclass
class Scene:
    """A house, and what a scenario says of its own end."""

    house: House
    rng: random.Random
    times: int = 1
    aside: set[str] = field(default_factory=set)  # these four: see account.compare
    all_heard: bool = True
    trimmed: bool = False
    parted: set[str] = field(default_factory=set)
    placed: Any = None
    longest_s: float = 0.0

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Note how long this took, if it took longest."""
        begun = time.monotonic()
        yield
        self.longest_s = max(self.longest_s, time.monotonic() - begun)

    # ------------------------------------------------------------ asking the daemon

    def status(self) -> dict[str, Any]:
        return self.house.daemon.ask(do="status")[0]

    def good(self) -> dict[str, int]:
        return {name: each["good"] for name, each in self.status()["instruments"].items()}

    def names(self) -> tuple[str, ...]:
        return tuple(json.loads(self.house.daemon.bench.read_text())["instruments"])

    def goes_on(self, names: Sequence[str] = (), count: int = 3) -> None:
        """Wait until each instrument has given so many values more; a reload may have it away for a moment."""
        before = self.good()
        wanted = names or tuple(before)

        def more() -> bool:
            now = self.good()
            return all(now.get(name, 0) >= before.get(name, 0) + count for name in wanted)

        eventually(more, f"{count} more values of {wanted}")

    def truth(self, question: Callable[[dict[str, Any]], Any], what: str) -> Any:
        """Wait until `daq status` says it; it may take TRUE_WITHIN_S, and what the machine is late by."""
        with self.timed():
            return eventually(lambda: question(self.status()), f"`daq status` saying {what}")

    def agrees(self) -> None:
        """Wait until `daq status` says of each instrument what the broker holds of it."""
        topic = "bench/v1/lab/b1/{}/status"

        def agree() -> bool:
            held = retained(self.house.broker.port, "bench/v1/#")
            told = self.status()["instruments"]
            return all(held.get(topic.format(name), {}).get("status") == each["status"] for name, each in told.items())

        eventually(agree, "`daq status` and the retained status saying the same")

    def drained(self) -> None:
        """Wait until all that is kept has been delivered."""
        eventually(lambda: not self.status()["sinks"]["mqtt"]["backlog"], "the end of the backlog")

    # ------------------------------------------------------------ at the end

    def kept(self) -> list[Record]:
        """The journal's records as they lie on disk, in the order of their rows; the daemon does not run.

        Of a copy: SQLite finds no file through the root of another namespace.
        """
        with tempfile.TemporaryDirectory(prefix="daq-") as folder:
            for path in self.house.daemon.state.iterdir():
                if path.is_file():
                    shutil.copy(path, folder)
            with open_idle(Path(folder) / "journal.db") as idle:
                return sorted(idle.export(limit=10**7).records, key=lambda record: record.row)

    def account(self) -> Account:
        return compare(
            self.kept(),
            [heard.payload for heard in self.house.ear.obs()],
            self.house.intervals(),
            all_heard=self.all_heard,
            aside=self.aside,
            trimmed=self.trimmed,
            parted=self.parted,
            told_gone=self.told_gone(),
        )

    def told_gone(self) -> set[Number]:
        """The numbers of which an event has come that says they are gone."""
        return {number for event in self.house.ear.events("gap") for number in numbers_in(event)}

    def audit(self) -> Audit:
        """Compare what was heard with what the stand-ins logged.

        What was asked while the clock was set has a bound as wide as the step: when it was asked is not to be told
        from it, and only that it was answered so is looked at.
        """
        places = {name: PLACES[entry["driver"]] for name, entry in BENCH["instruments"].items()}
        messages = self.house.ear.obs()
        witness = self.house.world.witness()
        audit = Audit(Witness(witness), places)
        said = {json.loads(line)["answer"] for line in witness}
        for heard in messages:
            told = heard.json
            if (told["t_err"] or 0) < WIDE_S:
                audit.take(heard.payload, heard.arrived_ns)
            elif not all(each["got"].rstrip("\r\n") in said for each in told["exchanges"]):
                audit.wrong += 1
                audit.told.append(f"{told['id']}: {told['exchanges']} is no answer of anybody")
        return audit

    def settle(self, event: str) -> Row:
        """End the daemon in peace, and look at everything."""
        daemon, ear = self.house.daemon, self.house.ear
        if daemon.process is not None:
            self.drained()
            self.agrees()
            assert daemon.stop() == 0
        known = {record.payload for record in self.kept() if record.kind == "obs"}
        if self.all_heard:
            ear.until(lambda: known <= {heard.payload for heard in ear.obs()}, "all that was kept")
        account = self.account()
        audit = self.audit()
        return Row(
            event,
            self.times,
            audit.wrong + audit.outside + account.reused,
            account.lost,
            account.unaccounted,
            account.duplicates,
            self.longest_s,
            [*audit.told, *account.told],
        )


Scenario = Callable[[Scene], None]
Change = Callable[[dict[str, Any]], None]


def as_it_is(_: dict[str, Any]) -> None:
    """Change nothing."""


@dataclass
class Lab(House):
    """A house whose bench file is changed before it is written."""

    change: Change = as_it_is

    def rewrite(self, bench: Mapping[str, Any]) -> None:
        here = json.loads(json.dumps(bench))
        self.change(here)
        super().rewrite(here)


@contextlib.contextmanager
def staged(
    only: tuple[str, ...] = SMALL,
    *,
    seed: int = 1,
    shim: bool = False,
    environ: Mapping[str, str] | None = None,
    change: Change = as_it_is,
    place: Callable[[House], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> Iterator[Scene]:
    """Give a scene in which everything runs.

    Args:
        only: the instruments.
        seed: of the dice.
        shim: the daemon runs with machine.c before it.
        environ: it runs with this, too.
        change: what is otherwise in its bench file.
        place: what it runs in; what this gives is the scene's `placed`.
    """
    with tempfile.TemporaryDirectory(prefix="daq-") as folder:
        lab = Lab.build(Path(folder))
        assert isinstance(lab, Lab)
        lab.change = change
        here = Shim.build(lab.folder).environ if shim else {}
        lab.daemon.environ = {**here, **(environ or {})}
        try:
            with place(lab) as placed:
                lab.start(only=only)
                yield Scene(lab, random.Random(seed), placed=placed)
        finally:
            lab.stop()


def play(*scenarios: Scenario, **stage: Any) -> Row:
    """Let these happen on a stage of their own (see `staged`), one behind the other; return what became of it.

    Raises:
        AssertionError: it went otherwise than it must.
    """
    with staged(**stage) as scene:
        for scenario in scenarios:
            scenario(scene)
        return scene.settle(", ".join(scenario.__name__.replace("_", " ") for scenario in scenarios))
