"""A name and a password to yes or no, by the school's own directory (LDAP or Active Directory), asked by a bind.

Nothing is searched and nothing is kept: whoever the directory lets in as themselves is who they say. People still need
an account here, from a class list. One request and its answer (RFC 4511) are all of the protocol that this takes.
"""

import json
import re
import socket
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from labctl.errors import HostNotReady, InvalidFile, Refused
from labctl.lab.keys import write_secret
from labctl.language import _

FILE = "portal/directory.json"
CONNECT, ANSWER = 4.0, 8.0  # seconds
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._ -]{0,62}[A-Za-z0-9])?")  # means the same to every directory, and in a DN
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PORTS = {"ldap": 389, "ldaps": 636}
SUCCESS, INVALID_CREDENTIALS = 0, 49  # RFC 4511, appendix A
SEQUENCE, INTEGER, OCTETS, ENUMERATED = 0x30, 0x02, 0x04, 0x0A
BIND, BIND_ANSWER, EXTENDED, EXTENDED_ANSWER, SIMPLE, NAMED = 0x60, 0x61, 0x77, 0x78, 0x80, 0x80
START_TLS = b"1.3.6.1.4.1.1466.20037"
LONGEST = 64 << 10  # bytes of an answer


@dataclass(frozen=True)
class Directory:
    """Where the directory is and whom to bind as: `user` holds ``{id}``, as a UPN or a DN. `ca` is "" for the host's.

    `url` begins with ldaps:, or with ldap: for StartTLS, which is not waived but on this host itself.
    """

    url: str
    user: str
    ca: str = ""

    def lets_in(self, identity: str, secret: str) -> bool:
        """Return whether the directory knows this password. Raises HostNotReady where it cannot be asked."""
        if not secret or not NAME.fullmatch(identity):
            return False  # a bind without a password succeeds as nobody, RFC 4513, 5.1.2
        name = self.user.replace("{id}", identity)
        request = pack(INTEGER, b"\3") + pack(OCTETS, name.encode()) + pack(SIMPLE, secret.encode())
        try:
            with self.connect() as connection:
                code = exchange(connection, 2, BIND, request, BIND_ANSWER)
        except ssl.SSLCertVerificationError as exc:
            text = _("the directory of the school does not prove who it is ({reason}): no password was sent to it")
            raise HostNotReady(text.format(reason=exc.verify_message)) from exc
        except (OSError, ValueError) as exc:
            raise HostNotReady(_("the directory of the school does not answer; try again later")) from exc
        if code not in {SUCCESS, INVALID_CREDENTIALS}:
            text = _("the directory of the school refuses to answer (LDAP code {code})")
            raise HostNotReady(text.format(code=code))
        return code == SUCCESS

    def connect(self) -> socket.socket:
        """Return a connection on which a password may be said. Raises OSError, ValueError."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        connection = socket.create_connection((host, port), CONNECT)
        try:
            connection.settimeout(ANSWER)
            if parts.scheme == "ldap" and host in LOOPBACK:
                return connection
            if parts.scheme == "ldap" and exchange(connection, 1, EXTENDED, pack(NAMED, START_TLS), EXTENDED_ANSWER):
                hang_up()
            context = ssl.create_default_context(cafile=self.ca or None)
            return context.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise


def pack(tag: int, content: bytes) -> bytes:
    """Return an element of BER."""
    size = len(content)
    head = bytes([size]) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")  # noqa: PLR2004  X.690, 8.1.3
    return bytes([tag]) + head + content


def unpack(data: bytes) -> list[tuple[int, bytes]]:
    """Return the elements of BER with their tags. Raises ValueError for what is none."""
    found = []
    while data:
        tag, size, start = data[0], data[1] if len(data) > 1 else 0, 2
        if size >= 0x80:  # noqa: PLR2004  the length of the length, X.690, 8.1.3.5
            start += size - 0x80
            size = int.from_bytes(data[2:start], "big")
        if start + size > len(data):
            raise ValueError(tag)
        found.append((tag, data[start : start + size]))
        data = data[start + size :]
    return found


def exchange(connection: socket.socket, number: int, tag: int, request: bytes, wanted: int) -> int:
    """Send one request and return the result code of its answer. Raises OSError, ValueError."""
    connection.sendall(pack(SEQUENCE, pack(INTEGER, bytes([number])) + pack(tag, request)))
    data = b""
    while True:
        data += connection.recv(4096) or hang_up()
        if len(data) > LONGEST:
            raise ValueError(len(data))
        try:
            ((_sequence, message),) = unpack(data)
        except ValueError:
            continue  # not whole yet
        break
    for found, content in unpack(message):
        if found == wanted:
            kind, code = unpack(content)[0]
            if kind == ENUMERATED and code:
                return int.from_bytes(code, "big")
    raise ValueError(wanted)


def hang_up() -> bytes:
    """Raise the error for a directory that closed the connection, or refuses to make it safe."""
    raise ConnectionResetError


def check_directory(directory: Directory) -> None:
    """Raise Refused for what would send passwords in clear, or to nobody."""
    parts = urlsplit(directory.url)
    if parts.scheme not in {"ldap", "ldaps"} or not parts.hostname:
        raise Refused(_('"{url}" is not the address of a directory, such as ldaps://dc.school.example').format(
            url=directory.url))  # fmt: skip
    if "{id}" not in directory.user:
        raise Refused(_('"{user}" needs "{{id}}" where the name of the person goes').format(user=directory.user))
    if directory.ca and not Path(directory.ca).is_file():
        raise Refused(_('there is no file "{path}"').format(path=directory.ca))


def read_directory(home: Path) -> Directory | None:
    """Return the directory of an installation, None where it has none. Raises InvalidFile."""
    path = home / FILE
    try:
        return Directory(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError) as exc:
        text = _('"{path}" cannot be read: {error}')
        raise InvalidFile(text.format(path=path, error=exc), hint="labctl portal directory --help") from exc


def write_directory(home: Path, directory: Directory | None) -> None:
    """Keep the directory of an installation, or that it has none."""
    path = home / FILE
    if directory is None:
        path.unlink(missing_ok=True)
        return
    check_directory(directory)
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    write_secret(path, json.dumps(asdict(directory)).encode())
