"""The live table: what a station publishes, as anybody who subscribes sees it.

It knows the broker and the contract of the messages, nothing of the daemon, and never publishes.

    sinks.subscriber (messages) -> Board (what was said last) -> table -> terminal
"""
