"""What all tests share."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is seen as what is expected")


def pytest_configure() -> None:
    """The tests read English, wherever they run; those about French say so."""
    os.environ["LABCTL_LANG"] = "en"


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether expected texts are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden"))
