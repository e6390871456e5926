"""libvirt's numbers for a domain's state and its reason to the states that matter to a plan."""

import libvirt

from labctl.plan.observed import DomainState

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: DomainState.STOPPED,
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.RUNNING,  # the guest is going down, its process lives
    libvirt.VIR_DOMAIN_SHUTOFF: DomainState.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.PAUSED,
}
_PREFIXES = {
    libvirt.VIR_DOMAIN_RUNNING: "VIR_DOMAIN_RUNNING_",
    libvirt.VIR_DOMAIN_PAUSED: "VIR_DOMAIN_PAUSED_",
    libvirt.VIR_DOMAIN_SHUTOFF: "VIR_DOMAIN_SHUTOFF_",
    libvirt.VIR_DOMAIN_CRASHED: "VIR_DOMAIN_CRASHED_",
}
IO_ERROR = "ioerror"


def _reasons(prefix: str) -> dict[int, str]:
    return {
        number: name.removeprefix(prefix).lower().replace("_", "-")
        for name, number in vars(libvirt).items()
        if name.startswith(prefix)
    }


_REASONS = {state: _reasons(prefix) for state, prefix in _PREFIXES.items()}


def read_state(state: int, reason: int) -> tuple[DomainState, str]:
    """Return the state and libvirt's own English word for the reason, e.g. ``crashed``, ``ioerror``, ``user``.

    A QEMU process that was killed leaves a domain that is shut off *because it crashed*: that is CRASHED here.
    """
    word = _REASONS.get(state, {}).get(reason, "unknown")
    if word in {"crashed", "panicked"}:
        return DomainState.CRASHED, word
    return _STATES.get(state, DomainState.STOPPED), word
