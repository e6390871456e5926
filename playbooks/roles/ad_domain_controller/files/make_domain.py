"""Makes an Active Directory domain from a wish in JSON on standard input; prints a line if it did."""

import contextlib
import json
import shutil
import sys
from pathlib import Path

from samba.netcmd.main import samba_tool

PRIVATE = Path("/var/lib/samba/private")
DONE = PRIVATE / "labctl-provisioned"  # the last thing written: a domain without it was cut short


def clear() -> None:
    """Remove what an interrupted run left: Samba refuses to make a domain on top of half of one."""
    Path("/etc/samba/smb.conf").unlink(missing_ok=True)
    for folder in (PRIVATE, Path("/var/lib/samba/sysvol"), Path("/var/lib/samba/bind-dns")):
        for path in folder.glob("*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def main() -> None:
    """Make the domain unless it is there."""
    if DONE.exists():
        return
    wish = json.load(sys.stdin)
    clear()
    # The password stays inside this process: as an argument of a program, every account could read it.
    with contextlib.redirect_stdout(sys.stderr):
        failed = samba_tool(
            "domain", "provision", "--server-role=dc", "--use-rfc2307", "--dns-backend=SAMBA_INTERNAL",
            f"--realm={wish['domain'].upper()}", f"--domain={wish['netbios']}", f"--host-name={wish['name']}",
            f"--host-ip={wish['address']}", f"--adminpass={wish['password']}", "--option=bind interfaces only=yes",
            f"--option=interfaces=lo {wish['interface']}",
        )  # fmt: skip
    if failed:
        sys.exit("samba-tool domain provision failed")
    DONE.touch()
    print(f"domain {wish['domain']}")  # noqa: T201  the task tells from it what changed


main()
