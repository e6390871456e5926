"""The daemon that starts the UEFI machines of these tests, with what it needs to give them a TPM."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.hypervisor.daemon import PrivateDaemon, running_daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateDaemon]:
    with running_daemon() as private:
        drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        environment = {**os.environ, "HOME": str(private.folder), "XDG_CONFIG_HOME": str(private.folder / "config")}
        command = [*drop, "swtpm_setup", "--create-config-files", "skip-if-exist"]
        subprocess.run(command, env=environment, check=True, capture_output=True)  # who may sign for a TPM of this user
        yield private
