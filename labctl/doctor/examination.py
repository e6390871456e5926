"""A home and a libvirt URI to the findings that `labctl doctor` shows."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from labctl.doctor.facts import gather_facts
from labctl.doctor.findings import Finding, find_all


def examine(home: Path, uri: str = "qemu:///system", image: Path | None = None) -> tuple[Finding, ...]:
    """Return what this host can do and what it lacks; raises nothing, in a bare container either.

    An `image` lets the accelerator be tried where its verdict is not known yet (up to 15 s).
    """
    return find_all(gather_facts(home, uri, image))


def findings_document(findings: Iterable[Finding], cured: Iterable[str] = ()) -> dict[str, object]:
    """Return what `labctl doctor --json` prints: keys and codes in English, texts in the reader's language."""
    return {"version": 1, "findings": [asdict(finding) for finding in findings], "cured": list(cured)}
