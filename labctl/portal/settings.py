"""What the web process must know of where it runs."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How the portal is reached: `names` are its hosts without ports, () for any; `secure` by https.

    `strict_transport` tells browsers to come by https only from now on: it takes a certificate that they accept.
    """

    names: tuple[str, ...] = ()
    secure: bool = True
    strict_transport: bool = False

    @property
    def scheme(self) -> str:
        """Return the scheme of its addresses."""
        return "https" if self.secure else "http"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that the environment of the web process holds."""
    names = environment.get("LABCTL_PORTAL_NAMES", "").split(",")
    return Settings(
        names=tuple(name.strip().lower() for name in names if name.strip()),
        secure=bool(environment.get("LABCTL_PORTAL_CERT")),
        strict_transport=environment.get("LABCTL_PORTAL_HSTS") == "1",
    )
