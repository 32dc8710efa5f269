"""One target under atheris: python -m tests.fuzz.run TARGET CORPUS [libFuzzer's flags]; libFuzzer's limits end it.

A process of its own for each target: atheris counts branches of what is imported under its eyes, and ends the process.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["daq"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run the target named first."""
    target = TARGETS[sys.argv.pop(1)]
    target(b"")  # what is read once is read before the clock of a hang runs
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
