"""The picture of a screen, as libvirt gives it (PPM or PNG, by QEMU's version), to a PNG of our own.

A picture that a program of a guest could have shaped is never passed on as it came: only its points are taken over.
"""

from io import BytesIO

from PIL import Image, ImageFile, UnidentifiedImageError

from labctl.errors import LabctlError
from labctl.language import _

FORMATS = ("PPM", "PNG")
MOST_POINTS = 7680 * 4320


def make_png(picture: bytes) -> bytes:
    """Return the PNG of a picture. Raises LabctlError for what is none."""
    written = BytesIO()
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # WeasyPrint sets it for the whole process as soon as it is imported
    try:
        with Image.open(BytesIO(picture), formats=FORMATS) as found:
            fits = found.width * found.height <= MOST_POINTS
            points = Image.frombytes("RGB", found.size, found.convert("RGB").tobytes()) if fits else None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as exc:
        raise no_picture() from exc
    if points is None:
        raise no_picture()
    points.save(written, "PNG")
    return written.getvalue()


def no_picture() -> LabctlError:
    """Return the error for what is no picture of a screen."""
    return LabctlError(_("the hypervisor gave a picture of the screen that is none"))
