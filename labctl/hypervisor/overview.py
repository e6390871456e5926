"""libvirt as it is seen: its machines and networks, for those who change nothing.

`labctl status` opens only this: the rest of the door takes longer to import than a look takes.
"""

from types import TracebackType
from typing import Self

from labctl.hypervisor.host_network import read_links, read_routes
from labctl.hypervisor.observation import read_domains, read_networks
from labctl.hypervisor.pool import Pool
from labctl.language import _
from labctl.plan.observed import Observed

PATIENCE_SECONDS = 20.0  # a restart of libvirtd takes some seconds with a hundred guests


class Overview:
    """Machines and networks of one libvirt, at most `connections` requests at a time.

    Opens nothing before the first request. Every method may be called from any thread. All raise
    HostNotReady where libvirt cannot be reached or, once it was reached, stays away for `patience`
    seconds, and LabctlError with libvirt's own words where it says no.
    """

    def __init__(
        self, uri: str = "qemu:///system", connections: int = 4, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._pool = Pool(uri, connections, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        self._pool.close()

    def observe(self, start: str = "") -> Observed:
        """Return all domains and networks, ours and foreign, with the host's links and IPv4 routes.

        With `start`, only those whose names start so, and the inactive networks: subnets of active ones are routes.
        """
        seen = self._pool.use(
            lambda connection: (read_domains(connection, start), read_networks(connection, start)),
            _("the machines and networks of this host cannot be listed"),
        )
        return Observed(domains=seen[0], networks=seen[1], links=read_links(), routes=read_routes())
