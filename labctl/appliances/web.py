"""A web server that labctl gave its certificate: reached over TLS, and known by that one certificate alone."""

import http.client
import socket
import ssl
import time
from collections.abc import Callable

from labctl.errors import DeadlineMissed, LabctlError, Refused
from labctl.language import _

PORT = 443
TIMEOUT = 20.0  # seconds for each exchange
PAUSE = 1.0  # seconds between two looks at a firewall that starts


class Unreachable(LabctlError):
    """The firewall does not answer, or not in time."""


def connect(address: str, certificate: str, port: int = PORT, timeout: float = TIMEOUT) -> http.client.HTTPSConnection:
    """Return a connection to the one that has the certificate; nothing was said on it yet.

    `address` may have a zone (fe80::1%bridge); `certificate` is a PEM text. Raises Unreachable, Refused for another.
    """
    context = ssl.create_default_context(cadata=certificate)
    context.check_hostname = False  # the certificate is compared as a whole: no name says more
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
    try:
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as exc:
        connection.close()
        raise another(address) from exc
    except OSError as exc:
        connection.close()
        raise unreachable(address, exc) from exc
    if shown != ssl.PEM_cert_to_DER_cert(certificate):
        connection.close()
        raise another(address)
    return connection


def another(address: str) -> Refused:
    """Return the refusal of somebody who is not this firewall."""
    text = _('"{address}" does not show the certificate that labctl gave this firewall: nothing was sent to it')
    return Refused(text.format(address=address), hint="labctl status")


def unreachable(address: str, exc: Exception) -> Unreachable:
    """Return the error for a firewall that does not answer."""
    reason = _("no answer in time") if isinstance(exc, socket.timeout | TimeoutError) else str(exc)
    text = _('the firewall at "{address}" does not answer: {reason}')
    return Unreachable(text.format(address=address, reason=reason or type(exc).__name__))


def wait_for(look: Callable[[], object], deadline: float) -> None:
    """Return once a look at a firewall that starts succeeds.

    Raises DeadlineMissed after `deadline` seconds, and what the look raises but Unreachable.
    """
    end = time.monotonic() + deadline
    while True:
        try:
            look()
        except Unreachable as exc:
            if time.monotonic() + PAUSE > end:
                text = _("the firewall did not answer within {seconds:.0f} s: {reason}")
                raise DeadlineMissed(text.format(seconds=deadline, reason=exc.message)) from exc
            time.sleep(PAUSE)
        else:
            return
