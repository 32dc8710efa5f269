"""What stands where: the pydantic models of configs/<bench>.yaml.

Described, not alive. The daemon never writes this file. Names of drivers, polls and settings are checked against the
driver files by `load`, which knows line and column.

    YAML -> load -> Bench -> station
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from daq.core.address import host_and_port
from daq.core.driver_parts import Model, Name, Scalar, whole_number
from daq.core.line_settings import line_settings
from daq.core.quantity import Duration, Size, duration_ns

RESERVED = frozenset({"status", "info", "event", "cmd", "context", "alarm", "job", "log"})
"""Names that topics use; no site, station, instrument or poll may bear them."""

Role = Literal["reference", "uut", "ambient", "source"]
REACHED_BY = ("tcp", "visa", "serial", "modbus_tcp", "modbus_rtu_over_tcp", "wire")
"""Keys of an address, one of which says how the instrument is reached."""

WIRED_BY = ("serial", "modbus_rtu_over_tcp", "tcp")
"""Keys of a wire, one of which says what it is."""

SHORTEST_INTERVAL_NS = 10**6
LONGEST_INTERVAL_NS = 366 * 86400 * 10**9
"""Of a poll: beyond these it was a slip of the pen."""


def not_reserved(name: str) -> str:
    """Refuse names that are levels of topics already."""
    if name in RESERVED:
        raise ValueError(f"{name!r} is reserved: topics use it. Take another, such as '{name}1'.")
    return name


def host_port(text: str) -> str:
    """Check "host:port"."""
    host_and_port(text)
    return text


def line_notation(text: str) -> str:
    """Check serial settings, such as 9600/8n1."""
    line_settings(text)
    return text


def broker_url(text: str) -> str:
    """Check an MQTT URL without repeating it in the message: it may hold a password."""
    if "@" in text:
        raise ValueError("a user or password stands in the URL. Write username: and password: {file: ...} beside it.")
    if not re.fullmatch(r"mqtts?://(\[[0-9A-Fa-f:.%]+\]|[^/\s:\[\]]+)(:\d{1,5})?/?", text):
        raise ValueError("no URL of a broker. Write it like 'mqtt://host:1883', or 'mqtts://host:8883' for TLS.")
    return text


def interval(text: str) -> str:
    """Check the short form of a poll: an interval that can be kept, or the word unasked."""
    if text != "unasked":
        sound_interval(duration_ns(text))
    return text


def sound_interval(ns: int) -> int:
    """Refuse an interval of nothing, one that no line can keep, and one that nobody waits for."""
    if ns == 0:
        raise ValueError("a poll every 0 s would never rest. Write an interval such as '1 s'.")
    if not SHORTEST_INTERVAL_NS <= ns <= LONGEST_INTERVAL_NS:
        raise ValueError("a poll may be asked every 1 ms to every 366 d. Write an interval such as '1 s'.")
    return ns


def misplaced(key: str, why: str) -> PydanticCustomError:
    """Return the error of a key that may not stand beside its neighbours; `explain` points at that key."""
    return PydanticCustomError("misplaced", "{why}", {"key": key, "why": why})


TopicName = Annotated[Name, AfterValidator(not_reserved)]
HostPort = Annotated[str, AfterValidator(host_port), WithJsonSchema({"type": "string", "pattern": r"^\S+:\d{1,5}$"})]
LineSettings = Annotated[
    str,
    AfterValidator(line_notation),
    WithJsonSchema({"type": "string", "pattern": r"^\d+/[5-8][neomsNEOMS](1|1\.5|2)(/\w+=[01])*$"}),
]
Interval = Annotated[
    str,
    AfterValidator(interval),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9.]+\s*(ns|us|µs|ms|s|min|h|d)\s*$|^unasked$"}),
]


class Credential(Model):
    """A secret that systemd hands over (LoadCredential=)."""

    credential: str = Field(description="Name of the systemd credential that holds the secret.")


class SecretFile(Model):
    """A secret in a file of its own."""

    file: str = Field(description="Path of a file that holds the secret and nothing else.")


class SecretEnv(Model):
    """A secret in the environment."""

    env: str = Field(description="Environment variable that holds the secret.")


def secret_kind(value: object) -> str | None:
    """Return which secret a mapping is meant to be; None for what is none (the message never repeats it)."""
    if isinstance(value, Credential | SecretFile | SecretEnv):
        return next(iter(type(value).model_fields))
    named = [each for each in ("credential", "file", "env") if isinstance(value, dict) and each in value]
    return named[0] if named else None


Secret = Annotated[
    Annotated[Credential, Tag("credential")] | Annotated[SecretFile, Tag("file")] | Annotated[SecretEnv, Tag("env")],
    Discriminator(
        secret_kind,
        custom_error_type="no_secret",
        custom_error_message="a secret never stands in this file. "
        "Write {file: PATH}, {env: NAME} or {credential: NAME}.",
    ),
]


class StationName(Model):
    """Where this station stands."""

    site: TopicName = Field(description="The laboratory or factory; first level of every topic.")
    name: TopicName = Field(description="This bench; second level of every topic.")
    label: str | None = Field(default=None, description="For people, in any language.")
    line_frequency: Literal["50 Hz", "60 Hz"] = Field(default="50 Hz", description="Mains, for apertures in NPLC.")


class Tls(Model):
    """How the broker proves itself, and how we do."""

    ca: str | None = Field(default=None, description="File with the certificates to trust; else the system's.")
    certificate: str | None = Field(default=None, description="File with the client certificate.")
    key: str | None = Field(default=None, description="File with its key, readable by the daemon alone.")

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            there, gone = ("certificate", "key") if self.key is None else ("key", "certificate")
            raise misplaced(gone, f"is missing. Write the file of the {gone} that belongs to the {there}.")
        return self


MqttVersion = Annotated[
    Literal["5", "3.1.1"],
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    WithJsonSchema({"enum": [5, "5", "3.1.1"]}),
]


class Mqtt(Model):
    """The broker that observations go to."""

    url: Annotated[str, AfterValidator(broker_url)] = Field(
        description="mqtt://host:1883, or mqtts://host:8883 for TLS. No password here.",
        json_schema_extra={"pattern": r"^mqtts?://[^/@\s]+/?$"},
    )
    username: str | None = Field(default=None, description="User at the broker.")
    password: Secret | None = Field(default=None, description="Where the password stands; never in this file.")
    prefix: str = Field(
        default="bench/v1",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(/[a-z0-9][a-z0-9_-]{0,62})*$",
        description="First levels of every topic.",
    )
    version: MqttVersion = Field(default="5", description="Protocol to begin with; 3.1.1 is the fall-back.")
    tls: Tls | None = Field(default=None, description="Certificates, for mqtts.")
    client_id: str | None = Field(default=None, description="Else bench-{site}-{name}.")
    exchanges: bool = Field(default=True, description="False keeps raw exchanges in the journal only.")

    @model_validator(mode="after")
    def _tls_has_its_url(self) -> Self:
        if self.tls is not None and self.url.startswith("mqtt:"):
            raise misplaced("tls", "is for mqtts://, and the URL begins with mqtt://. Write mqtts:// or take tls away.")
        return self


class JournalLimits(Model):
    """How long observations stay on disk."""

    keep: Duration = Field(default=400 * 86400 * 10**9, description="Age at which a delivered record may go.")
    max: Size = Field(default=20 * 10**9, description="Bytes on disk, at most; the oldest goes first.")
    when_full: Literal["drop_oldest", "stop_polling"] = Field(
        default="drop_oldest", description="What happens when undelivered records fill the journal."
    )


def only_one(part: Model, ways: tuple[str, ...], example: str) -> None:
    """Refuse a place reached by no way, or by two.

    Args:
        part: the model that holds the keys.
        ways: keys, exactly one of which must be there.
        example: how it looks when it is right.
    """
    given = [way for way in ways if getattr(part, way) is not None]
    if len(given) != 1:
        said = " and ".join(given) or "none of them"
        raise ValueError(f"exactly one of {', '.join(ways)} belongs here; found {said}. Write it like {example}.")


class WireFile(Model):
    """A line that several instruments share."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [way]} for way in WIRED_BY]})

    serial: str | None = Field(default=None, description="Device, best by /dev/serial/by-id/ or a udev name.")
    modbus_rtu_over_tcp: HostPort | None = Field(default=None, description="host:port of a serial-device server.")
    tcp: HostPort | None = Field(default=None, description="host:port of a serial-device server, for text.")
    line: LineSettings | None = Field(default=None, description="Serial settings, such as 9600/8n1/rts=0.")
    gap: Duration = Field(default=0, description="Shortest pause between an answer and the next question.")
    behind: Literal["serial_server"] | None = Field(default=None, description="See the instrument's key.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        only_one(self, WIRED_BY, "{serial: /dev/bench/rs485, line: 9600/8n1}")
        if self.serial is None and self.line is not None:
            raise misplaced("line", "belongs to serial: the serial-device server has its own settings. Take it away.")
        if self.serial is not None and self.behind is not None:
            raise misplaced("behind", "belongs to a TCP address, not to a serial port of this computer. Take it away.")
        return self


class Address(Model):
    """Where an instrument is reached: exactly one of the keys, with its line settings or unit."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [way]} for way in REACHED_BY]})

    tcp: HostPort | None = Field(default=None, description="host:port of a bare socket.")
    visa: str | None = Field(default=None, description="VISA resource, such as TCPIP0::10.0.0.5::inst0::INSTR.")
    backend: str | None = Field(default=None, description="VISA library, such as @py, @ivi, @sim or a file.")
    serial: str | None = Field(
        default=None, description="Device, best by /dev/serial/by-id/ or a udev name. Text, or Modbus RTU with unit."
    )
    line: LineSettings | None = Field(default=None, description="Serial settings; else the driver's.")
    modbus_tcp: HostPort | None = Field(default=None, description="host:port, usually port 502.")
    modbus_rtu_over_tcp: HostPort | None = Field(default=None, description="host:port of a serial-device server.")
    wire: Name | None = Field(default=None, description="Name of a wire above.")
    unit: int | None = Field(default=None, ge=0, le=255, description="Modbus unit.")

    @model_validator(mode="before")
    @classmethod
    def _says_how(cls, given: object) -> object:
        if isinstance(given, str):
            message = f"{given!r} does not say how it is reached. Write it like {{tcp: {given!r}}}."
            raise ValueError(message)  # noqa: TRY004 pydantic reports ValueError
        return given

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        only_one(self, REACHED_BY, "{tcp: 10.0.0.5:5025}")
        if self.serial is None and self.line is not None:
            raise misplaced("line", f"belongs to serial, not to {self.way}. Take it away.")
        if self.visa is None and self.backend is not None:
            raise misplaced("backend", f"belongs to visa, not to {self.way}. Take it away.")
        if self.unit is not None and self.way in ("tcp", "visa"):
            raise misplaced("unit", f"is of Modbus, and {self.way} is for text. Use modbus_tcp or take the unit away.")
        if self.unit is None and self.way in ("modbus_tcp", "modbus_rtu_over_tcp"):
            raise misplaced("unit", "is missing. Write the Modbus unit, such as unit: 1.")
        return self

    @property
    def way(self) -> str:
        """The key that says how the instrument is reached."""
        return next(way for way in REACHED_BY if getattr(self, way) is not None)


class ChannelOverride(Model):
    """What stands behind one channel: a probe with an identity of its own."""

    role: Role | None = Field(default=None, description="reference, uut, ambient or source.")
    asset: str | None = Field(default=None, description="Inventory number of the probe.")
    label: str | None = Field(default=None, description="For people.")


class PollEntry(Model):
    """How often one of the driver's polls is asked."""

    ask: Name = Field(description="Poll or stream of the driver.")
    every: Annotated[Duration, AfterValidator(sound_interval)] | None = Field(
        default=None, description="Interval; left out for what comes unasked."
    )
    phase: Duration | None = Field(default=None, description="Offset on the UTC grid; else spread by itself.")
    settings: dict[str, Scalar] = Field(default_factory=dict, description="Settings for this poll, with units.")


PollWritten = Annotated[
    Annotated[PollEntry, Tag("entry")] | Annotated[Interval, Tag("interval")],
    Discriminator(lambda value: "entry" if isinstance(value, dict | PollEntry) else "interval"),
]


SIMULATED = "SIM-"
"""Serial numbers of stand-ins begin so."""


class InstrumentFile(Model):
    """One box on the bench."""

    driver: str = Field(description="File under drivers/ without ending, such as keysight/34465a.")
    at: Address = Field(description="Where it is reached.")
    behind: Literal["serial_server"] | None = Field(
        default=None, description="A serial-device server stands between: closing the socket drops nothing."
    )
    asset: str | None = Field(default=None, description="Inventory number.")
    serial_number: str | None = Field(
        default=None, description="Must be what the instrument answers; any: publish what was read, announce changes."
    )
    role: Role | None = Field(default=None, description="reference, uut, ambient or source.")
    label: str | None = Field(default=None, description="For people.")
    configure: Literal["never", "on_connect"] = Field(
        default="on_connect", description="never: only ask, change nothing on the front panel."
    )
    simulated: bool = Field(default=False, description="True for a stand-in that cannot say so by its serial number.")

    settings: dict[str, Scalar] = Field(default_factory=dict, description="Settings for all its polls.")
    channels: dict[str, ChannelOverride] = Field(default_factory=dict, description="What stands behind a channel.")
    poll: dict[TopicName, PollWritten] = Field(
        min_length=1,
        description="Polls by a name of yours: {ask: ..., every: ...}, or the driver's poll name with an interval, "
        "'2 s', or 'unasked' for what comes by itself.",
    )

    @property
    def is_simulated(self) -> bool:
        """Whether this file says that it is a stand-in: in so many words, or by the serial number it expects."""
        return self.simulated or (self.serial_number or "").startswith(SIMULATED)


class Bench(Model):
    """A place with instruments."""

    bench: Annotated[Literal[1], BeforeValidator(whole_number)] = Field(description="Version of this format.")
    station: StationName = Field(description="Where this is.")
    mqtt: Mqtt | None = Field(default=None, description="The broker; left out, nothing is published.")
    journal: JournalLimits = Field(default_factory=JournalLimits, description="How much is kept on disk, and how long.")
    metrics: HostPort | None = Field(
        default=None,
        description="host:port where Prometheus reads how the station fares, such as 127.0.0.1:9464; left out, nothing "
        "listens. A host other than this computer shows it to the network.",
    )
    wires: dict[Name, WireFile] = Field(default_factory=dict, description="Lines that several instruments share.")
    instruments: Annotated[dict[TopicName, InstrumentFile], Field(min_length=1)] = Field(
        description="The boxes, by name."
    )
