"""Twenty lines as people write them: pyvisa-py, paho, one loop over all instruments.

python -m tests.bench.counterparts.scpi_script PORT COUNT EVERY_S BROKER_PORT
"""

import json
import sys
import time

import paho.mqtt.client as paho
import pyvisa


def main(port, count, every_s, broker_port):
    manager = pyvisa.ResourceManager("@py")
    name = f"TCPIP0::127.0.0.1::{port}::SOCKET"
    opened = [manager.open_resource(name, read_termination="\n", write_termination="\n") for _ in range(count)]
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker_port)
    client.loop_start()
    due = time.monotonic()
    while True:
        for number, instrument in enumerate(opened):
            due += every_s / count
            time.sleep(max(0, due - time.monotonic()))
            message = {"t": time.time(), "value": float(instrument.query("READ?"))}
            client.publish(f"script/{number}/obs", json.dumps(message), qos=1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
