"""Turns what is asked (recipe and packages) into a read-only image file, built once, checked before use."""

import hashlib
import json
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from labctl.errors import HostNotReady, LabctlError, Refused
from labctl.images import contents, disk, overlay, rootfs
from labctl.images.folder import PARTIAL, check_host, fingerprint, hash_file, hold, prepare_folder, remove_partial
from labctl.images.given import Given, command_for, read_given
from labctl.images.recipe import RECIPES, DebianRecipe, find_recipe
from labctl.images.steps import Steps
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress

BUILD_LOCK = ".build"  # in the folder of images: whoever makes one holds it
DIGITS = 16  # of an image's digest, in the name of its file
BUILD_VERSION = 1  # raise it when the way of building changes what is inside
NAMESPACE = uuid.UUID("6a1d4c0e-0f5b-5c8e-9a51-2f3c5a3d7b11")


@dataclass(frozen=True)
class ImageSpec:
    """What is asked: a recipe and more packages; none means the plain image."""

    recipe: str
    packages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "packages", tuple(sorted(set(self.packages))))

    @property
    def key(self) -> str:
        """Identity of what is asked: equal keys, equal image. What only the school can give is known by its name."""
        recipe = RECIPES.get(self.recipe)
        if not isinstance(recipe, DebianRecipe):
            return hashlib.sha256(json.dumps({"given": self.recipe}).encode()).hexdigest()[:16]
        content = {
            "version": BUILD_VERSION,
            "recipe": asdict(recipe),
            "packages": self.packages,
            "files": dict(contents.FILES),
            "links": dict(contents.LINKS),
            "texts": [contents.FINISH, contents.DEBCONF, contents.GRUB_CONFIG, contents.KERNEL_OPTIONS],
            "disk": [disk.FEATURES],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Image:
    """A built image. Sizes in bytes, `built` in ISO 8601 UTC.

    `seen` is the file's size, mtime in ns and inode when it was last read whole. `given` is None for an image that
    labctl built by itself.
    """

    name: str
    key: str
    digest: str
    path: Path
    packages: tuple[str, ...]
    size: int
    virtual_size: int
    built: str
    seen: tuple[int, int, int]
    given: Given | None = None

    @property
    def label(self) -> str:
        """Name for people and for `labctl image`: the recipe, and the start of the key for an image with packages."""
        return f"{self.name}-{self.key[:8]}" if self.packages else self.name


class ImageStore:
    """The images of one LABCTL_HOME, in `home`/images.

    `mirror` is the URI of a Debian archive to use instead of the one that the host's apt knows.
    """

    def __init__(self, home: Path, mirror: str = "") -> None:
        self.home = Path(os.path.abspath(home))  # noqa: PTH100 - resolve() follows links; overlays record the path as given
        self.folder = self.home / "images"
        self.mirror = mirror

    def find(self, spec: ImageSpec) -> Image | None:
        """Return the image of a spec, None where it is not built."""
        return self.read(self.folder / f"{spec.recipe}-{spec.key}.json")

    def list_images(self) -> tuple[Image, ...]:
        """Return all images, plain ones first, then by age."""
        images = (self.read(path) for path in self.folder.glob("*.json"))
        return tuple(sorted((i for i in images if i), key=lambda i: (i.name, bool(i.packages), i.built)))

    def select(self, word: str) -> tuple[Image, ...]:
        """Return the images that a person means by a label, a recipe's name or a key. Raises LabctlError for none."""
        chosen = tuple(i for i in self.list_images() if word in (i.label, i.name, i.key))
        if not chosen:
            raise LabctlError(_('there is no image "{name}" on this host').format(name=word), hint="labctl image list")
        return chosen

    def read(self, record: Path) -> Image | None:
        """Return the image of a record, None where either is gone or unreadable."""
        try:
            data = json.loads(record.read_text(encoding="utf-8"))
            path = self.folder / data.pop("file")
            lists = {"packages": tuple(data["packages"]), "seen": tuple(data["seen"])}
            image = Image(**{**data, **lists, "given": read_given(data.get("given"))}, path=path)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return image if path.exists() else None

    def ensure(self, spec: ImageSpec, monitor: Monitor) -> Image:
        """Return the image of a spec, building it (and the plain image below it) where it is absent.

        Raises HostNotReady without root's rights, programs or room, or where only the school can give the image;
        LabctlError where no mirror answers.
        """
        if image := self.find(spec):
            self.check(image)
            return image
        recipe = find_recipe(spec.recipe)
        if not isinstance(recipe, DebianRecipe):
            raise not_given(spec.recipe)
        with self.building(spec.recipe, monitor):
            base = ImageSpec(spec.recipe)
            if not self.find(base) or not self.root_tar(base).exists():
                self.build(recipe, base, monitor)
            if spec.packages and not self.find(spec):
                self.build(recipe, spec, monitor)
        image = self.find(spec)
        assert image is not None
        return image

    @contextmanager
    def building(self, subject: str, monitor: Monitor) -> Iterator[None]:
        """Be the only one who builds in this folder; what a killed build left is gone."""
        prepare_folder(self.folder)
        with hold(self.folder / BUILD_LOCK, lambda: monitor.tell(Event(subject, "wait", Progress.STARTED))):
            remove_partial(self.folder)
            self.remove_orphans(subject)
            yield

    def remove_orphans(self, name: str) -> None:
        """Remove the disks of a name that have no record, for a build was killed before it, and that nothing needs."""
        known = {image.path for image in self.list_images()}
        pattern = re.compile(rf"{re.escape(name)}-[0-9a-f]{{{DIGITS}}}\.qcow2")
        orphans = [path for path in self.folder.iterdir() if pattern.fullmatch(path.name) and path not in known]
        if orphans:
            with hold(self.folder / ".use"):
                disks = sorted(overlay.find_disks(self.home))
                for path in orphans:
                    if not overlay.find_dependents(path, disks):
                        path.unlink()

    @contextmanager
    def workshop(self, name: str, monitor: Monitor) -> Iterator[Path]:
        """Give a folder to make the image of this name in, from media of the school; it goes with the block.

        Raises Refused where there is an image of this name: labs may stand on it.
        """
        self.refuse_taken(name)
        with self.building(name, monitor):
            self.refuse_taken(name)  # by who held the lock until now
            with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=self.folder) as work:
                yield Path(work)

    def refuse_taken(self, name: str) -> None:
        """Raise Refused where there is an image of this name."""
        if self.find(ImageSpec(name)):
            text = _('there is an image "{name}" already; remove it first, or choose another name')
            raise Refused(text.format(name=name), hint=f"labctl image rm {name}")

    def register(self, file: Path, name: str, given: Given) -> Image:
        """Keep a finished qcow2 disk of a workshop as the image of this name, read-only, and return it."""
        spec = ImageSpec(name)
        self.keep(file, hash_file(file), spec, given)
        image = self.find(spec)
        assert image is not None
        return image

    def root_tar(self, base: ImageSpec) -> Path:
        """Return where the root file system of a plain image is kept, for layers."""
        return self.folder / f"{base.recipe}-{base.key}.tar"

    def build(self, recipe: DebianRecipe, spec: ImageSpec, monitor: Monitor) -> None:
        """Build one image and give it its final name."""
        check_host(self.folder)
        steps = Steps(monitor, spec.recipe)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=self.folder) as work, steps.failing():
            folder = Path(work)
            build = rootfs.Build(recipe, folder / "root", self.folder / "cache" / recipe.suite, self.mirror)
            if spec.packages:
                rootfs.build_layer(build, self.root_tar(ImageSpec(spec.recipe)), spec.packages, steps.scaled(0, 0.85))
            else:
                rootfs.build_root(build, steps.scaled(0, 0.85))
            # The tar and the disk are made of the same files, and a host has more than one processor.
            with ThreadPoolExecutor(max_workers=1) as beside:
                tar = None if spec.packages else beside.submit(self.keep_root, build.target, spec)
                steps.tell("disk", 0.9)
                disk.write_disk(build.target, folder / "disk.raw", str(uuid.uuid5(NAMESPACE, spec.key)))
                steps.tell("pack", 0.95)
                disk.pack_disk(folder / "disk.raw", folder / "disk.qcow2")
                steps.tell("hash", 0.98)
                digest = hash_file(folder / "disk.qcow2")
                if tar:
                    tar.result()
                self.keep(folder / "disk.qcow2", digest, spec)
        steps.done()

    def keep_root(self, root: Path, spec: ImageSpec) -> None:
        """Keep the root file system of a plain image, for layers to start from."""
        tar = root.with_suffix(".tar")
        rootfs.pack_root(root, tar)
        overlay.settle(tar, self.root_tar(spec))

    def keep(self, file: Path, digest: str, spec: ImageSpec, given: Given | None = None) -> None:
        """Move a finished disk to its content's name, read-only, then record it: the record makes it an image."""
        file.chmod(0o444)
        path = self.folder / f"{spec.recipe}-{digest[:DIGITS]}.qcow2"
        overlay.settle(file, path)
        header = overlay.read_header(path)
        status = path.stat()
        self.record(
            Image(
                name=spec.recipe, key=spec.key, digest=digest, path=path, packages=spec.packages, size=status.st_size,
                virtual_size=header[1] if header else 0, built=datetime.now(UTC).isoformat(timespec="seconds"),
                seen=fingerprint(path), given=given,
            )
        )  # fmt: skip

    def record(self, image: Image) -> None:
        """Write an image's record, whole or not at all."""
        data = {**asdict(image), "file": image.path.name}
        del data["path"]
        temporary = self.folder / f"{PARTIAL}{image.key}.{os.getpid()}.json.tmp"
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        temporary.chmod(0o644)
        overlay.settle(temporary, self.folder / f"{image.name}-{image.key}.json")

    def verify(self, image: Image) -> None:
        """Read the whole file and compare it with its digest. Raises Refused where it is not what was built."""
        try:
            seen = fingerprint(image.path)
            digest = hash_file(image.path)
        except OSError as exc:
            text = _('the image "{name}" cannot be read: {reason}').format(name=image.label, reason=exc.strerror)
            hint = command_for(image.name) if image.given else f"labctl image build {image.name}"
            raise Refused(text, hint=hint) from exc
        if digest != image.digest:
            text = _('the image "{name}" is not what was built: the content of "{path}" has changed')
            raise Refused(text.format(name=image.label, path=image.path), hint=f"labctl image rm {image.label}")
        if seen != image.seen:
            self.record(replace(image, seen=seen))

    def check(self, image: Image) -> None:
        """Make sure before use that the file is what was built; read whole only if it changed since the last time."""
        try:
            same = fingerprint(image.path) == image.seen
        except OSError:
            same = False
        if not same:
            self.verify(image)

    def remove(self, image: Image, in_use: Iterable[Path]) -> None:
        """Delete an image, and with a plain one the tar for layers (layers stand alone once they are built).

        `in_use` are disks of defined machines. Raises Refused while one of them, or a disk under the home, needs it.
        """
        with hold(self.folder / ".use"):
            disks = {*in_use, *(path for path in overlay.find_disks(self.home) if path.parent != self.folder)}
            needed = overlay.find_dependents(image.path, sorted(disks))
            if needed:
                text = _('the image "{name}" is needed by {count} disks, such as "{path}"')
                text = text.format(name=image.label, count=len(needed), path=needed[0])
                raise Refused(text, hint="labctl status")
            (self.folder / f"{image.name}-{image.key}.json").unlink(missing_ok=True)
            if not any(other.path == image.path for other in self.list_images()):
                image.path.unlink(missing_ok=True)
            if not image.packages:
                (self.folder / f"{image.name}-{image.key}.tar").unlink(missing_ok=True)

    def create_overlay(self, image: Image, path: Path, size_gib: int) -> None:
        """Create the disk of a node on an image. Raises Refused where it is smaller than the image, or not intact."""
        if size_gib << 30 < image.virtual_size:
            text = _('a disk of {size} GiB is too small: the image "{name}" needs {needed} GiB')
            needed = -(-image.virtual_size >> 30)
            raise Refused(text.format(size=size_gib, name=image.label, needed=needed), hint="labctl image list")
        with hold(self.folder / ".use", shared=True):
            self.check(image)
            overlay.create_overlay(image.path, path, size_gib)

    def create_disk(self, frozen: Path | None, path: Path, size_gib: int) -> None:
        """Create the disk of a clone on a frozen disk, which never changes; or an empty one on nothing."""
        overlay.create_overlay(frozen, path, size_gib)


def not_given(name: str) -> HostNotReady:
    """Return the error for an image that is asked for and that only the school can give."""
    text = _('the image "{name}" is not on this host: labctl makes it from media that the school gives')
    return HostNotReady(text.format(name=name), hint=command_for(name))
