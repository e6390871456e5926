"""Stands before every page: refuses foreign hosts and origins and large bodies, sets the headers that protect."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labctl.language import DEFAULT, LANGUAGES, _, speaking
from labctl.portal.failures import failure_page
from labctl.portal.settings import Settings
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone

LARGEST_BODY = 64 << 10  # bytes: the largest form names 200 labs; nothing is uploaded
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LANGUAGE_COOKIE = "language"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
EVERY = 10.0  # seconds between two lines about what was refused here: a flood must not fill a disk
LOG = logging.getLogger("labctl.portal")
COOKIE = re.compile(rf"(?:^|;)\s*{LANGUAGE_COOKIE}=(\w+)")


@dataclass
class Refusals:
    """Tells, now and then, how many requests were refused before they reached the worker, whose log has the others."""

    clock: Callable[[], float] = time.monotonic
    told: float = -EVERY
    count: int = 0

    def note(self, scope: Scope, refused: NotDone) -> None:
        """Note one."""
        self.count += 1
        at = self.clock()
        if at - self.told < EVERY:
            return
        address, *_port = scope.get("client") or ("?",)
        LOG.warning("refused: %s, the last one %s, from %s", self.count, refused.refusal, address)
        self.told, self.count = at, 0


@dataclass(frozen=True)
class Guard:
    """The outermost layer. What it refuses never reaches a page, nor the worker.

    `stopping` is set when the process is to end, so that what lasts lets go.
    """

    app: ASGIApp
    settings: Settings
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    refusals: Refusals = field(default_factory=Refusals)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a websocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        with speaking(preferred_language(headers)):
            refused = self.why_refused(scope, headers)
            if refused:
                self.refusals.note(scope, refused)
            if scope["type"] == "websocket":
                if refused:
                    await send({"type": "websocket.close", "code": 1008})
                else:
                    await self.app(scope, receive, send)
                return
            await self.answer(scope, receive, self.with_headers(send), refused)

    async def answer(self, scope: Scope, receive: Receive, send: Send, refused: NotDone | None) -> None:
        """Answer a request, with the page of an error where it is refused."""
        if refused is None:
            body = Body(receive, lambda error: self.refusals.note(scope, error))
            await self.app(scope, body.receive, send)
        else:
            await failure_page(refused)(scope, receive, send)

    def why_refused(self, scope: Scope, headers: Headers) -> NotDone | None:
        """Return why a request is refused, None where it may pass."""
        host = headers.get("host", "")
        if self.settings.names and split_host(host) not in self.settings.names:
            return NotDone(Refusal.MALFORMED, _("the portal is not reached by this name"))
        unsafe = scope["type"] == "websocket" or scope["method"] not in SAFE
        if unsafe and not self.is_ours(headers, host):
            return NotDone(Refusal.FORBIDDEN, _("this was sent by another site, and nothing was done"))
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            return too_large()
        return None

    def is_ours(self, headers: Headers, host: str) -> bool:
        """Return whether a page of ours sent this; the browser says so in one of two ways, and neither may deny it."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site not in {None, "same-origin"}:
            return False
        if origin is None:
            return site is not None
        return origin.lower() == f"{self.settings.scheme}://{host.lower()}"

    def with_headers(self, send: Send) -> Send:
        """Return a `send` that adds our headers to each answer that does not have its own."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self.settings.strict_transport:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        return sending


class Body:
    """What comes of a body, no more than may come."""

    def __init__(self, receive: Receive, refused: Callable[[NotDone], None]) -> None:
        self.source = receive
        self.refused = refused
        self.read = 0

    async def receive(self) -> Message:
        """Return the next part. Raises NotDone."""
        message = await self.source()
        self.read += len(message.get("body", b""))
        if self.read > LARGEST_BODY:
            error = too_large()
            self.refused(error)
            raise error
        return message


def too_large() -> NotDone:
    """Return the refusal of a body."""
    return NotDone(Refusal.TOO_LARGE, _("what was sent is too large, and nothing was done"))


def split_host(host: str) -> str:
    """Return a host header without its port, in small letters; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def preferred_language(headers: Headers) -> str:
    """Return the language of the cookie, else the browser's first of ours, else French."""
    chosen = COOKIE.search(headers.get("cookie", ""))
    if chosen and chosen[1] in LANGUAGES:
        return chosen[1]
    wanted = [part.strip()[:2].lower() for part in headers.get("accept-language", "").split(",")]
    return next((language for language in wanted if language in LANGUAGES), DEFAULT)
