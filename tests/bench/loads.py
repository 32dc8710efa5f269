"""What a steady load costs: the daemon and its counterparts in turns, CPU for each value that arrives."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.bench.benches import daemon_on, modbus_bench, scpi_bench
from tests.bench.figures import median, spread
from tests.bench.grid import judge_lateness
from tests.bench.procs import COLLECTD, COLLECTD_PLUGINS, Place, has_collectd, responder, running
from tests.bench.report import Options, Result
from tests.bench.rounds import Contender, compare, costs, delivered, ratios, rounds


def script(name: str, *words: object) -> AbstractContextManager[Any]:
    """Run a counterpart in Python."""
    return running(sys.executable, "-m", f"tests.bench.counterparts.{name}", *map(str, words))


def saturated(here: Place, options: Options) -> Result:
    """100 SCPI sockets as fast as one core goes."""
    result = Result("100 SCPI sockets, saturated", "CPU per observation <= 2 x the bare composition's")
    with responder(here, "scpi_responder", 100, "0") as stand:
        ours = Contender("daemon", daemon_on(here, scpi_bench("10 ms", stand.ports)), here.ear)
        floor = Contender("floor", lambda: script("floor", stand.ports[0], 100, here.broker, here.folder), here.ear)
        found = rounds([ours, floor], options)
    costs(result, found)
    missed = median([one.missed / one.seconds for one in found["daemon"]])
    result.says(f"daemon: asked for 10,000 a second; runs of missed slots told: {missed:.0f} a second")
    compare(result, found, "floor", 2)
    return result


def fifty(here: Place, options: Options) -> Result:
    """50 Modbus TCP devices x 10 registers x 10 Hz."""
    result = Result(
        "50 Modbus TCP devices x 10 registers x 10 Hz",
        "CPU per value <= collectd's (C, a message a value, not durable); every value delivered",
    )
    with responder(here, "modbus_responder", 50) as stand:
        contenders = [Contender("daemon", daemon_on(here, modbus_bench(10, "100 ms", stand.ports)), here.ear)]
        if has_collectd():
            conf = _collectd(here, stand.ports[0])
            start = lambda: running(COLLECTD, "-f", "-C", conf, log=here.folder / "collectd.log")  # noqa: E731  a name for one line
            contenders.append(Contender("collectd", start, here.ear, 0))
        else:
            result.shows("collectd is not on this machine")
        shapes = (("a script with a message a device", "device", 10), ("a script with a message a value", "value", 1))
        for name, shape, each in shapes:
            start = lambda shape=shape: script(  # noqa: E731  a name for one line
                "modbus_script", stand.ports[0], 50, 10, 0.1, here.broker, shape
            )
            contenders.append(Contender(name, start, here.ear, 0, each=each))
        found = rounds(contenders, options)
    costs(result, found)
    if "collectd" in found:
        compare(result, found, "collectd", 1)
    delivered(result, found["daemon"], 5000)
    for name, _, _ in shapes:
        result.says(f"{spread(ratios(found['daemon'], found[name]), 2)} times the CPU of {name}")
    if "collectd" not in found and result.met:
        result.met = None
    return result


def _collectd(here: Place, port: int) -> Path:
    """Write collectd's configuration: its modbus plugin reads, its mqtt plugin publishes."""
    data = [
        f'<Data "r{at}">\n RegisterBase {at}\n RegisterType Uint16\n Type gauge\n Instance "r{at}"\n</Data>'
        for at in range(10)
    ]
    collect = "\n".join(f' Collect "r{at}"' for at in range(10))
    hosts = "\n".join(
        f'<Host "h{number}">\n Address "127.0.0.1"\n Port "{port}"\n Interval 0.1\n'
        f'<Slave 1>\n Instance "d"\n{collect}\n</Slave>\n</Host>'
        for number in range(50)
    )
    conf = here.folder / "collectd.conf"
    conf.write_text(
        f'BaseDir "{here.folder}"\nPIDFile "{here.folder}/collectd.pid"\nPluginDir "{COLLECTD_PLUGINS}"\n'
        'TypesDB "/usr/share/collectd/types.db"\nInterval 0.1\nReadThreads 5\nWriteThreads 5\n'
        "LoadPlugin modbus\nLoadPlugin mqtt\n<Plugin modbus>\n" + "\n".join(data) + f"\n{hosts}\n</Plugin>\n"
        f'<Plugin mqtt>\n<Publish "b">\n Host "127.0.0.1"\n Port {here.broker}\n QoS 1\n Prefix "collectd"\n'
        "</Publish>\n</Plugin>\n"
    )
    return conf


def five_hundred(here: Place, options: Options) -> Result:
    """500 one-register devices x 10 Hz, a message each."""
    result = Result(
        "500 one-register devices x 10 Hz, a message each", "<= 1/2 of the pymodbus + aiomqtt script's CPU per value"
    )
    with responder(here, "modbus_responder", 500) as stand:
        ours = Contender("daemon", daemon_on(here, modbus_bench(1, "100 ms", stand.ports)), here.ear)
        words = (stand.ports[0], 500, 1, 0.1, here.broker, "value")
        found = rounds([ours, Contender("the script", lambda: script("modbus_script", *words), here.ear)], options)
    costs(result, found)
    compare(result, found, "the script", 0.5)
    came = {name: median([one.values_per_s for one in samples]) for name, samples in found.items()}
    result.shows(f"of 5000 a second came {came['daemon']:.0f}, of the script's {came['the script']:.0f}")
    return result


def paced(here: Place, options: Options) -> Result:
    """100 SCPI sockets x 10 Hz, phases spread."""
    result = Result(
        "100 SCPI sockets x 10 Hz, phases spread",
        "<= 1.3 x the pyvisa-py + paho script's CPU; p99 start lateness <= 2 x a C loop's; no slot missed in 10 min",
    )
    with responder(here, "scpi_responder", 100, "0") as stand:
        bench = scpi_bench("100 ms", stand.ports)
        words = (stand.ports[0], 100, 0.1, here.broker)
        other = Contender("the script", lambda: script("scpi_script", *words), here.ear)
        found = rounds([Contender("daemon", daemon_on(here, bench), here.ear), other], options)
        costs(result, found)
        compare(result, found, "the script", 1.3)
        judge_lateness(result, here, bench, 1000, options, at_most=2, soak_s=options.soak_s)
    return result
