"""Twenty lines as people write them: pymodbus, aiomqtt, a task a device.

python -m tests.bench.counterparts.modbus_script PORT DEVICES WORDS EVERY_S BROKER_PORT device|value
"""

import asyncio
import json
import sys

import aiomqtt
from pymodbus.client import AsyncModbusTcpClient


async def device(number, port, words, every_s, client, shape):
    modbus = AsyncModbusTcpClient("127.0.0.1", port=port)
    await modbus.connect()
    await asyncio.sleep(every_s * (number * 0.618 % 1))
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        answer = await modbus.read_holding_registers(0, count=words, device_id=1)
        if shape == "device":
            await client.publish(f"script/{number}/obs", json.dumps({"value": answer.registers}), qos=1)
        else:
            for at, value in enumerate(answer.registers):
                await client.publish(f"script/{number}/{at}/obs", json.dumps({"value": value}), qos=1)
        due += every_s
        await asyncio.sleep(max(0, due - loop.time()))


async def main(port, devices, words, every_s, broker_port, shape):
    async with aiomqtt.Client("127.0.0.1", broker_port) as client:
        client.pending_calls_threshold = 1_000_000
        await asyncio.gather(*(device(n, port, words, every_s, client, shape) for n in range(devices)))


if __name__ == "__main__":
    _, port, devices, words, every, broker, shape = sys.argv
    asyncio.run(main(int(port), int(devices), int(words), float(every), int(broker), shape))
