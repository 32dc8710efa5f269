"""Who the broker says it is, and where names lead: certificates good and bad, a name server that fails or hangs.

The daemon reaches its broker and one instrument by name. It is the real daemon, started by `python -m
tests.faults.identity FILE run BENCH`, in which socket.getaddrinfo asks FILE first what becomes of a name. It is done
there because an ordinary user has no other place: glibc reads the name server's address from /etc/resolv.conf alone and
speaks to port 53, LD_PRELOAD does not reach its inner calls, and a namespace would put the whole house on another
loopback. What hangs, hangs in the daemon's own thread, for as long as the file says so.

    Names (FILE) -> getaddrinfo -> the daemon          certificates (openssl) -> BrokerWire -> the daemon
"""

from __future__ import annotations

import runpy
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DOMAIN = ".bench"
BROKER = f"broker{DOMAIN}"
STOLEN = f"stolen{DOMAIN}"
LOOK_S = 0.02


class Names:
    """What becomes of each name of the domain: found, unless it is said to fail or to hang."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._said: dict[str, str] = {}
        self.say("", "")

    def say(self, host: str, word: str) -> None:
        """Have a name fail, hang, or be found ("")."""
        self._said[host] = word
        fresh = self.file.with_suffix(".new")
        fresh.write_text("".join(f"{one} {said}\n" for one, said in self._said.items() if said))
        fresh.replace(self.file)


def _word(file: Path, host: str) -> str:
    told = dict(line.split() for line in file.read_text().splitlines())
    return str(told.get(host, ""))


def _told_by(file: Path) -> None:
    found = socket.getaddrinfo

    def getaddrinfo(host: Any, *words: Any, flags: int = 0, **more: Any) -> Any:
        if isinstance(host, str) and host.endswith(DOMAIN) and not flags & socket.AI_NUMERICHOST:
            while (word := _word(file, host)) == "hangs":
                time.sleep(LOOK_S)
            if word == "fails":
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            host = "127.0.0.1"
        return found(host, *words, flags=flags, **more)

    socket.getaddrinfo = getaddrinfo


CERTIFICATES = {
    "good": ("authority", BROKER, "2"),
    "expired": ("authority", BROKER, "-1"),
    "of another name": ("authority", STOLEN, "2"),
    "of another authority": ("stranger", BROKER, "2"),
}
"""What the broker may show -> who signed it, the name in it, for how many days."""


def certificates(folder: Path) -> dict[str, ssl.SSLContext]:
    """Make the authorities and what the broker may show; the daemon trusts `authority.pem`."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("authority", "stranger"):
        openssl("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl("req", *key, "-keyout", "broker.key", "-out", "broker.csr", "-subj", "/CN=broker")
    shown = {}
    for number, (what, (authority, name, days)) in enumerate(CERTIFICATES.items()):
        (folder / "names.ext").write_text(f"subjectAltName=DNS:{name}\n")
        signed = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", days)
        openssl("x509", "-req", "-in", "broker.csr", *signed, "-extfile", "names.ext", "-out", f"broker{number}.pem")
        shown[what] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        shown[what].load_cert_chain(folder / f"broker{number}.pem", folder / "broker.key")
    return shown


if __name__ == "__main__":
    _told_by(Path(sys.argv.pop(1)))
    runpy.run_module("daq", run_name="__main__", alter_sys=True)
