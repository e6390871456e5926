"""The verb `portal`: serves the portal on this host, and makes its accounts."""

import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

import labctl
from labctl.cli.selection import CLASS
from labctl.cli.table import console, open_table
from labctl.cli.typed import printable
from labctl.cli.writing import write_document
from labctl.errors import ExitCode, HostNotReady, LabctlError
from labctl.exam.session import find_session
from labctl.lab.site import ensure_home, home_folder
from labctl.language import _, ngettext
from labctl.roster import load_roster, make_slug
from labctl.worker.accounts import Accounts
from labctl.worker.candidates import enrol_candidates
from labctl.worker.certificate import Certificate, ensure_certificate, host_names, lend_to, read_certificate
from labctl.worker.client import BlockingClient
from labctl.worker.main import SOCKET
from labctl.worker.records import Records
from labctl.worker.requests import AskHealth
from labctl.worker.strips import Strip, render_strips
from labctl.worker.supervising import Program, Supervisor
from labctl.worker.values import Role
from labctl.worker.wire import NotDone

WEB_USERS = ("labctl-portal", "nobody")  # the first that this host has; neither can do anything here
PORT = 443
STARTED_WITHIN, LOOK_AGAIN = 30.0, 0.2  # seconds
KEPT = ("PATH", "LANG", "LC_ALL", "LABCTL_LANG", "TZ")  # of our environment, for the web process
LIBRARIES = os.pathsep.join([str(Path(labctl.__file__).parents[1]), *(p for p in sys.path if p.endswith("-packages"))])


@click.group(
    invoke_without_command=True,
    help=_("Serve the portal over https: students see, use and reset their own labs, trainers run a class."),
)
@click.option("--host", default="", metavar=_("ADDRESS"), help=_("Listen on this address only."))
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help=_("The port."))
@click.option("--certificate", type=click.Path(path_type=Path), help=_("Your own certificate (PEM, with its chain)."))
@click.option("--key", type=click.Path(path_type=Path), help=_("Its key (PEM, without a password)."))
@click.option("--name", "names", multiple=True, help=_("A name that the portal is reached by; may be repeated."))
@click.option("--user", default="", metavar=_("USER"), help=_("The user that the web process runs as."))
@click.option(
    "--suspend-after", type=click.IntRange(0, 10_000), default=0, metavar=_("MINUTES"),
    help=_("Suspend labs that nobody has used for so long, after a warning; 0, the default, never does."),
)  # fmt: skip
@click.pass_context
def portal(
    ctx: click.Context, host: str, port: int, certificate: Path | None, key: Path | None, names: tuple[str, ...],
    user: str, suspend_after: int,
) -> int:  # fmt: skip
    if ctx.invoked_subcommand is not None:
        return ExitCode.DONE
    if (certificate is None) != (key is None):
        raise click.UsageError(_("--certificate and --key go together"))
    home = home_folder(os.environ)
    ensure_home(home)
    listener = listen(host, port)
    web = find_web_user(user)
    own = certificate and key and read_certificate(certificate, key)
    found = own or ensure_certificate(home, tuple(dict.fromkeys([*host_names(), *names])))
    lent = lend_to(found, home, web.pw_uid, web.pw_gid) if os.geteuid() == 0 else found
    require_way(web, lent.chain.parent, (home / SOCKET).parent)
    os.environ["LABCTL_PORTAL_SUSPEND_AFTER"] = str(suspend_after)  # for the worker, with the rest of ours
    programs = portal_programs(home, listener, lent, web, names)
    supervisor = Supervisor(programs, lambda said: click.echo(said, err=True))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_caught: supervisor.stop())
    if not found.own:
        text = _("The certificate is our own: browsers warn once. Its SHA-256 fingerprint: {mark}")
        click.echo(text.format(mark=found.fingerprint), err=True)
    address = address_of(found, names, listener.getsockname()[1])
    threading.Thread(target=announce, args=(address, home / SOCKET, supervisor.stopping), daemon=True).start()
    supervisor.run()
    return ExitCode.DONE


