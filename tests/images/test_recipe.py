import pytest

from labctl.errors import LabctlError
from labctl.images.recipe import RECIPES, find_recipe
from labctl.images.store import ImageSpec


def test_every_recipe_is_found_by_its_name() -> None:
    assert RECIPES
    for name, recipe in RECIPES.items():
        assert find_recipe(name) is recipe
        assert recipe.name == name
        assert recipe.minimum_memory > 0


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(LabctlError, match='"debain-12"') as caught:
        find_recipe("debain-12")
    assert caught.value.hint == "labctl image build debian-12"


def test_the_key_says_what_is_asked_and_nothing_else() -> None:
    plain = ImageSpec("debian-13")
    assert plain.key == ImageSpec("debian-13", ()).key
    assert ImageSpec("debian-13", ("nginx", "bind9")).key == ImageSpec("debian-13", ("bind9", "nginx", "bind9")).key
    keys = {plain.key, ImageSpec("debian-12").key, ImageSpec("debian-13", ("nginx",)).key}
    assert len(keys) == 3
