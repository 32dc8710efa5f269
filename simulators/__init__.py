"""Stand-ins for the instruments of a bench, written from their manuals, on loopback sockets, ptys and Modbus.

Imports nothing of daq, nor daq of it: a simulator that shared the decoder would share its mistakes. One process, one
event loop, one physical world; every exchange is logged with the true instant at which the world was sampled.

world file -> worldfile.Plan -> stand.Stand -> text_server, pty_server, hislip, modbus_server -> dialogue -> models
"""
