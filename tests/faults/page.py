"""Writes the figures of a campaign into docs/promises.md: what happened, what was promised, what was seen.

figures (JSON) -> rows by kind of fault -> the page
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- campaign -->", "<!-- end of campaign -->"

EVENTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "An answer comes late (1.1, 2, 5 time-outs), overtaken by others, or on the next connection": (
        "No late answer passes for another's; the wire is cleaned before anything is believed.",
        ("late", "silence", "drip"),
    ),
    "An answer comes twice, is an old one, another instrument's, or our own echo": (
        "What can be told apart is no value; what cannot is declared by `integrity`.",
        ("twice", "stale", "foreign", "echo", "words unasked", "banner"),
    ),
    "An answer is damaged: bits, bytes more or less, cut short, NUL, no UTF-8": (
        "The whole reply is right, or there is no value.",
        ("garbage", "bit flip", "cut short", "NUL", "not UTF-8", "bad checksum"),
    ),
    "A line without end, a reply of 200 MB": (
        "Memory and time are bounded, and the wire recovers.",
        ("endless", "200 MB"),
    ),
    "Modbus: wrong unit, function, transaction, count, exceptions 1 to 11": (
        "Only the answer to this very question counts; an exception is a status.",
        ("wrong ", "short count", "long count", "exception"),
    ),
    "The connection: FIN, RST, half-open, refused, hung up, adapter re-plugged under another name": (
        "Lost once, back once, by itself; identity is asked again.",
        ("FIN", "RST", "half-open", "cut in idle", "refused for", "accepts", "re-plugged"),
    ),
    "The name of an instrument is not found, or the name server hangs": (
        "No poll of any other instrument waits for a name; found again, the instrument is back.",
        ("its name",),
    ),
    "Another program: a second client on its port, a second master or reader on its line": (
        "What it asked, or left of an answer, is no answer to us where the protocol shows it; the rest is missing.",
        ("another client", "another program"),
    ),
    "A call into the VISA library never returns": (
        "Its process is ended and started anew; only its own board waits.",
        ("a library call",),
    ),
    "The instrument: overload, another serial number": (
        "A code is a status, never a number; another instrument is refused.",
        ("overload", "another serial"),
    ),
    "Somebody changes the function at the front panel": (
        "Found at the next read-back; an event says since when readings are in doubt.",
        ("function changed",),
    ),
    "The broker: absent, killed and restarted (with and without persistence), frozen, black-holed, slow, out of quota, "
    "refusing, taking small packets only, giving the session to another": (
        "Nothing is lost but what the broker acknowledged and lost, or refused with an event; no poll waits for it.",
        ("broker ",),
    ),
    "The broker's certificate is expired, of another name or authority; its password or its name is another": (
        "Nothing is sent to a stranger, nothing is lost; put right, delivery goes on without a restart of the daemon.",
        ("broker's",),
    ),
}
"""Event -> promise, and how the names of its faults begin."""


def of_event(fault: str) -> str:
    """The event that a fault belongs to."""
    found = [event for event, (_, begins) in EVENTS.items() if fault.startswith(tuple(begins))]
    if fault.startswith("broker"):
        found = [event for event in found if event.startswith("The broker")]
    assert len(found) == 1, f"{fault} belongs to {found}"
    return found[0]


def table(figures: Mapping[str, Any]) -> str:
    """The table of a campaign, a row an event."""
    lines = ["| event | promise | how tested | figure from the last campaign |", "|---|---|---|---|"]
    for event, (promise, _) in EVENTS.items():
        rows = [row for row in figures["faults"] if row["times"] and of_event(row["fault"]) == event]
        how = (
            "proxies between daemon and stand-ins"
            if not event.startswith("The broker")
            else "a real mosquitto, a proxy"
        )
        lines.append(f"| {event} | {promise} | `make faults`: {how} | {_figure(rows)} |")
    total = (
        f"{figures['strikes']} faults in {figures['seconds'] / 60:g} minutes (seed {figures['seed']}), "
        f"{figures['readings']} readings: {figures['wrong']} wrong, {figures['lost']} lost, "
        f"{figures['unaccounted']} slots unaccounted for, {figures['hidden']} forgeries believed that nothing on their "
        f"wire shows, {figures['duplicates']} duplicates, all under the same id."
    )
    health = (
        f"What `daq status` said of an instrument or of the broker was not what came for "
        f"{figures['status_not_what_came_s']:g} s at most; the retained status differed from it, the broker "
        f"being well, for {figures['retained_status_another_s']:g} s."
    )
    return "\n".join([total, "", *_growth(figures), health, "", *lines])


def _growth(figures: Mapping[str, Any]) -> list[str]:
    """Say what the daemon came to hold more of; nothing where the campaign was too short to tell."""
    held = figures["more_per_thousand_faults"]
    if not held:
        return []
    said = (
        f"For each thousand faults, from the middle to the end, the daemon and its children came to hold "
        f"{held['descriptors']:g} descriptors, {held['threads']:g} threads and {held['rss_kib'] / 1024:.1f} MiB more."
    )
    return [said, ""]


def _figure(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "not struck"
    times, wrong, hidden, lost, slots = (
        sum(row[key] for row in rows) for key in ("times", "wrong", "hidden", "lost", "unaccounted")
    )
    late_ms = max(1000 * row["others_delay_s"] for row in rows)
    beside = [1000 * row["same_wire_delay_s"] for row in rows if row.get("same_wire_delay_s") is not None]
    beyond_ms = max(1000 * row["others_beyond_s"] for row in rows)
    near = f" ({max(beside):.0f} ms on the same wire)" if beside else ""
    back_s = max((row["recovery_s"] for row in rows if row["recovery_s"] is not None), default=0.0)
    unseen = f", {hidden} unseen" if hidden else ""
    seen = f"{times} times: {wrong} wrong{unseen}, {lost} lost, {slots} slots missing"
    return (
        f"{seen}; others at most {late_ms:.0f} ms late, {beyond_ms:.0f} ms less load{near}; back within {back_s:.1f} s"
    )


def write(page: Path, figures: Mapping[str, Any]) -> None:
    """Put the table between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table(figures)}\n{END}{after}", encoding="utf-8")
