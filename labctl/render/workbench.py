"""Renders the machine on which an image of the school's is prepared once: a disk, a serial line, no network."""

from pathlib import Path

from markupsafe import Markup

from labctl.plan.observed import Tag
from labctl.render.tag import render_tag
from labctl.render.xml import environment
from labctl.topology.hardware import Hardware


def render_workbench(
    name: str, tag: Tag, disk: Path, hardware: Hardware, memory: int, accelerator: str, disc: Path | None = None
) -> str:
    """Return the domain XML of a workbench. `memory` is in MiB, `disk` a qcow2 file, `disc` an ISO to start from."""
    return environment().get_template("workbench.xml.j2").render(
        name=name, disk=disk, disc=disc, hardware=hardware, memory=memory, cpus=1,
        virtualisation="kvm" if accelerator == "kvm" else "qemu",
        tag=Markup(render_tag(tag)),  # noqa: S704  render_tag quotes every value
    )  # fmt: skip
