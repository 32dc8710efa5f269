"""Reads bench and driver files from disk and lets nothing wrong through.

Everything that is wrong is said at once, each with file, line, column, key and how to mend it; nothing is ever written.
A driver that the bench does not use is not even opened.

    path -> source (plain data, and where each key stands) -> models -> compile -> Loaded (bench, drivers, plans)
"""

from daq.load.files import Loaded, check_file, is_driver, judge_driver, load_bench, load_driver, named_station
from daq.load.secret import resolve
from daq.load.shelf import Shelf, data_path
from daq.load.source import read_yaml

__all__ = [
    "Loaded",
    "Shelf",
    "check_file",
    "data_path",
    "is_driver",
    "judge_driver",
    "load_bench",
    "load_driver",
    "named_station",
    "read_yaml",
    "resolve",
]
