"""Tasks of the agent about what is sent and must arrive: mail, the certificates of servers, alerts, lines of logs."""

import json
import os
import socket
import time
from typing import Any

from labctl.checks.agent import read_password, run

WINDOW = 8 << 20  # bytes read of a file that something must arrive in
TRIGGER_SECONDS = 40  # the longest one of the labs takes 30
MOST_FILES = 2000  # files looked at in a folder


def secure(authority: Any) -> Any:
    """Return the settings of a client that verifies certificates."""
    import ssl

    context = ssl.create_default_context(cafile=authority or None)
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)  # Python 3.13 refuses authorities that curl takes
    return context


def trouble(exc: Exception) -> dict[str, Any]:
    """Return an error of a connection. Code 1: not reached; 2: unknown name; 3: TLS or the certificate.

    A server that took the connection and is then too slow for the handshake has shown nothing.
    """
    import ssl

    if isinstance(exc, socket.gaierror):
        return {"code": 2, "err": str(exc)}
    if isinstance(exc, ssl.SSLCertVerificationError):
        return {"code": 3, "err": exc.verify_message or str(exc)}
    if isinstance(exc, socket.timeout) and "operation timed out" in str(exc):  # of the handshake; see _ssl.c
        return {"error": "timeout"}
    return {"code": 3 if isinstance(exc, ssl.SSLError) else 1, "err": str(exc) or type(exc).__name__}


def smtp(task: dict[str, Any]) -> dict[str, Any]:
    """Talk with a mail server up to the recipient, and send nothing.

    Code 0: all accepted; 1 to 3: see `trouble`; 4: it refuses, with its answer; 5: it says to come back later.
    """
    import smtplib

    try:
        if task["tls"] == "tls":
            server: Any = smtplib.SMTP_SSL(
                task["host"], task["port"], timeout=task["timeout"], context=secure(task["authority"])
            )
        else:
            server = smtplib.SMTP(task["host"], task["port"], timeout=task["timeout"])
        try:
            return smtp_dialogue(server, task)
        finally:
            server.close()
    except smtplib.SMTPResponseException as exc:
        return refusal(exc.smtp_code, exc.smtp_error)
    except smtplib.SMTPServerDisconnected as exc:  # said also where it took the connection and then kept silent
        return {"error": "timeout"} if isinstance(exc.__context__, socket.timeout) else {"code": 1, "err": str(exc)}
    except smtplib.SMTPException as exc:  # a command that the server does not offer, such as STARTTLS
        return {"code": 4, "err": str(exc)}
    except OSError as exc:
        return trouble(exc)


