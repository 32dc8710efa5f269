"""A bare asyncio socket loop: one instrument asked again and again through asyncio's own streams; nothing kept.

python -m tests.bench.counterparts.loop SCPI_PORT
"""

from __future__ import annotations

import asyncio
import sys


async def main(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(b"READ?\n")
        float(await reader.readline())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