def announce(address: str, worker: Path, stopping: threading.Event) -> None:
    """Print the address once somebody who logs in there is let in; after a while all the same, for what is said there.

    The web process takes requests sooner than the worker, and has nothing but "not reachable" for them.
    """
    until = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < until:
        try:
            BlockingClient(worker).ask(AskHealth())
            break
        except NotDone:
            if stopping.wait(LOOK_AGAIN):
                return
    click.echo(address)
    sys.stdout.flush()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; the web process, which could not open it, gets it from us. Raises HostNotReady."""
    try:
        if host:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, port), family=family, backlog=256)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
        return socket.create_server(("", port), backlog=256)
    except OSError as exc:
        text = _("the portal cannot listen on port {port}: {error}")
        hint = "labctl portal --port 8443" if port != 8443 else "ss -ltnp"  # noqa: PLR2004  the other https port
        raise HostNotReady(text.format(port=port, error=exc.strerror or exc), hint=hint) from exc


def find_web_user(name: str) -> pwd.struct_passwd:
    """Return the user that the web process runs as: our own where we are not root, and cannot choose."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for candidate in (name,) if name else WEB_USERS:
        try:
            found = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if found.pw_uid == 0:
            raise click.BadParameter(_("the web process must not run as root"), param_hint="--user")
        return found
    text = _('this host has no user "{name}" for the web process')
    raise HostNotReady(text.format(name=printable(name or WEB_USERS[0])), hint="adduser --system labctl-portal")


def portal_programs(
    home: Path, listener: socket.socket, certificate: Certificate, web: pwd.struct_passwd, names: tuple[str, ...]
) -> list[Program]:
    """Return the two processes of the portal."""
    worker_socket = str(home / SOCKET)
    own = dict(os.environ)
    worker = {**own, "LABCTL_HOME": str(home), "LABCTL_PORTAL_WORKER": worker_socket,
              "LABCTL_PORTAL_WEB_USER": str(web.pw_uid)}  # fmt: skip
    reached = dict.fromkeys([*certificate.names, *host_names(), *names])
    facing: Mapping[str, str] = {
        **{key: own[key] for key in KEPT if key in own},
        "LABCTL_PORTAL_WORKER": worker_socket,
        "LABCTL_PORTAL_FD": str(listener.fileno()),
        "LABCTL_PORTAL_CERT": str(certificate.chain),
        "LABCTL_PORTAL_KEY": str(certificate.key),
        "LABCTL_PORTAL_HSTS": "1" if certificate.own else "",
        "LABCTL_PORTAL_NAMES": ",".join(reached),
    }
    user, group = (web.pw_uid, web.pw_gid) if os.geteuid() == 0 else (None, None)
    python = find_python(web)
    return [
        Program(_("the worker"), [sys.executable, "-P", "-m", "labctl.worker.main"], worker),
        Program(_("the web process"), [python, "-P", "-m", "labctl.portal.server"], {**facing, "PYTHONPATH": LIBRARIES},
                user, group, (listener.fileno(),)),
    ]  # fmt: skip


def require_way(web: pwd.struct_passwd, *folders: Path) -> None:
    """Raise HostNotReady where the user of the web process cannot walk to a folder; the hint opens the whole way.

    That user is asked, and not the mode bits: an access list may open or close a folder too.
    """
    way = list(dict.fromkeys(part for folder in folders for part in [*reversed(folder.parents), folder]))
    look = 'for folder; do [ -x "$folder" ] || { printf %s "$folder"; exit 1; }; done'
    done = subprocess.run(
        ["/bin/sh", "-c", look, "sh", *map(str, way)],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        check=False,
        **as_user(web),
    )  # type: ignore[call-overload]  # keywords by name
    if done.returncode == 0:
        return
    closed = Path(done.stdout)
    shut = [part for part in way if (part == closed or closed in part.parents) and not part.stat().st_mode & 0o001]
    cure = f"sudo chmod o+x {shlex.join(map(str, shut))}"
    if closed not in shut:  # closed to this user in another way: by its group or an access list
        cure = f"sudo setfacl -m u:{web.pw_name}:x {shlex.quote(str(closed))}"
    text = _('the user "{user}" of the web process cannot enter the folder "{folder}"')
    raise HostNotReady(text.format(user=web.pw_name, folder=printable(str(closed))), hint=cure)


