"""The emulated TPM of a machine to a file that is kept with its frozen disk, and back; libvirt files it by UUID."""

import os
import shutil
from pathlib import Path

STORAGE = Path("/var/lib/libvirt/swtpm")  # of the system's daemon; libvirt 9 lets no description choose another place
STATE = "tpm2-00.permall"  # swtpm(8): what outlives a restart of a TPM 2.0


def state_file(uuid: str, storage: Path) -> Path:
    """Return where the lasting state of a machine's TPM is."""
    return storage / uuid / "tpm2" / STATE


def copy_owned(source: Path, target: Path) -> bool:
    """Copy a small file that nobody writes, with its owner and for him alone; return whether there was one."""
    if not source.exists():
        return False
    owner = source.stat()
    target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with source.open("rb") as file:
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "wb") as copy:
            shutil.copyfileobj(file, copy)
    os.chown(temporary, owner.st_uid, owner.st_gid)
    temporary.replace(target)
    return True


def give_state(kept: Path, uuid: str, storage: Path) -> None:
    """Make a kept state that of a machine which is off. Its folder is closed to all but the TPM's own user."""
    target = state_file(uuid, storage)
    if copy_owned(kept, target):
        owner = target.stat()
        os.chown(target.parent, owner.st_uid, owner.st_gid)
        target.parent.chmod(0o700)
