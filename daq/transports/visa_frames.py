"""What a station and its VISA child say to each other: frames of a JSON head and a body of bytes. Pure.

Two lengths of 4 bytes, high byte first, then the head and the body. A question names an `op`, a `link` and the
monotonic instant it must be done by (one clock for all processes of a machine); an answer repeats the question's
number and says how it went. Stamps are pairs of nanoseconds, monotonic and UTC.

    visa -> frame -> visa_child -> frame -> visa
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final, Literal

LENGTHS: Final = struct.Struct(">II")

Head = dict[str, Any]

Outcome = Literal["done", "timeout", "closed", "unasked", "flooded", "refused"]
"""How a question went: `unasked` bytes were waiting and nothing was sent; `refused` is beyond this resource."""


def frame(head: Head, body: bytes = b"") -> bytes:
    """Return one frame."""
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), len(body)) + text + body


def head_of(text: bytes) -> Head:
    """Read a frame's head."""
    head: Head = json.loads(text)
    return head
