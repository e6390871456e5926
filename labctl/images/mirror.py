"""Where Debian packages come from: the host's own apt configuration to apt sources for another suite."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import HostNotReady, LabctlError
from labctl.language import _
from labctl.program import ProgramFailed, run

# ORIGIN and LABEL come from the archive's signed Release file, so that a mirror is recognised whatever its address.
INDEX_FORMAT = "$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(LABEL)"
KEYRINGS = tuple(Path(f"/usr/share/keyrings/debian-archive-keyring.{end}") for end in ("gpg", "pgp"))


@dataclass(frozen=True)
class Source:
    """One place of the archive: a URI and the suite to take from it."""

    uri: str
    suite: str


def find_sources(suite: str, mirror: str = "") -> tuple[Source, ...]:
    """Return the sources of a Debian suite: the archive, its updates, and security where the host knows it.

    `mirror` is the URI of a Debian archive, for hosts whose own packages come from elsewhere (Ubuntu). Raises
    HostNotReady where the host's apt knows no Debian archive.
    """
    if mirror:
        return choose_sources(suite, [f"{mirror}|stable|Debian|Debian"])
    output = run(["apt-get", "indextargets", "--format", INDEX_FORMAT, "Created-By: Packages"])
    return choose_sources(suite, output.stdout.splitlines())


def choose_sources(suite: str, targets: Sequence[str]) -> tuple[Source, ...]:
    """Return the sources of a suite from lines of apt's index targets, as INDEX_FORMAT writes them."""
    archive, security = "", ""
    for target in targets:
        uri, release, origin, label = [*target.split("|"), "", "", ""][:4]
        if origin not in ("Debian", "") or uri.startswith(("cdrom:", "file:", "copy:")):
            continue
        if label == "Debian-Security" or (not label and release.endswith("-security")):
            security = security or uri
        elif label == "Debian" and not release.endswith("-backports"):
            archive = archive or uri
    if not archive:
        raise HostNotReady(
            _("this host's apt knows no Debian archive, so there is nowhere to take packages from"),
            hint="sudo LABCTL_MIRROR=URI labctl image build debian-13",
        )
    sources = [Source(archive, suite), Source(archive, f"{suite}-updates")]
    return (*sources, Source(security, f"{suite}-security")) if security else tuple(sources)


def find_keyring() -> Path:
    """Return the keyring that signs Debian's archive. Raises HostNotReady without it."""
    for path in KEYRINGS:
        if path.exists():
            return path
    raise HostNotReady(
        _("the keys that sign Debian's archive are missing on this host"), hint="apt-get install debian-archive-keyring"
    )


def render_sources(sources: Sequence[Source], keyring: Path) -> str:
    """Return the sources in apt's deb822 form."""
    stanza = "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {keyring}\n"
    return "\n".join(stanza.format(uri=source.uri, suite=source.suite, keyring=keyring) for source in sources)


def is_reachable(source: Source) -> bool:
    """Tell whether the source answers, asked as apt asks: through the host's proxies and certificates."""
    options = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10"]
    uri = f"{source.uri.rstrip('/')}/dists/{source.suite}/InRelease"
    with tempfile.TemporaryDirectory(prefix="labctl-") as folder:
        try:
            run(["/usr/lib/apt/apt-helper", *options, "download-file", uri, f"{folder}/InRelease"], timeout=60)
        except ProgramFailed:
            return False
    return True


def unreachable(source: Source) -> LabctlError:
    """Return the error for a mirror that does not answer while packages are needed."""
    return LabctlError(
        _('the Debian archive at "{uri}" does not answer, and the packages are not all on this host').format(
            uri=source.uri
        ),
        hint="apt-get update",
    )
