"""A ticket opens one console, once, in time, for whom it was issued: whatever else is tried, in any order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from labctl.worker.tickets import LIFETIME, MOST, MOST_OF_ONE, Grant, Holder, Tickets
from labctl.worker.values import ConsoleMode, Refusal
from labctl.worker.wire import NotDone

HOLDERS = st.builds(
    Holder,
    account=st.sampled_from(["ada", "leo"]),
    session=st.sampled_from(["s1", "s2"]),
    lab=st.sampled_from(["dmz-ada", "dmz-leo"]),
    node=st.sampled_from(["fw", "web"]),
    mode=st.sampled_from(ConsoleMode),
)


class TicketsLife(RuleBasedStateMachine):
    """A model of what is valid, beside the store."""

    issued = Bundle("issued")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tickets = Tickets(lambda: self.now)
        self.valid: dict[str, tuple[Grant, float]] = {}

    @rule(target=issued, holder=HOLDERS, view_only=st.booleans())
    def issue(self, holder: Holder, view_only: bool) -> str:
        self.forget()
        ticket = self.tickets.issue(grant := Grant(holder, holder.account.title(), view_only))
        own = [other for other, (one, _at) in self.valid.items() if one.holder.account == holder.account]
        for other in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
            del self.valid[other]
        self.valid[ticket] = grant, self.now
        return ticket

    @rule(ticket=issued, holder=HOLDERS)
    def redeem_as_somebody(self, ticket: str, holder: Holder) -> None:
        self.redeem(ticket, holder)

    @rule(ticket=issued)
    def redeem_as_holder(self, ticket: str) -> None:
        if ticket in self.valid:
            self.redeem(ticket, self.valid[ticket][0].holder)

    def redeem(self, ticket: str, holder: Holder) -> None:
        self.forget()
        grant, _at = self.valid.pop(ticket, (None, 0.0))
        if grant is not None and grant.holder == holder:
            assert self.tickets.redeem(ticket, holder) == grant
            return
        with pytest.raises(NotDone) as caught:
            self.tickets.redeem(ticket, holder)
        assert caught.value.refusal is Refusal.EXPIRED
        assert ticket not in caught.value.message

    @rule(seconds=st.floats(0, LIFETIME * 1.1))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(account=st.sampled_from(["ada", "leo"]))
    def end_rights(self, account: str) -> None:
        self.forget()
        gone = [ticket for ticket, (grant, _at) in self.valid.items() if grant.holder.account == account]
        assert self.tickets.revoke(lambda grant: grant.holder.account == account) >= len(gone)
        for ticket in gone:
            del self.valid[ticket]

    @invariant()
    def nothing_else_is_kept(self) -> None:
        self.forget()
        assert len(self.tickets) == len(self.valid)

    def forget(self) -> None:
        self.valid = {one: kept for one, kept in self.valid.items() if kept[1] + LIFETIME > self.now}


TestTicketsLife = TicketsLife.TestCase


@given(guess=st.text(max_size=200))
def test_no_guess_opens_anything(guess: str) -> None:
    tickets = Tickets()
    holder = Holder("ada", "s1", "dmz-ada", "fw", ConsoleMode.TEXT)
    tickets.issue(Grant(holder, "Ada"))
    with pytest.raises(NotDone):
        tickets.redeem(guess, holder)


def test_tickets_are_long_and_fit_a_header() -> None:
    tickets = Tickets()
    grant = Grant(Holder("ada", "s1", "dmz-ada", "fw", ConsoleMode.TEXT), "Ada")
    made = {tickets.issue(grant) for _number in range(100)}
    assert len(made) == 100
    assert all(len(ticket) == 43 and ticket.replace("-", "").replace("_", "").isalnum() for ticket in made)
    assert len(tickets) == MOST_OF_ONE


def test_many_accounts_together_get_no_more_than_the_memory_allows() -> None:
    tickets = Tickets(lambda: 0.0)
    grants = [Grant(Holder(f"a{number}", "s", "dmz-ada", "fw", ConsoleMode.TEXT), "Ada") for number in range(MOST + 1)]
    for grant in grants[:MOST]:
        tickets.issue(grant)
    with pytest.raises(NotDone) as caught:
        tickets.issue(grants[MOST])
    assert caught.value.refusal is Refusal.TOO_MANY
    assert len(tickets) == MOST