def smtp_dialogue(server: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Greet, encrypt, log in, name sender and recipient, and take all back."""
    server.ehlo_or_helo_if_needed()
    if task["tls"] == "starttls":
        server.starttls(context=secure(task["authority"]))
        server.ehlo()
    if task["user"]:
        server.sock.settimeout(task["patience"])
        server.login(task["user"], password_of(task))
    said: list[str] = []
    if task["recipient"]:
        for code, text in (server.mail(task["sender"]), server.rcpt(task["recipient"])):
            if code >= 300:  # noqa: PLR2004  RFC 5321: 2xx accepts
                return refusal(code, text)
            said.append("%d %s" % (code, text.decode("utf-8", "replace")))
        server.rset()
    server.quit()
    return {"code": 0, "out": "\n".join(said) or "220"}


def password_of(task: dict[str, Any]) -> str:
    """Return the password of an account: given, or in a file of this node."""
    return read_password(task["password_file"]) if task["password_file"] else str(task["password"])


def mentions(raw: bytes, text: bytes) -> bool:
    """Tell whether some bytes hold a text; in a mail also where it is encoded, as subjects and texts in French are."""
    if text in raw:
        return True
    if b"\nSubject:" not in raw[:WINDOW]:
        return False
    import email
    import email.policy

    message = email.message_from_bytes(raw, policy=email.policy.default)
    parts: list[Any] = [
        part.get_payload(decode=True) for part in message.walk() if part.get_content_maintype() == "text"
    ]
    words = [str(message["subject"]), *((part or b"").decode("utf-8", "replace") for part in parts)]
    return any(text.decode("utf-8", "replace") in word for word in words)


def refusal(code: int, text: Any) -> dict[str, Any]:
    """Return a mail server's refusal; 4xx may be other another time (RFC 5321, 4.2.1)."""
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return {"code": 5 if 400 <= code < 500 else 4, "err": "%d %s" % (code, said)}  # noqa: PLR2004  RFC 5321: 4xx may pass later


def imap(task: dict[str, Any]) -> dict[str, Any]:
    """Open a mailbox. Codes as `smtp`; 4: login refused; 6: no message holds the text."""
    import imaplib

    try:
        if task["tls"] == "tls":
            box: Any = imaplib.IMAP4_SSL(
                task["host"], task["port"], ssl_context=secure(task["authority"]), timeout=task["timeout"]
            )
        else:
            box = imaplib.IMAP4(task["host"], task["port"], timeout=task["timeout"])
        try:
            if task["tls"] == "starttls":
                box.starttls(secure(task["authority"]))
            return read_mailbox(box, task)
        except TimeoutError:  # it took the connection
            return {"error": "timeout"}
        finally:
            box.shutdown()
    except imaplib.IMAP4.abort as exc:
        return {"code": 1, "err": str(exc)}
    except imaplib.IMAP4.error as exc:
        return {"code": 4, "err": str(exc)}
    except OSError as exc:
        return trouble(exc)


def read_mailbox(box: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Log in and look into the newest messages of the inbox, without marking them as read."""
    welcome = box.welcome.decode("utf-8", "replace")
    if not task["user"]:
        return {"code": 0, "out": welcome}
    box.sock.settimeout(task["patience"])
    box.login(task["user"], password_of(task))
    count = int(box.select("INBOX", readonly=True)[1][0])
    if task["contains"]:
        for number in range(count, max(0, count - 50), -1):
            parts = box.fetch(str(number), "(BODY.PEEK[])")[1]
            raw = b"".join(part[1] for part in parts if isinstance(part, tuple))
            if mentions(raw, task["contains"].encode()):
                return {"code": 0, "out": "%d messages" % count}
        return {"code": 6, "out": "%d messages" % count}
    return {"code": 0, "out": "%d messages" % count}


def certificate(task: dict[str, Any]) -> dict[str, Any]:
    """Verify the certificate that a server shows; codes as `trouble`. `out` has the seconds left and names as JSON."""
    import ssl

    try:
        context = secure(task["authority"])
        with socket.create_connection((task["host"], task["port"]), timeout=task["timeout"]) as plain:
            with context.wrap_socket(plain, server_hostname=task["name"]) as sock:
                shown: Any = sock.getpeercert()
    except OSError as exc:
        return trouble(exc)
    left = ssl.cert_time_to_seconds(shown["notAfter"]) - time.time()
    names = [value for _kind, value in shown.get("subjectAltName", ())]
    return {"code": 0, "out": json.dumps({"left": int(left), "names": names, "until": shown["notAfter"]})}


def certificate_file(task: dict[str, Any]) -> dict[str, Any]:
    """Verify a certificate in a file by openssl. Code 1: no such file; 3: refused."""
    import ssl

    if not os.path.isfile(task["path"]):
        return {"code": 1, "err": "no such file"}
    trusted = ["-CAfile", task["authority"]] if task["authority"] else []
    verify = ["openssl", "verify", *trusted, "-verify_hostname", task["name"], "-untrusted", task["path"], task["path"]]
    said = run({"argv": verify, "timeout": task["timeout"]})
    if said.get("code") != 0:
        lines = [line for line in said.get("err", "").splitlines() if line.startswith("error ")]
        return {"code": 3, "err": (lines or [said.get("err", "")])[0], "error": said.get("error", "")}
    argv = ["openssl", "x509", "-noout", "-enddate", "-in", task["path"]]
    until = run({"argv": argv, "timeout": task["timeout"]})["out"].strip().partition("=")[2]
    left = ssl.cert_time_to_seconds(until) - time.time()
    return {"code": 0, "out": json.dumps({"left": int(left), "names": [task["name"]], "until": until})}


def write_log(task: dict[str, Any]) -> dict[str, Any]:
    """Write a line with a token of this run to the log of the node."""
    argv = ["logger", "-p", task["priority"], "-t", "labctl", "--", "check " + task["token"]]
    return run({"argv": argv, "timeout": 15})


def arrival(task: dict[str, Any]) -> dict[str, Any]:
    """Wait for a text (else for this run's token) in a file, the files of a folder, or a page.

    With a trigger, only what is written after it counts. Code 0: it arrived; 1: it did not; 3: the trigger failed.
    """
    text = (task.get("text") or task["token"]).encode()
    before = sizes(task.get("path")) if task.get("trigger") else {}
    if task.get("trigger"):
        done = run({"argv": task["trigger"], "timeout": TRIGGER_SECONDS})
        if done.get("error") or done["code"] != 0:
            return {"code": 3, "err": done.get("error") or done["err"] or "code %d" % done["code"]}
    start = time.monotonic()
    looked = dict(before)
    while True:
        if holds(task, text, before, looked):
            return {"code": 0, "out": "after %.1f s" % (time.monotonic() - start)}
        if time.monotonic() - start > task["within"]:
            return {"code": 1, "err": "not within %d s" % task["within"]}
        time.sleep(0.5)


def holds(task: dict[str, Any], text: bytes, before: dict[str, int], looked: dict[str, int]) -> bool:
    """Tell whether the text is there now, in what was not there before; files of the size last looked at are left."""
    if task.get("url"):
        return text in read_page(task["url"])
    for path, size in sizes(task["path"]).items():
        if looked.get(path) == size:
            continue
        looked[path] = size
        old = before.get(path, 0)
        start = max(old if size >= old else 0, size - WINDOW)  # a smaller file is a new one: logs are rotated
        try:
            with open(path, "rb") as stream:
                stream.seek(start)
                if mentions(stream.read(WINDOW), text):
                    return True
        except OSError:
            continue  # it was moved meanwhile, as mail is
    return False


def sizes(path: Any) -> dict[str, int]:
    """Return the regular files of a path, a folder or a file, with their sizes in bytes."""
    found: dict[str, int] = {}
    names = [os.path.join(folder, name) for folder, _inner, files in os.walk(path or "") for name in files]
    for name in [*names[:MOST_FILES], *([path] if path and os.path.isfile(path) else [])]:
        try:
            if os.path.isfile(name):
                found[name] = os.path.getsize(name)
        except OSError:
            continue
    return found


def read_page(url: str) -> bytes:
    """Return the beginning of a page, nothing where it does not answer."""
    import urllib.request

    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            content: bytes = answer.read(1 << 20)
            return content
    except (OSError, ValueError):
        return b""
