"""Where drivers are made: begun from a manual, tried against an instrument, recorded, held against the rules.

Works on files and instruments that a person names, for a person at a terminal; the daemon needs nothing of it. A driver
is described here as everywhere else, and asked through the very sessions and transports of every day.

    new (questions -> skeleton), findings (file -> what is wrong), attempt (instrument -> bytes and readings),
    record (attempt -> examples), scan (interfaces -> proposals), stand_in and serve (examples -> an instrument)
"""
