"""Starts the stand-ins: python -m simulators WORLD.yaml [--log FILE.jsonl] [--seconds N] [--with-parent].

Prints one JSON line when all of them listen. Ends within a second on SIGTERM or SIGINT, after N seconds, or, with
--with-parent, when standard input ends. Exit codes: 0 fine, 1 the world file is wrong or a port taken, 2 used wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from simulators.log import Log
from simulators.stand import Stand
from simulators.worldfile import Plan, WorldFileError, load


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulators", description="Serve simulated instruments on loopback and ptys.")
    parser.add_argument("world", type=Path, metavar="WORLD.yaml", help="which instruments stand where")
    parser.add_argument("--log", type=Path, metavar="FILE.jsonl", help="write every exchange there, a JSON line each")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after this long")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    return parser.parse_args(argv)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    try:
        loop.add_reader(0, readable)
    except PermissionError:  # a file, or /dev/null: it has ended already
        stop.set()


async def _serve(plan: Plan, arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    log = Log(arguments.log)
    stand = Stand(plan, log)
    try:
        ready = await stand.open()
        if arguments.with_parent:
            _watch_stdin(loop, stop)
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        try:
            async with asyncio.timeout(arguments.seconds):
                await stop.wait()
        except TimeoutError:
            pass
    finally:
        await stand.close()
        log.close()


def main(argv: list[str] | None = None) -> int:
    """Run until told to stop; give the exit code."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        plan = load(arguments.world)
        asyncio.run(_serve(plan, arguments))
    except WorldFileError as error:
        sys.stderr.write("".join(f"{line}\n" for line in error.args))
        return 1
    except OSError as error:
        sys.stderr.write(
            f"{arguments.world}: cannot serve: {error}. Free the port or path, or let the system choose (0).\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
