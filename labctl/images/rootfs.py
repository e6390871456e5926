"""Turns a recipe or a list of packages into a root file system in a directory, with mmdebstrap on the host."""

import io
import os
import re
import shlex
import shutil
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.images.contents import DEBCONF, EXECUTABLE, FILES, FINISH, LINKS
from labctl.images.mirror import Source, find_keyring, find_sources, is_reachable, render_sources, unreachable
from labctl.images.recipe import DebianRecipe
from labctl.program import ProgramFailed, run, stream

Tell = Callable[[float, str], None]

INDICES_LAST = 24 * 3600  # seconds
SOURCES = "etc/apt/sources.list.d/debian.sources"
TAR_OPTIONS = "--numeric-owner --xattrs --xattrs-include=*"
GUEST_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
COMPRESS = "zstd -1"  # a third of the bytes to bring to the disk; tar finds out by itself when it reads
# Given by hand because mmdebstrap's own "--include" does not install on top of an existing system.
INSTALL = (
    'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes -o Dir::Bin::dpkg=env -o DPkg::Options::=--unset=TMPDIR '
    '-o DPkg::Options::=dpkg -o DPkg::Chroot-Directory="$1" -o Dpkg::Use-Pty=false install {packages}'
)
# mmdebstrap's own lines, and how far each brings the work.
PHASES = {
    "running apt-get update": 0.02, "downloading packages": 0.06, "extracting archives": 0.2,
    "installing essential": 0.25, "installing remaining": 0.35, "cleaning package lists": 0.99,
}  # fmt: skip
INSTALLED = re.compile(r"(\d+) newly installed")


@dataclass(frozen=True)
class Build:
    """What one run of mmdebstrap needs to know. `cache` keeps downloaded packages and indices between runs."""

    recipe: DebianRecipe
    target: Path
    cache: Path
    mirror: str = ""


def build_root(build: Build, tell: Tell) -> None:
    """Make the root file system of a recipe in `build.target`. Root's rights are needed."""
    overlay = build.target.with_suffix(".files.tar")
    write_overlay(overlay)
    hooks = [
        f'--setup-hook=tar -C "$1" -xf {shlex.quote(str(overlay))}',
        f'--essential-hook=printf %s {shlex.quote(DEBCONF)} | chroot "$1" debconf-set-selections',
        f"--include={','.join(build.recipe.packages)}",
    ]
    try:
        run_mmdebstrap(build, "minbase", hooks, tell)
    finally:
        overlay.unlink(missing_ok=True)


def build_layer(build: Build, base: Path, packages: Sequence[str], tell: Tell) -> None:
    """Make `build.target` from the base's tar and install more packages in it, with the host's apt."""
    unpack = f'tar -C "$1" {TAR_OPTIONS} --exclude=./dev/* --exclude=./{SOURCES} -xf {shlex.quote(str(base))}'
    install = INSTALL.format(packages=shlex.join(packages))
    run_mmdebstrap(build, "custom", [f"--setup-hook={unpack}", f"--customize-hook={install}"], tell)


def pack_root(root: Path, tar: Path) -> None:
    """Keep a root file system as a tar, for layers to start from."""
    run(["tar", "-C", root, *TAR_OPTIONS.split(), f"--use-compress-program={COMPRESS}", "-cf", tar, "."], timeout=900)


def run_mmdebstrap(build: Build, variant: str, hooks: Sequence[str], tell: Tell) -> None:
    """Run mmdebstrap with the host's mirror and the packages of earlier builds.

    Indices of the last day are used again, which is quick, gives layers the versions of their base, and works without
    a network where all packages are known. Raises LabctlError where the mirror is needed and does not answer.
    """
    sources = find_sources(build.recipe.suite, build.mirror)
    lists = build.cache / "lists"
    if lists.is_dir() and time.time() - lists.stat().st_mtime < INDICES_LAST:
        try:
            run_once(build, [f"--variant={variant}", *hooks], sources, update=False, tell=tell)
        except ProgramFailed:
            shutil.rmtree(build.target, ignore_errors=True)  # the mirror has moved on: ask it
        else:
            return
    online = is_reachable(sources[0])
    if not online and not lists.is_dir():
        raise unreachable(sources[0])
    try:
        run_once(build, [f"--variant={variant}", *hooks], sources, update=online, tell=tell)
    except ProgramFailed as exc:
        raise exc if online else unreachable(sources[0]) from exc


