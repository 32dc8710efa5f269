"""The broker in a wheel, for machines without mosquitto: python -m daq.demo.broker PORT. The only user of iotcore.

It speaks MQTT 5 on loopback, keeps nothing on disk, and is meant for the demonstration alone.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import iotcore

# rumqttd's own words: a listener for version 5 alone, since one port speaks one version.
CONFIG = """
id = 0
[router]
id = 0
max_connections = 50
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "demo"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 100
"""


def main(port: int) -> None:
    """Serve until ended by a signal."""
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL + 1)  # it reports every packet as an error
    with tempfile.TemporaryDirectory(prefix="bench-daq-broker-") as folder:
        config = Path(folder) / "rumqttd.toml"
        config.write_text(CONFIG.format(port=port), encoding="utf-8")
        broker = iotcore.Broker(config_path=str(config))
    broker.run_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
