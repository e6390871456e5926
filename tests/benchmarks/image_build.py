"""Measures how long labctl takes to build an image, against mmdebstrap and mke2fs alone with the same packages."""

import shutil
import time
from pathlib import Path

from labctl.images.mirror import find_keyring, find_sources, render_sources
from labctl.images.recipe import DebianRecipe, find_recipe
from labctl.images.store import ImageSpec, ImageStore
from labctl.monitor import Silent
from labctl.program import run

RECIPE = "debian-13"
BARE = "bare_seconds"
BUILT = "labctl_seconds"
AGAIN = "labctl_again_seconds"


def measure(home: Path) -> dict[str, float]:
    """Return the seconds of the bare tools and of labctl, and their ratio, with nothing downloaded before either.

    `home` is an empty folder; both build in it, one after the other, and it is empty again afterwards. "again" is
    labctl's second build, with the packages of the first on this host.
    """
    store = ImageStore(home)
    try:
        bare = time_bare_tools(home / "bare")
        built = time_store(store)
        for image in store.list_images():
            store.remove(image, ())
        again = time_store(store)
    finally:
        shutil.rmtree(home / "images", ignore_errors=True)
    return {BARE: bare, BUILT: built, AGAIN: again, "ratio": built / bare, "ratio_again": again / bare}


def time_store(store: ImageStore) -> float:
    """Return the seconds that labctl takes for a plain image."""
    start = time.perf_counter()
    store.ensure(ImageSpec(RECIPE), Silent())
    return time.perf_counter() - start


def time_bare_tools(folder: Path) -> float:
    """Return the seconds of mmdebstrap and mke2fs as a person would type them."""
    recipe = find_recipe(RECIPE)
    assert isinstance(recipe, DebianRecipe)
    folder.mkdir(parents=True)
    sources = folder / "debian.sources"
    sources.write_text(render_sources(find_sources(recipe.suite), find_keyring()), encoding="utf-8")
    root, disk = folder / "root", folder / "disk"
    words = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--skip=check/signed-by"]
    start = time.perf_counter()
    try:
        include = f"--include={','.join(recipe.packages)}"
        run([*words, include, recipe.suite, root, sources], timeout=1800)
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, disk, "2G"], timeout=600)
        return time.perf_counter() - start
    finally:
        shutil.rmtree(folder)
