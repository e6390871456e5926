"""Requests for consoles to open ones: the ticket of a session, then a descriptor that is watched until its end."""

import socket
from collections.abc import Callable, Mapping, Sequence

from labctl.language import _
from labctl.worker.answers import Ticket
from labctl.worker.console_doors import Doors
from labctl.worker.consoles import Consoles
from labctl.worker.office import Caller
from labctl.worker.opened import FAULTS
from labctl.worker.requests import ConsoleTicket, OpenConsole
from labctl.worker.tickets import LIFETIME, Grant, Holder, Tickets
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone, encode_answer


class Room:
    """The consoles of one worker. Whether somebody may was decided before each call, but by `still`."""

    def __init__(self, doors: Doors, tickets: Tickets | None = None) -> None:
        self._consoles = Consoles(doors, tickets)

    def ticket(self, caller: Caller, request: ConsoleTicket) -> Ticket:
        """Return a ticket. Raises NotDone."""
        grant = Grant(holder_of(caller, request), caller.account.shown, request.view_only, request.take_over)
        return Ticket(
            ticket=self._consoles.issue(grant), lab=request.lab, node=request.node, mode=request.mode,
            view_only=request.view_only, seconds=int(LIFETIME),
        )  # fmt: skip

    def serve(self, caller: Caller, request: OpenConsole, connection: socket.socket, still: Callable[[], bool]) -> str:
        """Answer with the descriptor of a console, and keep it until either side ends it. Raises NotDone before.

        Return what was wrong with the page where that is why it was ended, "" else.
        """
        about, opened = self._consoles.open(request.ticket, holder_of(caller, request))
        try:
            if opened.descriptor is None or about.view_only is not request.view_only:
                # What was asked for was allowed, and the ticket grants something else.
                raise NotDone(Refusal.EXPIRED, _("this ticket is not valid any more: open the console again"))
            socket.send_fds(connection, [encode_answer(about)], [opened.descriptor.fileno()])
            opened.release()
            opened.follow(connection, still)
        finally:
            self._consoles.close(opened)
        return str(opened.ending) if opened.ending in FAULTS else ""

    def holders(self, lab: str) -> Mapping[str, Sequence[str]]:
        """Return who has a console of a lab open, by machine."""
        found: dict[str, list[str]] = {}
        for viewer in self._consoles.viewers(lab):
            names = found.setdefault(viewer.grant.holder.node, [])
            if viewer.grant.name not in names:
                names.append(viewer.grant.name)
        return found

    def cut(self, *, account: str = "", session: str = "", lab: str = "", nodes: Sequence[str] = ()) -> int:
        """End the tickets and consoles of an account, a session, a lab or some of its machines; return how many."""

        def concerns(grant: Grant) -> bool:
            holder = grant.holder
            if account and holder.account == account:
                return True
            if session and holder.session == session:
                return True
            return bool(lab) and holder.lab == lab and (not nodes or holder.node in nodes)

        return self._consoles.cut(concerns)


def holder_of(caller: Caller, request: ConsoleTicket | OpenConsole) -> Holder:
    """Return what a ticket is bound to."""
    return Holder(caller.name, caller.session.digest, request.lab, request.node, request.mode)
