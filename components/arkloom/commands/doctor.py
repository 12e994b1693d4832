"""``arkloom doctor``: is this machine ready?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from arkloom.commands.shared import Commands, Options, settings
from arkloom.errors import EXIT_DONE, EXIT_FAILURE

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_NAME_WIDTH = 18


def add(commands: Commands, options: Options) -> None:
    """Add the commands of this group."""
    doctor = commands.add_parser(
        "doctor",
        parents=[options.common, options.stored],
        help="is this machine ready? Each line: fine, or what to do",
        description="Looks at Python, the torch build, cores, memory, disks, devices, models, endpoints and "
        "the store of a configuration (default: the laptop preset). Writes a probe of a few bytes under the "
        "store's root and deletes it again; asks every endpoint for one token. Exit code 1 where a run would "
        "not get through.",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    from arkloom.doctor import examine  # noqa: PLC0415 - see commands/run.py

    console = Console(highlight=False, soft_wrap=True)
    found = []
    for finding in examine(settings(given, "laptop")):
        found.append(finding)
        if given.json:
            continue
        line = Text(f"{finding.state:<5}", style=_STYLES[finding.state])
        line.append(f"{finding.name:<{_NAME_WIDTH}} ", style="bold").append(finding.told, style="not bold")
        if finding.mend:
            line.append(f". {finding.mend}", style="not bold")
        console.print(line)
        sys.stdout.flush()
    if given.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    return EXIT_FAILURE if any(finding.state == "fail" for finding in found) else EXIT_DONE
