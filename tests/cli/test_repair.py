"""The verb `repair`, typed: what it prints, its JSON, and a host without libvirt."""

import json

from tests.cli.conftest import NOWHERE, Installation


def test_the_command(labctl: Installation) -> None:
    done = labctl.run("repair")
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing to repair\n", "")
    database = labctl.home / "labctl" / "labctl.sqlite3"
    database.write_bytes(b"no database\n" * 1000)
    refused = labctl.run("status")
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (1, "Try: labctl repair")
    done = labctl.run("repair", "--dry-run")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert done.stdout.startswith('→ to mend: the database "')
    (found,) = json.loads(labctl.run("repair", "--json").stdout)["found"]
    assert (found["kind"], found["deed"]) == ("database", "mended")
    assert labctl.json("status")["labs"] == []
    assert labctl.run("repair").stdout == "nothing to repair\n"


def test_the_command_without_libvirt_mends_what_it_can(labctl: Installation) -> None:
    database = labctl.home / "labctl" / "labctl.sqlite3"
    database.parent.mkdir()
    database.write_bytes(b"no database\n" * 1000)
    done = labctl.run("repair", LABCTL_URI=NOWHERE)
    assert done.returncode == 7
    assert done.stdout.startswith('✔ mended: the database "')
    assert "cannot be reached" in done.stderr
