"""Makes the image of a Windows for `labctl image build`: what was typed to what is made."""

import re
from pathlib import Path

from labctl.cli.progress import choose_display
from labctl.cli.stopping import stop_politely
from labctl.cli.workplace import accelerators, open_hypervisor, open_workplace
from labctl.errors import HostNotReady, Interrupted, InvalidFile
from labctl.images.recipe import MediaRecipe
from labctl.images.store import Image, ImageStore
from labctl.lab.pace import find_linux
from labctl.lab.windows_image import Factory, Request, build_windows
from labctl.lab.wish import Stop
from labctl.language import _
from labctl.render.windows.versions import WINDOWS

PRODUCT_KEY = re.compile("[A-Z0-9]{5}(-[A-Z0-9]{5}){4}")


def make_request(
    recipe: MediaRecipe, discs: tuple[Path | None, Path | None], edition: str, key_file: Path | None,
    openssh: Path | None,
) -> Request:  # fmt: skip
    """Return what is to be made. `discs` are Windows' own and virtio-win's.

    Raises InvalidFile where one is missing, or the installer of OpenSSH for a version whose own is too old.
    """
    iso, drivers = discs
    if iso is None or drivers is None:
        text = _("{title} is made from two discs that labctl may not distribute: its own, and virtio-win")
        raise InvalidFile(text.format(title=recipe.title), hint=recipe.command)
    if openssh is None and not WINDOWS[recipe.name].openssh:
        text = _("{title} has an OpenSSH that is too old for Ansible: the installer of a newer one is needed")
        raise InvalidFile(text.format(title=recipe.title), hint=recipe.command)
    return Request(recipe, iso, drivers, edition, read_key(key_file) if key_file else "", openssh)


def build_from_discs(request: Request, *, as_json: bool) -> Image:
    """Make the image of a Windows and show how far it is."""
    name, stop = request.recipe.name, Stop()
    with open_hypervisor() as machines, open_workplace() as place:
        linux = find_linux(place.home)
        if linux is None:
            raise HostNotReady(
                _("whether this host accelerates machines is tested with an image of labctl's own, and there is none"),
                hint="sudo labctl image build debian-13",
            )
        pace = accelerators(place)(linux)
        factory = Factory(machines, ImageStore(place.home), pace, place.prefix, check=lambda: check_stop(stop, name))
        with (
            stop_politely(stop),
            choose_display(_("image {name}").format(name=name), as_json=as_json, estimate=None) as display,
        ):
            return build_windows(factory, request, display)


def check_stop(stop: Stop, name: str) -> None:
    """Raise Interrupted where a person wishes to stop."""
    try:
        stop.raise_if_asked(name)
    except Interrupted as exc:
        text = _('stopped; nothing is kept of the image "{name}"')
        raise Interrupted(text.format(name=name), hint=_("type the same command again")) from exc


def read_key(path: Path) -> str:
    """Return the product key of a file. It is never an argument: those stand in the list of processes."""
    key = path.read_text(encoding="ascii", errors="replace").strip().upper()
    if not PRODUCT_KEY.fullmatch(key):
        text = _('"{path}" holds no product key: five groups of five letters or digits, with dashes')
        raise InvalidFile(text.format(path=path), hint=f"ls -l {path}")
    return key
