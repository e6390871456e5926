"""Requests about people: logins, passwords, who somebody is, messages, and accounts for those who look after them."""

from collections.abc import Iterable

from labctl.errors import Refused
from labctl.language import N_, _
from labctl.worker.accounts import AccountRow, NewSession, SessionRow
from labctl.worker.answers import Account, Accounts, Done, Health, Messages, Person, Session
from labctl.worker.describing import describe_message
from labctl.worker.office import Caller, Office
from labctl.worker.records import Line
from labctl.worker.requests import (
    AskAccounts,
    AskHealth,
    AskMessages,
    ChooseLanguage,
    ChoosePassword,
    Login,
    Logout,
    NewCode,
    SetRole,
    Whoami,
)
from labctl.worker.values import Refusal, Role
from labctl.worker.wire import NotDone

HOST_AWAY = N_(
    "The machines of this host cannot be reached at the moment: what runs in them goes on, and what is shown here may "
    "be old."
)


def log_in(office: Office, request: Login) -> Session:
    """Begin a session."""
    return begin(office, office.accounts.log_in(request.name, request.secret, request.address))


def begin(office: Office, session: NewSession) -> Session:
    """Return a session that has begun, with the person whose it is."""
    return Session(token=session.token, person=describe_person(office, session.row))


def describe_person(office: Office, session: SessionRow) -> Person:
    """Return the person of a session."""
    account = session.account
    classes = office.accounts.classes_of(account.name) if account.role is Role.STUDENT else account.classes
    language = account.language if account.language in {"fr", "en"} else None
    return Person(
        name=account.name, shown=account.shown, role=account.role, classes=tuple(sorted(classes)), csrf=session.csrf,
        language=language,
        must_choose_password=session.must_choose, expires=session.expires,
        unread=office.records.count_unread(account.name), trouble=_(HOST_AWAY) if office.watch.trouble else "",
    )  # fmt: skip


def whoami(office: Office, caller: Caller, _request: Whoami) -> Person:
    """Return the person who asks."""
    return describe_person(office, caller.session)


def choose_password(office: Office, caller: Caller, request: ChoosePassword) -> Session:
    """Replace the password; every session of the account ends, with its consoles, but a new one."""
    session = office.accounts.choose_password(caller.session, request.old, request.new, request.address)
    office.cut(account=caller.name)
    office.log(caller, "password chosen")
    return begin(office, session)


def log_out(office: Office, caller: Caller, _request: Logout) -> Done:
    """End the session, and what was opened in it."""
    office.accounts.end_session(caller.session)
    office.cut(session=caller.session.digest)
    office.log(caller, "logout")
    return Done()


def choose_language(office: Office, caller: Caller, request: ChooseLanguage) -> Done:
    """Keep the language of a person."""
    office.accounts.choose_language(caller.name, request.language)
    return Done()


def tell_health(office: Office, _request: AskHealth) -> Health:
    """Tell whether libvirt answers; nobody in particular asks, and nobody is named."""
    trouble = office.watch.trouble
    return Health(libvirt=not trouble, said=trouble, subscribers=office.hub.count())


def show_messages(office: Office, caller: Caller, _request: AskMessages) -> Messages:
    """Return the messages of a person; now they are read."""
    names = office.names()
    found = office.records.messages(caller.name, mark_read=True)
    return Messages(messages=tuple(describe_message(one, names) for one in found))


def show_accounts(office: Office, _caller: Caller, request: AskAccounts) -> Accounts:
    """Return the accounts of a class, or all."""
    rows: Iterable[AccountRow] = office.accounts.list_accounts()
    if request.class_name is not None:
        members = {one.slug for one in office.accounts.classes()[request.class_name]}
        rows = [row for row in rows if row.name in members]
    return Accounts(accounts=tuple(describe_account(office, row) for row in rows))


def describe_account(office: Office, row: AccountRow, code: str = "") -> Account:
    """Return an account for those who look after it."""
    classes = office.accounts.classes_of(row.name) if row.role is Role.STUDENT else row.classes
    return Account(
        name=row.name, shown=row.shown, role=row.role, classes=tuple(sorted(classes)), last_login=row.last_login,
        has_password=bool(row.password), closed=row.closed, code=code,
    )  # fmt: skip


def draw_new_code(office: Office, caller: Caller, request: NewCode) -> Accounts:
    """Draw a new code for somebody; it is told only now."""
    code = office.accounts.new_code(request.name)
    office.cut(account=request.name)
    office.log(caller, "new code", owner=request.name, detail=request.name)
    row = office.accounts.find(request.name)
    if row is None:
        raise NotDone(Refusal.UNKNOWN, _("there is no such account"))
    return Accounts(accounts=(describe_account(office, row, code),))


def set_account(office: Office, caller: Caller, request: SetRole) -> Accounts:
    """Make or change an account that no class list has."""
    if request.name == caller.name and (request.closed or request.role is not Role.ADMIN):
        raise NotDone(Refusal.NOT_NOW, _("you cannot take your own rights away; another administrator can"))
    before = office.accounts.find(request.name)
    try:
        code = office.accounts.set_account(
            request.name, request.shown, request.role, request.classes, closed=request.closed
        )
    except Refused as exc:
        raise NotDone(Refusal.NOT_NOW, exc.message) from exc
    if before is not None:
        office.cut(account=request.name)
    detail = f"{request.name} {request.role}{' closed' if request.closed else ''}"
    office.note(Line(caller.name, "account", detail=detail, address=caller.address))
    row = office.accounts.find(request.name)
    return Accounts(accounts=(describe_account(office, row, code),) if row else ())