def as_user(web: pwd.struct_passwd) -> dict[str, object]:
    """Return the keywords that run a program as the user of the web process, where we are root and can."""
    return {"user": web.pw_uid, "group": web.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def find_python(web: pwd.struct_passwd) -> str:
    """Return an interpreter that the user of the web process may run, with our libraries. Raises HostNotReady.

    Ours may lie in root's home, where nobody else gets in; the system's of the same version does as well.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}"):
        argv = [python, "-P", "-c", "import labctl.worker.client, labctl.portal"]
        try:
            done = subprocess.run(
                argv,
                env={"PYTHONPATH": LIBRARIES},
                cwd="/",
                capture_output=True,
                check=False,
                timeout=60,
                **as_user(web),
            )  # type: ignore[call-overload]  # keywords by name
        except OSError:
            continue
        if done.returncode == 0:
            return python
    text = _('the user "{user}" of the web process can run no Python with the libraries of labctl')
    hint = f"sudo -u {web.pw_name} {sys.executable} -c 'import labctl'"
    raise HostNotReady(text.format(user=web.pw_name), hint=hint)


def address_of(certificate: Certificate | None, names: tuple[str, ...], port: int) -> str:
    """Return the address that people type."""
    known = [*names, *(certificate.names if certificate else ())]
    chosen = next((name for name in known if name not in {"localhost", "127.0.0.1", "::1"}), "localhost")
    return f"https://{chosen}{'' if port == PORT else f':{port}'}/"


@dataclass(frozen=True)
class Wanted:
    """What accounts are asked for: one by its name and role."""

    name: str
    role: str
    shown: str
    classes: tuple[str, ...]


@portal.command(
    help=_("Make accounts of a class or of the candidates of an exam, with one-time codes; or one for a trainer.")
)
@CLASS
@click.option("--exam", "session", default="", metavar=_("SESSION"), help=_("Make accounts for these candidates."))
@click.option("--candidate", "numbers", multiple=True, metavar=_("NUMBER"), help=_("With --exam: only this candidate."))
@click.option("--sheet", type=click.Path(path_type=Path), metavar=_("FILE"), help=_("Write the codes to this PDF."))
@click.option("--renew", is_flag=True, help=_("New codes for all, even for those who have chosen a password."))
@click.option("--add", "name", default="", metavar=_("NAME"), help=_("Make or change one account."))
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role if role is not Role.CANDIDATE]),
    default="trainer",
    help=_("Its role; trainer."),
)
@click.option("--shown", default="", metavar=_("NAME"), help=_("The name that others read."))
@click.option("--of", "classes", multiple=True, metavar=_("CLASS"), help=_("A class of the account; by default all."))
@click.option("--close", "close", is_flag=True, help=_("With --add: close the account."))
@click.option("--list", "list_them", is_flag=True, help=_("List the accounts."))
@click.option("--address", default="", help=_("The address to print on the sheet; by default that of this host."))
def accounts(  # noqa: PLR0913, PLR0917  one parameter for each option of the command line
    roster: Path | None, session: str, numbers: tuple[str, ...], sheet: Path | None, renew: bool, name: str, role: str,
    shown: str, classes: tuple[str, ...], close: bool, list_them: bool, address: str,
) -> int:  # fmt: skip
    if sum((roster is not None, bool(session), bool(name), list_them)) != 1:
        raise click.UsageError(_("say --class, --exam, --add or --list"))
    home = home_folder(os.environ)
    ensure_home(home)
    book = Accounts(Records(home))
    if list_them:
        print_accounts(book)
        return ExitCode.DONE
    printed = address or address_of(None, (socket.gethostname(),), PORT)
    if name:
        strips = [add_one(book, Wanted(name, role, shown, classes), close=close)]
        if not strips[0].code:
            click.echo(_("{name}: the account was changed; its password or code stays").format(name=strips[0].name))
            return ExitCode.DONE
        title = _("Accounts")
    elif session:
        strips = seat_candidates(book, home, session, numbers, renew=renew)
        title = _("Codes for the exam {name}").format(name=session)
    else:
        assert roster is not None
        strips = enrol_class(book, roster, renew=renew)
        title = _("Accounts of the class {name}").format(name=roster.stem)
    deliver(strips, sheet, render_strips(title, printed, strips) if sheet else "")
    return ExitCode.DONE


def enrol_class(book: Accounts, roster: Path, *, renew: bool) -> list[Strip]:
    """Make the accounts of a class list."""
    students = load_roster(roster)
    name = make_slug(roster.stem)
    if not name:
        raise click.BadParameter(_("the file of a class needs a name with a letter or digit"), param_hint="--class")
    enrolled = book.enrol(name, str(roster.resolve()), students, renew=renew)
    return [Strip(one.student.name, one.student.slug, one.code, one.student.group) for one in enrolled]


def seat_candidates(book: Accounts, home: Path, session: str, numbers: Sequence[str], *, renew: bool) -> list[Strip]:
    """Make the accounts of the candidates of a session; none has a name of a person."""
    standing = find_session(home, session).read()
    wanted = [part.strip() for number in numbers for part in number.split(",") if part.strip()]
    chosen = {number: standing.candidate(number) for number in wanted} or standing.candidates
    return [Strip(one.number, one.name, one.code) for one in enrol_candidates(book, session, chosen, renew=renew)]


def add_one(book: Accounts, wanted: Wanted, *, close: bool) -> Strip:
    """Make or change one account."""
    name = make_slug(wanted.name)
    if not name:
        raise click.BadParameter(_("a name needs a letter or digit from a-z and 0-9"), param_hint="--add")
    classes = wanted.classes or (("*",) if wanted.role in {Role.TRAINER, Role.PROCTOR} else ())
    known = book.classes()
    for one in classes:
        if one != "*" and one not in known:
            text = _('there is no class "{name}"; known are: {names}')
            names = ", ".join(known) or _("none")
            raise LabctlError(text.format(name=printable(one), names=names), hint="labctl portal accounts --class FILE")
    code = book.set_account(name, wanted.shown, Role(wanted.role), classes, closed=close)
    return Strip(wanted.shown or name, name, code)


def deliver(strips: list[Strip], sheet: Path | None, page: str) -> None:
    """Write the codes to a sheet that only its owner reads, or to the terminal."""
    if sheet is None:
        table = open_table(headings=(_("Name"), _("Login"), _("One-time code")))
        for strip in strips:
            table.add_row(strip.shown, strip.name, strip.code or _("has a password already"))
        console().print(table)
        return
    from labctl.report.pdf import render_pdf

    mask = os.umask(0o077)
    try:
        write_document(sheet, render_pdf(page), "pdf")
    finally:
        os.umask(mask)
    fresh = sum(bool(strip.code) for strip in strips)
    click.echo(ngettext("{count} new code", "{count} new codes", fresh).format(count=fresh), err=True)
    click.echo(_("written: {path}").format(path=sheet), err=True)


def print_accounts(book: Accounts) -> None:
    """Print all accounts."""
    table = open_table(headings=(_("Login"), _("Name"), _("Role"), _("Classes"), _("Password"), _("Last login")))
    for row in book.list_accounts():
        classes = book.classes_of(row.name) if row.role is Role.STUDENT else row.classes
        state = _("closed") if row.closed else _("chosen") if row.password else _("one-time code")
        table.add_row(row.name, row.shown, row.role, ", ".join(sorted(classes)), state, row.last_login)
    console().print(table)


@portal.command(help=_("Serve the worker alone, for a service manager that runs the web process itself."), hidden=True)
def worker() -> int:
    from labctl.worker.main import main

    main()
    return ExitCode.DONE


@portal.command(help=_("Let people log in with their password of the school's directory (LDAP or Active Directory)."))
@click.option("--url", default="", metavar="URL", help=_("Its address, such as ldaps://dc.school.example."))
@click.option("--user", default="", help=_("Whom to bind as, such as {id}@school.example or uid={id},ou=people,dc=…"))
@click.option("--ca", default="", metavar=_("FILE"), help=_("The certificate that it is signed by, if not the host's."))
@click.option("--off", is_flag=True, help=_("Ask no directory any more."))
@click.option("--try", "tried", default="", metavar=_("NAME"), help=_("Ask for a password of this person, and try it."))
def directory(url: str, user: str, ca: str, off: bool, tried: str) -> int:
    from labctl.worker.directory import Directory, read_directory, write_directory

    home = home_folder(os.environ)
    ensure_home(home)
    if off:
        write_directory(home, None)
        click.echo(_("no directory is asked any more"))
        return ExitCode.DONE
    if url or user:
        write_directory(home, Directory(url, user, ca))
    found = read_directory(home)
    if found is None:
        raise LabctlError(_("no directory is set"), hint="labctl portal directory --url URL --user USER")
    click.echo(f"{found.url}  {found.user}")
    if tried:
        secret = click.prompt(_("Password"), hide_input=True, err=True)
        good = found.lets_in(tried, secret)
        click.echo(_("the directory lets them in") if good else _("the directory does not let them in"))
        return ExitCode.DONE if good else ExitCode.FAILED
    return ExitCode.DONE
