"""Writes a few small files as an ISO 9660 image with a label: the disk that a guest reads its configuration from."""

import io
from collections.abc import Mapping

import pycdlib

LABEL = "LABCTL"  # FreeBSD shows it as /dev/iso9660/LABCTL, glabel(8)


def render_medium(files: Mapping[str, str], label: str = LABEL) -> bytes:
    """Return the image. `files` maps a name, such as config.xml, to its text; long names by Rock Ridge and Joliet."""
    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=3, vol_ident=label, rock_ridge="1.09", joliet=3)
    try:
        for number, (name, text) in enumerate(sorted(files.items())):
            data = text.encode()
            disc.add_fp(io.BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
        image = io.BytesIO()
        disc.write_fp(image)
        return image.getvalue()
    finally:
        disc.close()
