"""A check to a short sentence about what its probe has to show."""

from collections.abc import Callable, Iterator, Mapping

from pydantic import JsonValue

from labctl.language import translations
from labctl.topology.model import Check
from labctl.topology.probes import Probe

SECRETS = {"password", "community"}  # keys whose value is on no sheet
Gettext = Callable[[str], str]


def describe_expected(check: Check, language: str) -> str:
    """Return what is expected, such as `status 200; the page holds "Welcome"`; for a negative check, what must not be.

    Secrets are left out. A kind of probe that has no words of its own here is described by its keys.
    """
    gettext = translations(language).gettext
    wanted = ("\N{NO-BREAK SPACE}; " if language == "fr" else "; ").join(describe_probe(check.probe, gettext))
    return gettext("forbidden: {what}").format(what=wanted) if check.negative else wanted


def describe_probe(probe: Probe, gettext: Gettext) -> Iterator[str]:
    """Yield the parts of what a probe looks for."""
    if probe.type == "ping":
        yield gettext("{host} answers").format(host=probe.to)
    elif probe.type == "tcp":
        yield gettext("port {port} of {host} opens").format(port=probe.port, host=probe.to)
    elif probe.type == "command":
        yield gettext("exit code {code}").format(code=probe.code)
        yield from holding(gettext('the output holds "{text}"'), probe.contains)
    elif probe.type == "service":
        yield gettext("running")
        if probe.enabled:
            yield gettext("started at boot")
    elif probe.type == "file":
        yield gettext("the file exists")
        yield from holding(gettext("owner {text}"), probe.owner)
        yield from holding(gettext("mode {text}"), probe.mode)
        yield from holding(gettext('the file holds "{text}"'), probe.contains)
    else:
        yield from describe_lookup(probe, gettext)


def describe_lookup(probe: Probe, gettext: Gettext) -> Iterator[str]:
    """Yield the parts of what a probe that asks by name looks for, and of all other kinds."""
    if probe.type == "http":
        yield gettext("status {status}").format(status=probe.status)
        if probe.url.startswith("https:"):
            yield gettext("valid certificate")
        yield from holding(gettext('the page holds "{text}"'), probe.contains)
        yield from holding(gettext('redirects to "{text}"'), probe.redirect)
    elif probe.type == "dns":
        yield gettext("{name} ({record}) has an answer").format(name=probe.name, record=probe.record)
        yield from holding(gettext("it is {text}"), probe.answer)
        if probe.server:
            yield gettext("asked of {host}").format(host=probe.server)
    else:
        yield from describe_keys(probe, gettext)


def holding(sentence: str, text: str | None) -> Iterator[str]:
    """Yield a sentence about a text, nothing where there is none."""
    if text:
        yield sentence.format(text=text)


def describe_keys(probe: Probe, gettext: Gettext) -> Iterator[str]:
    """Yield what the topology's format says of this kind of probe, then its keys as their author wrote them."""
    kind = type(probe).model_fields["type"].description
    if kind:
        yield gettext(kind)
    for name, value in probe.model_dump(mode="json", exclude_none=True, exclude_defaults=True).items():
        if name not in SECRETS | {"type"} and value not in ([], {}, ""):
            yield f"{name}: {describe_value(value)}"


def describe_value(value: JsonValue) -> str:
    """Return a value as one text: the fields of a list's items side by side."""
    if isinstance(value, Mapping):
        return " ".join(describe_value(one) for name, one in value.items() if name not in SECRETS)
    if isinstance(value, list):
        return ", ".join(describe_value(one) for one in value)
    return str(value)
