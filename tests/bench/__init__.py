"""What the daemon costs, beside what a laboratory would otherwise use: `make bench`.

Timings on a shared machine are noisy, so that what can be a ratio is one: the daemon and its counterpart take turns,
several rounds of a few seconds in one run, against the same responder in C and the same broker. CPU is user and system
time of the daemon's (or the counterpart's) processes alone; what came is counted at the broker by an ear in C.

    shapes -> rounds (daemon, counterpart, daemon, ...) -> medians, spreads, ratios -> report
"""
