"""Small descriptions of domains and networks for the tests of the door."""

from uuid import NAMESPACE_DNS, uuid5

from labctl.plan.observed import Tag
from labctl.render.tag import render_tag


def make_tag(member: str, lab: str = "dmz-ada", spec: str = "s1") -> Tag:
    return Tag(lab=lab, topology="dmz", owner="ada", member=member, spec=spec)


def domain_xml(name: str, tag: Tag | None = None, kind: str = "test", devices: str = "", memory: int = 32) -> str:
    metadata = f"<metadata>{render_tag(tag)}</metadata>" if tag else ""
    os = "<os><type>hvm</type></os>" if kind == "test" else "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
    return (
        f"<domain type='{kind}'><name>{name}</name><uuid>{uuid5(NAMESPACE_DNS, name)}</uuid>{metadata}"
        f"<memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>{os}<devices>{devices}</devices></domain>"
    )


def network_xml(name: str, tag: Tag | None = None, bridge: str = "lctest0", inside: str = "") -> str:
    metadata = f"<metadata>{render_tag(tag)}</metadata>" if tag else ""
    return (
        f"<network><name>{name}</name><uuid>{uuid5(NAMESPACE_DNS, name)}</uuid>{metadata}"
        f"<bridge name='{bridge}' stp='off' delay='0'/>{inside}</network>"
    )
