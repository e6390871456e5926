"""An HTML page of our own to an accessible PDF (PDF/UA-1), by WeasyPrint."""

import logging

from labctl.errors import HostNotReady
from labctl.language import _

VARIANT = "pdf/ua-1"  # ISO 14289-1: tagged, with language and title
MARK = b"labctl"  # stands readable in the trailer: a PDF that has it may be replaced by a newer one


def render_pdf(html: str) -> bytes:
    """Return a page as PDF. Nothing is fetched: our pages are whole, and an address in one would be somebody else's.

    Raises HostNotReady where the libraries of the system are missing.
    """
    try:
        from weasyprint import HTML  # it loads Pango and costs half a second
        from weasyprint.urls import URLFetcher
    except OSError as exc:
        text = _("PDF needs the library Pango, which cannot be loaded: {error}")
        raise HostNotReady(text.format(error=str(exc).splitlines()[0]), hint="./bootstrap") from exc
    logging.getLogger("weasyprint").setLevel(logging.ERROR)  # it warns of CSS that is for browsers
    nobody = URLFetcher(allowed_protocols=[])
    found = HTML(string=html, url_fetcher=nobody).write_pdf(pdf_variant=VARIANT, pdf_identifier=MARK)
    assert isinstance(found, bytes)
    return found
