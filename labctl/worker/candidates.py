"""The candidates of an exam session to accounts by number, each with a one-time code; no name of anybody."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from labctl.errors import Refused
from labctl.exam.standing import CandidateStanding
from labctl.language import _
from labctl.worker.accounts import Accounts
from labctl.worker.credentials import draw_code, hash_secret, plain_code
from labctl.worker.records import now
from labctl.worker.values import Role


@dataclass(frozen=True)
class Seated:
    """One candidate after an enrolment: their number, the name of their account, and its code.

    `code` is "" for one who has chosen a password in this session already.
    """

    number: str
    name: str
    code: str = field(repr=False)


def enrol_candidates(
    accounts: Accounts, session: str, candidates: Mapping[str, CandidateStanding], *, renew: bool = False
) -> list[Seated]:
    """Make an account with a fresh code for each candidate; with `renew`, for those too who have a password.

    An account of another session, such as the rehearsal, becomes one of this: its password and its sessions end.
    Raises Refused, and changes nothing, where the name of an account is already somebody else's.
    """
    codes = {one.owner: draw_code() for one in candidates.values()}
    hashes = {owner: hash_secret(plain_code(code)) for owner, code in codes.items()}
    seated = []
    with accounts.records.transaction() as connection:
        rows = {row[0]: row[1:] for row in connection.execute("SELECT name, role, classes, password FROM account")}
        members = {slug for (slug,) in connection.execute("SELECT slug FROM member")}
        for one in candidates.values():
            role, classes, password = rows.get(one.owner, (Role.CANDIDATE, "[]", ""))
            if role != Role.CANDIDATE or one.owner in members:
                text = _(
                    '"{name}" is the account of a student or of staff already; change the number of this candidate'
                )
                raise Refused(text.format(name=one.owner), hint="labctl portal accounts --list")
            fresh = renew or password == "" or json.loads(classes) != [session]
            seated.append(Seated(one.number, one.owner, codes[one.owner] if fresh else ""))
            connection.execute(
                """INSERT INTO account VALUES (?1, ?2, 'candidate', ?3, ?4, '', ?5, ?6, '', 0)
                   ON CONFLICT DO UPDATE SET shown = ?2, classes = ?3, closed = 0, code = iif(?7, ?5, code),
                   password = iif(?7, '', password)""",
                (one.owner, one.number, json.dumps([session]), one.language, hashes[one.owner], now(), fresh),
            )
            if fresh:
                connection.execute("DELETE FROM session WHERE account = ?", (one.owner,))
                connection.execute("DELETE FROM attempt WHERE account = ?", (one.owner,))
    return seated
