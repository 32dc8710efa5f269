"""Listens to what stations publish, for the live table and the demonstration. Never publishes.

broker -> messages (topic, payload, when it came) -> watch, demo
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiomqtt

from daq.core.errors import SinkError
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
    tls = settings.tls
    try:
        async with aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=None if settings.password is None else settings.password(),
            protocol=aiomqtt.ProtocolVersion.V311 if settings.version == "3.1.1" else aiomqtt.ProtocolVersion.V5,
            tls_params=None if tls is None else aiomqtt.TLSParameters(tls.ca, tls.certificate, tls.key),
        ) as client:
            await client.subscribe(topic, qos=1)
            if listening is not None:
                listening.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                yield Message(str(message.topic), message.payload, time.monotonic_ns())
    except aiomqtt.MqttError as error:
        raise SinkError(f"mqtt://{settings.host}:{settings.port}: {error}") from error
