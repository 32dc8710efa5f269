"""`daq service`: the systemd unit and udev rules, printed or put in place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from daq.core.errors import DaqError
from daq.load import data_path

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Print or install the systemd unit and udev rules.")

UNIT = "bench-daq@.service"
RULES = "60-bench-daq.rules"
PACKAGED = "/opt/bench-daq/bin/daq"
"""What the unit file as shipped starts; replaced by the program that installs it."""

HIDDEN = ("/home", "/root", "/tmp", "/var/tmp")  # noqa: S108  named, not used
"""What a hardened service does not see."""

Program = Annotated[Path | None, typer.Option(help="The daq to start; else this one.")]


@app.command("print")
def print_(program: Program = None) -> None:
    """Print the unit, ready to be put under /etc/systemd/system."""
    typer.echo(_unit(program), nl=False)


@app.command()
def install(
    program: Program = None,
    root: Annotated[Path, typer.Option(help="Below which folder; for images and tests.")] = Path("/"),
) -> None:
    """Put unit and udev rules in place and make /etc/bench-daq; start nothing, overwrite no bench file."""
    files = {
        root / "etc/systemd/system" / UNIT: _unit(program),
        root / "etc/udev/rules.d" / RULES: (data_path("systemd") / RULES).read_text(encoding="utf-8"),
    }
    secrets = root / "etc/bench-daq/secrets"
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            typer.echo(f"wrote {path}")
        secrets.mkdir(parents=True, exist_ok=True)
        secrets.chmod(0o700)
    except OSError as error:
        raise DaqError(
            f"{error.filename}: {error.strerror}. Installing needs root: sudo daq service install"
        ) from error
    typer.echo(_next_steps(root))
    started = program or Path(sys.prefix) / "bin" / "daq"
    if any(Path(hidden) in started.parents for hidden in HIDDEN):
        typer.echo(f"{started} stands where the unit cannot look (ProtectHome, PrivateTmp). Use /opt.", err=True)


def _unit(program: Path | None) -> str:
    daq = program or Path(sys.prefix) / "bin" / "daq"
    return (data_path("systemd") / UNIT).read_text(encoding="utf-8").replace(PACKAGED, str(daq))


def _next_steps(root: Path) -> str:
    bench, secrets = root / "etc/bench-daq/bench1.yaml", root / "etc/bench-daq/secrets"
    return f"""
Next, for a station called bench1:
  1. put its bench file at {bench} and check it: daq check {bench}
  2. put its secrets, one a file, under {secrets}; the bench file names them {{credential: NAME}}
  3. sudo udevadm control --reload && sudo udevadm trigger
  4. sudo systemctl daemon-reload && sudo systemctl enable --now bench-daq@bench1
  5. look: systemctl status bench-daq@bench1, sudo daq status --bench {bench}"""
