"""The demonstration: simulated instruments, a broker, the daemon and a live table, each a process of its own.

Nothing here is a part of the daemon, and the daemon knows nothing of it: the demo starts what a user would start by
hand, on ports that the system gives, subscribes like any other reader, and audits what came against what the simulated
instruments wrote down themselves.

    processes (simulators, broker, daq run) -> messages -> audit (the simulators' log) -> live table, one line of JSON
"""
