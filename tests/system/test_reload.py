"""Files that change while the station runs: a wrong one changes nothing, a right one only what it must."""

from __future__ import annotations

import signal

from tests.system.house import BENCH, eventually, retained

AT_FIRST = ("dmm1", "pressure1", "meter1", "meter3")


def went_on(house, name, since):
    """An instrument that was left alone counts on: no number missing, no slot failed."""
    house.ear.next(name, since, count=2, status="ok")
    messages = [heard.json for heard in house.ear.obs(name, since)]
    seqs = [message["seq"] for message in messages]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert {message["status"] for message in messages} <= {"ok", "missed"}


def test_what_a_reload_changes_and_what_it_leaves_alone(empty):
    empty.start(only=AT_FIRST)
    ear, daemon = empty.ear, empty.daemon

    # A file that is wrong: the old one stays in force, and why is said in the log, in an event and to who asked.
    here = empty.write(only=AT_FIRST)
    here["instruments"]["dmm1"]["pol"] = here["instruments"]["dmm1"].pop("poll")
    here["instruments"]["pressure1"]["driver"] = "druck/pace500"
    empty.rewrite(here)
    mark = ear.mark()
    daemon.send(signal.SIGHUP)
    ear.until(lambda: ear.events("reload", mark, outcome="refused"), "the refusal")
    told = "\n".join(ear.events("reload", mark)[0]["problems"])
    assert "'druck/pace500'. Nearest: 'druck/pace5000'" in told
    assert "instruments.dmm1.pol" in told
    daemon.said("instruments.dmm1.pol")
    run = daemon.verb("reload", "--bench", str(daemon.bench))
    assert run.returncode == 1
    assert "bench.yaml:" in run.stderr
    assert "instruments.dmm1.pol: no such key. Nearest: 'poll'." in run.stderr
    assert run.stderr.endswith("Nothing has changed: the station goes on with what it read before.\n")
    mark = ear.mark()
    for name in AT_FIRST:
        went_on(empty, name, mark)

    # Not even YAML, or the file of another station: it is found all the same, by the file that it has read.
    for broken in ("station: {site: lab, name: b1\n", "station: {site: lab, name: b9}\n"):
        daemon.bench.write_text(broken)
        for verb, code in (("reload", 1), ("mark", 0)):
            run = daemon.verb(verb, "--bench", str(daemon.bench))
            assert run.returncode == code, run.stderr
            assert "No station" not in run.stderr

    # One added, one removed, one changed, one left alone.
    after = ("dmm1", "pressure1", "meter3", "balance1")
    here = empty.write(only=after)
    here["instruments"]["dmm1"]["poll"]["vref"]["settings"]["nplc"] = 0.2
    empty.rewrite(here)
    mark = ear.mark()
    daemon.send(signal.SIGHUP)
    done = ear.until(lambda: ear.events("reload", mark, outcome="done"), "the reload")[0]
    assert (done["added"], done["removed"], done["restarted"]) == (["balance1"], ["meter1"], ["dmm1"])
    assert done["kept"] == 2
    ear.next("balance1", mark, status="ok")
    ear.until(lambda: ear.status("balance1") == "ok", "balance1 ok")
    ear.until(
        lambda: any(heard.json["aperture"] < 0.04 for heard in ear.obs("dmm1", mark, status="ok")), "the new nplc"
    )
    for name in ("pressure1", "meter3"):
        went_on(empty, name, mark)
    ear.until(
        lambda: (
            {heard.topic for heard in ear.heard[mark:] if heard.instrument == "meter1" and not heard.payload}
            == {"bench/v1/lab/b1/meter1/status", "bench/v1/lab/b1/meter1/info"}
        ),
        "what was told of meter1 to be cleared",
    )
    ear.until(
        lambda: any(heard.topic.endswith("/balance1/status") for heard in ear.heard[mark:]), "the word of balance1"
    )
    kept = retained(empty.broker.port, "bench/v1/#")
    assert not any("/meter1/" in topic for topic in kept)
    assert kept["bench/v1/lab/b1/balance1/status"]["status"] == "ok"
    assert daemon.ask(do="status")[0]["instruments"].keys() == set(after)

    # What only a restart can change is refused, with what to do.
    here["station"]["name"] = "b2"
    empty.rewrite(here)
    mark = ear.mark()
    daemon.send(signal.SIGHUP)
    ear.until(lambda: ear.events("reload", mark, outcome="refused"), "the refusal")
    assert "station.name: cannot change while the station runs" in str(ear.events("reload", mark)[0]["problems"])

    # The same file again changes nothing at all, and the seqs of the instrument that was restarted go on too.
    here["station"]["name"] = "b1"
    empty.rewrite(here)
    run = daemon.verb("reload", "--bench", str(daemon.bench))
    assert run.returncode == 0, run.stderr
    mark = ear.mark()
    for name in after:
        went_on(empty, name, mark)
    audit = empty.audit()
    audit.settle({}, set())
    assert (audit.wrong, audit.outside, audit.lost) == (0, 0, 0), audit.told


def test_a_wrong_bench_does_not_start(empty):
    bench = {
        **BENCH,
        "instruments": {"dmm1": {**BENCH["instruments"]["dmm1"], "driver": "keysight/34465"}},
        "wires": {},
    }
    empty.write(bench)
    run = empty.daemon.verb("run", str(empty.daemon.bench))
    assert run.returncode == 1
    assert run.stderr.startswith("bench.yaml:")
    assert "instruments.dmm1.driver: no driver 'keysight/34465'. Nearest: 'keysight/34465a'" in run.stderr
    assert "Traceback" not in run.stderr
    assert not empty.daemon.state.exists()
    run = empty.daemon.verb("run", str(empty.folder / "nothing.yaml"))
    assert run.returncode == 2
    assert "nothing.yaml" in run.stderr


def test_status_names_every_instrument_all_through_a_reload(empty):
    """One that hangs takes its time to end; until another line has taken its place the one before is told of."""
    names = ("dmm1", "pressure1", "meter3")
    empty.start(only=names)
    ear, daemon = empty.ear, empty.daemon
    for name in names:
        ear.next(name, 0, status="ok")
    empty.world.fault("dmm1", "silence", times=1000)
    mark = ear.mark()
    ear.next("dmm1", mark, status="timeout")
    here = empty.write(only=names)
    for name in names:
        here["instruments"][name]["label"] = "changed"
    empty.rewrite(here)
    daemon.send(signal.SIGHUP)
    named = []
    while not ear.events("reload", mark, outcome="done"):
        named.append(set(daemon.ask(do="status")[0]["instruments"]))
    assert all(each == set(names) for each in named), named
    assert sorted(ear.events("reload", mark, outcome="done")[0]["restarted"]) == sorted(names)
    empty.world.clear("dmm1")
    for name in names:
        ear.next(name, ear.mark(), status="ok")

    def agree():
        held = retained(empty.broker.port, "bench/v1/#")
        told = daemon.ask(do="status")[0]["instruments"]
        return (
            {held[f"bench/v1/lab/b1/{name}/status"]["status"] for name in names}
            == {each["status"] for each in told.values()}
            == {"ok"}
        )

    eventually(agree, "status and retained status saying ok")
