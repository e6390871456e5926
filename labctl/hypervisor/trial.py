"""A host to the ways in which it can restore a saved state under another head, each tried with a tiny machine."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from labctl.errors import LabctlError
from labctl.hypervisor.accelerator import BOOT_ID
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.door import Hypervisor
from labctl.language import _
from labctl.plan.names import home_mark
from labctl.plan.observed import Tag
from labctl.render.tag import render_tag

LAB = "self-test"
KEPT = "deliveries.json"

# The best first. A saved node of 220 MiB reached its reader in 0.03 to 0.06 s through the FIFO and in 0.17 s by a
# copy, which also writes 220 MiB for each clone. A copy that shares its blocks writes nothing, but has pages of its own
# in the cache: each clone reads the disk again, where the FIFO reads one file that is cached for the whole class.
PREFERENCE = (Delivery.FIFO, Delivery.REFLINK, Delivery.COPY)


def choose_delivery(door: Hypervisor, home: Path) -> Delivery | None:
    """Return how saved states reach libvirt on this host, None where no way works and clones must boot.

    The verdict is kept in the home folder for this boot of the host and these versions of libvirt and QEMU;
    without one the self-test runs, which takes a second or two, some more on a busy host. Raises HostNotReady
    where libvirt is away, LabctlError where the home folder cannot be written.
    """
    return best_delivery(find_deliveries(door, home))


def best_delivery(verdicts: Mapping[Delivery, str]) -> Delivery | None:
    """Return the first delivery that works, in the order of preference; verdicts say why one does not."""
    return next((delivery for delivery in PREFERENCE if verdicts.get(delivery) == ""), None)


def find_deliveries(door: Hypervisor, home: Path, *, again: bool = False) -> Mapping[Delivery, str]:
    """Return for each delivery why it does not work, empty where it does: the kept verdict, or the self-test's.

    `again` runs the self-test in any case. Of several processes or threads one runs it, the others wait for it.
    Raises HostNotReady where libvirt is away, LabctlError where the home folder cannot be written.
    """
    versions = door.versions()
    key = {"boot": _boot_id(), "libvirt": versions.libvirt, "qemu": versions.hypervisor}
    kept = home / KEPT
    if not again and (known := read_verdicts(kept, key)) is not None:
        return known
    with _alone(home):
        if not again and (known := read_verdicts(kept, key)) is not None:
            return known
        verdicts = self_test_restore(door, home, f"labctl-self-test-{home_mark(str(home))}")
        # Where nothing works libvirt may only have been away: that is not to hold until the next start of the host.
        if best_delivery(verdicts) is not None:
            with suppress(OSError):  # who may not write there only tries again
                write_verdicts(kept, key, verdicts)
        return verdicts


def read_verdicts(path: Path, key: Mapping[str, str]) -> Mapping[Delivery, str] | None:
    """Return the kept verdicts, None where there are none for this key."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["key"] == key:
            return {delivery: str(known["verdicts"][delivery.value]) for delivery in Delivery}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a file that cannot be read is no verdict
    return None


def write_verdicts(path: Path, key: Mapping[str, str], verdicts: Mapping[Delivery, str]) -> None:
    """Keep the verdicts, whole or not at all. Raises OSError."""
    text = json.dumps({"key": key, "verdicts": verdicts}, indent=2, ensure_ascii=False)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as draft:
        try:
            draft.write(text + "\n")
            draft.flush()
            os.fchmod(draft.fileno(), 0o644)
            Path(draft.name).rename(path)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Wait until nobody else runs the self-test of this home; the lock dies with its process."""
    try:
        descriptor = os.open(home / f".{KEPT}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        text = _('the folder "{path}" cannot be used: {error}')
        raise LabctlError(text.format(path=home, error=exc.strerror), hint=f"ls -ld {home}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def self_test_restore(door: Hypervisor, folder: Path, name: str = "labctl-self-test") -> dict[Delivery, str]:
    """Return for each delivery why it does not work with files in `folder`, empty where it does.

    Takes a second or two: a machine of 16 MiB without a disk, emulated, is saved and restored, and removed.
    """
    saved = folder / f".{name}.{os.getpid()}.save"
    xml = describe(name)
    try:
        door.remove_domain(name, LAB)
        door.define_domain(xml)
        door.start_domain(name, LAB)
        door.save_domain(name, LAB, saved)
        return {delivery: attempt(door, saved, xml, delivery) for delivery in Delivery}
    except LabctlError as exc:
        return dict.fromkeys(Delivery, exc.message)
    finally:
        saved.unlink(missing_ok=True)
        with suppress(LabctlError):
            door.remove_domain(name, LAB)


def attempt(door: Hypervisor, saved: Path, xml: str, delivery: Delivery) -> str:
    """Restore once and switch off; return why it did not work."""
    name = xml.partition("<name>")[2].partition("</name>")[0]
    try:
        door.restore_domain(saved, xml, name, running=True, delivery=delivery)
        door.destroy_domain(name, LAB)
    except LabctlError as exc:
        return exc.message
    return ""


def describe(name: str) -> str:
    """Return the XML of the tiny machine; `name` is ours, not a person's."""
    tag = Tag(lab=LAB, topology=LAB, owner=LAB, member=name, spec="")
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{uuid5(NAMESPACE_DNS, name)}</uuid>"
        f"<metadata>{render_tag(tag)}</metadata><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        "<devices><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"
    )
