"""What stands where: the pydantic models of configs/<bench>.yaml.

Described, not alive. The daemon never writes this file. Names of drivers, polls and settings are checked against the
driver files by `load`, which knows line and column.

    YAML -> load -> Bench -> station
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from daq.core.driver import Model, Name, Scalar
from daq.core.quantity import Duration, Size

RESERVED = frozenset({"status", "info", "event", "cmd", "context", "alarm", "job", "log"})
"""Names that topics use; no instrument or station may bear them."""

Role = Literal["reference", "uut", "ambient", "source"]


class Credential(Model):
    """A secret that systemd hands over (LoadCredential=)."""

    credential: str = Field(description="Name of the systemd credential that holds the secret.")


class SecretFile(Model):
    """A secret in a file of its own."""

    file: str = Field(description="Path of a file that holds the secret and nothing else.")


class SecretEnv(Model):
    """A secret in the environment."""

    env: str = Field(description="Environment variable that holds the secret.")


Secret = Credential | SecretFile | SecretEnv


class StationName(Model):
    """Where this station stands."""

    site: Name = Field(description="The laboratory or factory; first level of every topic.")
    name: Name = Field(description="This bench; second level of every topic.")
    label: str | None = Field(default=None, description="For people, in any language.")
    line_frequency: Literal["50 Hz", "60 Hz"] = Field(default="50 Hz", description="Mains, for apertures in NPLC.")


class Tls(Model):
    """How the broker proves itself, and how we do."""

    ca: str | None = Field(default=None, description="File with the certificates to trust; else the system's.")
    certificate: str | None = Field(default=None, description="File with the client certificate.")
    key: Secret | str | None = Field(default=None, description="File with its key, or a secret that holds the path.")


class Mqtt(Model):
    """The broker that observations go to."""

    url: str = Field(
        pattern=r"^mqtts?://[^/@\s]+$", description="mqtt://host:1883, or mqtts://host:8883 for TLS. No password here."
    )
    username: str | None = Field(default=None, description="User at the broker.")
    password: Secret | None = Field(default=None, description="Where the password stands; never in this file.")
    prefix: str = Field(
        default="bench/v1",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(/[a-z0-9][a-z0-9_-]{0,62})*$",
        description="First levels of every topic.",
    )
    version: Literal["5", "3.1.1"] = Field(default="5", description="Protocol to begin with; 3.1.1 is the fall-back.")
    tls: Tls | None = Field(default=None, description="Certificates, for mqtts.")
    client_id: str | None = Field(default=None, description="Else bench-{site}-{name}.")
    exchanges: bool = Field(default=True, description="False keeps raw exchanges in the journal only.")


class JournalLimits(Model):
    """How long observations stay on disk."""

    keep: Duration = Field(default=400 * 86400 * 10**9, description="Age at which a delivered record may go.")
    max: Size = Field(default=20 * 10**9, description="Bytes on disk, at most; the oldest goes first.")
    when_full: Literal["drop_oldest", "stop_polling"] = Field(
        default="drop_oldest", description="What happens when undelivered records fill the journal."
    )


class WireFile(Model):
    """A line that several instruments share."""

    serial: str | None = Field(default=None, description="Device, best by /dev/serial/by-id/ or a udev name.")
    modbus_rtu_over_tcp: str | None = Field(default=None, description="host:port of a serial-device server.")
    tcp: str | None = Field(default=None, description="host:port of a serial-device server, for text.")
    line: str | None = Field(default=None, description="Serial settings, such as 9600/8n1/rts=0.")
    gap: Duration = Field(default=0, description="Shortest pause between an answer and the next question.")
    behind: Literal["serial_server"] | None = Field(default=None, description="See the instrument's key.")


class Address(Model):
    """Where an instrument is reached: exactly one of the keys, with its line settings or unit."""

    tcp: str | None = Field(default=None, description="host:port of a bare socket.")
    visa: str | None = Field(default=None, description="VISA resource, such as TCPIP0::10.0.0.5::inst0::INSTR.")
    backend: str | None = Field(default=None, description="VISA library, such as @py, @ivi, @sim or a file.")
    serial: str | None = Field(
        default=None, description="Device, best by /dev/serial/by-id/ or a udev name. Text, or Modbus RTU with unit."
    )
    line: str | None = Field(default=None, description="Serial settings; else the driver's.")
    modbus_tcp: str | None = Field(default=None, description="host:port, usually port 502.")
    modbus_rtu_over_tcp: str | None = Field(default=None, description="host:port of a serial-device server.")
    wire: Name | None = Field(default=None, description="Name of a wire above.")
    unit: int | None = Field(default=None, ge=0, le=255, description="Modbus unit.")


class ChannelOverride(Model):
    """What stands behind one channel: a probe with an identity of its own."""

    role: Role | None = Field(default=None, description="reference, uut, ambient or source.")
    asset: str | None = Field(default=None, description="Inventory number of the probe.")
    label: str | None = Field(default=None, description="For people.")


class PollEntry(Model):
    """How often one of the driver's polls is asked."""

    ask: Name = Field(description="Poll or stream of the driver.")
    every: Duration | None = Field(default=None, description="Interval; left out for what comes unasked.")
    phase: Duration | None = Field(default=None, description="Offset on the UTC grid; else spread by itself.")
    settings: dict[str, Scalar] = Field(default_factory=dict, description="Settings for this poll, with units.")


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
    poll: dict[Name, PollEntry | str] = Field(
        description="Polls by a name of yours: {ask: ..., every: ...}, or the driver's poll name with an interval, "
        "'2 s', or 'unasked' for what comes by itself."
    )


class Bench(Model):
    """A place with instruments."""

    bench: Literal[1] = Field(description="Version of this format.")
    station: StationName = Field(description="Where this is.")
    mqtt: Mqtt | None = Field(default=None, description="The broker; left out, nothing is published.")
    journal: JournalLimits = Field(default_factory=JournalLimits, description="How long observations stay on disk.")
    wires: dict[Name, WireFile] = Field(default_factory=dict, description="Lines that several instruments share.")
    instruments: Annotated[dict[Name, InstrumentFile], Field(min_length=1)] = Field(description="The boxes, by name.")
