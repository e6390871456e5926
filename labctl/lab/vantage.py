"""Runs on the host itself the program by which checks ask, with as few rights as there are."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterable

from labctl.errors import LabctlError
from labctl.language import _
from labctl.ssh import Answer

NOBODY = 65534  # the account `nobody` and the group `nogroup`
SYSTEM_PYTHON = "/usr/bin/python3"


def run_here(program: bytes, deadline: float) -> Answer:
    """Run a Python program from standard input: as nobody where labctl is root, else as whoever runs labctl.

    Raises TimeoutError after `deadline` seconds, LabctlError where no Python can be run.
    """
    account, groups = (NOBODY, ()) if os.geteuid() == 0 else (None, None)
    trouble: OSError | None = None
    # A Python in root's home is out of nobody's reach; that of the system does as well, as it does on nodes.
    for python in (os.path.realpath(sys.executable), SYSTEM_PYTHON):
        try:
            done = subprocess.run(
                [python, "-I", "-S", "-"], input=program, capture_output=True, check=False, timeout=deadline,
                cwd="/", env={}, user=account, group=account, extra_groups=groups,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(_("the command did not end in time")) from exc
        except OSError as exc:
            trouble = exc
        else:
            out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
            return Answer(done.returncode, out, err)
    raise LabctlError(_("the host cannot run Python without root's rights: {error}").format(error=trouble))


def require_links(addresses: Iterable[str]) -> None:
    """Raise LabctlError where a link of these addresses is not there: what is asked of nothing decides nothing."""
    present = {name for _number, name in socket.if_nameindex()}
    for link in {address.partition("%")[2] for address in addresses} - {"", *present}:
        raise LabctlError(_("the host has no link {name} to this lab: it does not run").format(name=link))
