"""Fetches secrets from where the bench file says they are: systemd, a file, the environment. Prints none, ever.

Secret (bench file) -> [resolve] -> the one consumer
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from daq.core.bench import Credential, Secret, SecretFile
from daq.core.errors import ConfigError

log = logging.getLogger(__name__)

FOLDER = "secrets"
"""The packaged unit says LoadCredential=secrets:/etc/bench-daq/secrets/."""


def resolve(secret: Secret, *, again: bool = False) -> str:
    """Return what a secret holds. It is for its one consumer: never print, log or keep it.

    Args:
        secret: where it is.
        again: what is wrong with its rights was said before.

    Raises:
        ConfigError: it is not there; says which, never what.
    """
    if isinstance(secret, Credential):
        if Path(secret.credential).name != secret.credential:
            raise ConfigError([f"{secret.credential!r} is no name of a credential. Write the name, without a path."])
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder is None:
            message = (
                f"credential {secret.credential!r}: systemd handed over none ($CREDENTIALS_DIRECTORY is not set). "
                f"Put LoadCredential={secret.credential}:/path into the unit, or use {{file: ...}}."
            )
            raise ConfigError([message])
        return _secret_file(
            _handed_over(Path(folder), secret.credential), f"credential {secret.credential!r}", again=again
        )
    if isinstance(secret, SecretFile):
        return _secret_file(Path(secret.file), f"secret file {secret.file!r}", again=again)
    held = os.environ.get(secret.env)
    if not held:
        raise ConfigError([f"environment variable {secret.env!r} is not set or empty. Set it where the daemon starts."])
    return held


def _handed_over(folder: Path, name: str) -> Path:
    """Return the file of a credential; those of a folder handed over whole bear its name too (systemd.exec(5))."""
    of_a_folder = folder / f"{FOLDER}_{name}"
    return of_a_folder if of_a_folder.exists() else folder / name


def _secret_file(file: Path, what: str, *, again: bool) -> str:
    try:
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe nobody writes into would hold the start for ever
            raise ConfigError([f"{what}: is no file. Write the secret and nothing else into one."])
        open_to_all = mode & stat.S_IROTH
        held = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{what}: cannot be read: {error.strerror}. Check its name and rights."]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{what}: is no UTF-8 text. Write the secret and nothing else into it."]) from None
    if open_to_all and not again:
        log.warning("%s can be read by everybody on this computer. Mend it: chmod o-r %s", what, file)
    held = held.removesuffix("\n").removesuffix("\r")
    if not held:
        raise ConfigError([f"{what}: is empty. Write the secret and nothing else into it."])
    return held
