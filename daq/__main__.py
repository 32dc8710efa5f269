"""python -m daq."""

from __future__ import annotations

from daq.cli import main

if __name__ == "__main__":
    main()
