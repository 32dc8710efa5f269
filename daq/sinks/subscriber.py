"""Listens to what stations publish, for the live table and the demonstration. Never publishes.

broker -> messages (topic, payload, when it came) -> watch, demo
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from mqttium import MQTTError, MQTTProtocolVersion
from mqttium.api import AsyncClient

from daq.core.errors import SinkError
from daq.sinks.connection import trust
from daq.sinks.publisher import MqttSettings


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came; `arrived_ns` on the monotonic clock."""

    topic: str
    payload: bytes
    arrived_ns: int


async def messages(
    settings: MqttSettings, topic: str, listening: asyncio.Event | None = None
) -> AsyncIterator[Message]:
    """Yield what is published under `topic`, in order, until the connection is lost.

    Args:
        settings: where the broker is; the client id is left to the broker.
        topic: with wildcards, such as bench/v1/#.
        listening: set once the subscription stands.

    Raises:
        SinkError: the broker cannot be reached, refuses, or is lost.
    """
    where = f"mqtt://{settings.host}:{settings.port}"
    version = MQTTProtocolVersion.MQTTv311 if settings.version == "3.1.1" else MQTTProtocolVersion.MQTTv5
    try:
        context = None if settings.tls is None else trust(settings.tls)
        password = None if settings.password is None else settings.password()
        async with AsyncClient(protocol=version, username=settings.username, password=password) as client:
            await client.connect(settings.host, settings.port, ssl=context)
            heard = client.messages()
            await client.subscribe(topic, qos=1)
            if listening is not None:
                listening.set()
            async for message in heard:
                yield Message(message.topic, message.payload, time.monotonic_ns())
    except (MQTTError, OSError, ValueError) as error:  # ValueError: certificates
        raise SinkError(f"{where}: {error}") from error
    raise SinkError(f"{where}: the connection is lost")
