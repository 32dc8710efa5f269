"""bench-daq: asks the instruments of a calibration bench what they read, and says when each reading was true.

    wire -> transports -> session -> line -> station -> journal -> sinks -> broker

Every room opens with what it is for; `core` is pure and holds the words of the house.
"""

__version__ = "0.1.0"