def run_once(build: Build, options: Sequence[str], sources: Sequence[Source], *, update: bool, tell: Tell) -> None:
    """Run mmdebstrap, with the indices of an earlier build unless `update`."""
    lists, archives = build.cache / "lists", build.cache / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    listing, guest = build.target.with_suffix(".sources"), build.target.with_suffix(".guest.sources")
    listing.write_text(render_sources(sources, find_keyring()), encoding="utf-8")
    guest.write_text(render_sources(sources, GUEST_KEYRING), encoding="utf-8")
    argv = [
        "mmdebstrap", "--mode=root", "--format=directory", "--verbose",
        "--skip=check/signed-by,check/empty,essential/unlink,cleanup/apt/lists" + ("" if update else ",update"),
        "--dpkgopt=force-unsafe-io",
        f"--setup-hook={fill_cache(lists, archives, with_lists=not update)}",
        *options,
        f"--customize-hook={keep_cache(lists, archives, with_lists=update)}",
        f"--customize-hook={FINISH}",
        f"--customize-hook={place_sources(guest)}",
        build.recipe.suite, str(build.target), str(listing),
    ]  # fmt: skip
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        stream(argv, watch_phases(tell), environment=environment)
    finally:
        listing.unlink(missing_ok=True)
        guest.unlink(missing_ok=True)


def fill_cache(lists: Path, archives: Path, *, with_lists: bool) -> str:
    """Return the shell line that gives a new root the packages of earlier builds, as hard links."""
    line = (
        f'mkdir -p "$1"/var/cache/apt/archives "$1"/var/lib/apt/lists; '
        f'find {shlex.quote(str(archives))} -name "*.deb" -exec cp -lt "$1"/var/cache/apt/archives {{}} +'
    )
    return f'{line}; cp -a {shlex.quote(str(lists))}/. "$1"/var/lib/apt/lists' if with_lists else line


def keep_cache(lists: Path, archives: Path, *, with_lists: bool) -> str:
    """Return the shell line that keeps what this build downloaded for the next one."""
    line = f'find "$1"/var/cache/apt/archives -name "*.deb" -exec cp -lnt {shlex.quote(str(archives))} {{}} +'
    if with_lists:
        kept = shlex.quote(str(lists))
        line = f'{line}; rm -rf {kept}; cp -a "$1"/var/lib/apt/lists {kept}; touch {kept}'
    return f'{line}; find "$1"/var/lib/apt/lists -type f -delete'


def place_sources(sources: Path) -> str:
    """Return the shell line that gives the root its own apt sources instead of those of the build."""
    return f'rm -f "$1"/etc/apt/sources.list.d/*; install -m 0644 {shlex.quote(str(sources))} "$1"/{SOURCES}'


def watch_phases(tell: Tell) -> Callable[[str], None]:
    """Return a reader of mmdebstrap's lines that tells how far it is."""
    fraction, expected = 0.0, 200

    def line_seen(line: str) -> None:
        nonlocal fraction, expected
        if found := INSTALLED.search(line):
            expected = max(1, int(found[1]))
        for phase, start in PHASES.items():
            if line.startswith(f"I: {phase}"):
                fraction = max(fraction, start)
                tell(fraction, line[3:])
        if line.startswith("Setting up "):
            fraction = min(0.98, fraction + 0.6 / expected)
            tell(fraction, line.split(" ")[2])

    return line_seen


def write_overlay(path: Path) -> None:
    """Write labctl's own files of the image as a tar, dated 1970 so that equal content is equal bytes."""
    with tarfile.open(path, "w") as tar:
        for name, text in FILES.items():
            member = tarfile.TarInfo(name)
            data = text.encode()
            member.size, member.mode = len(data), 0o755 if name in EXECUTABLE else 0o644
            tar.addfile(member, io.BytesIO(data))
        for name, target in LINKS.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(member)
