import pytest


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences are compared in the language of their message ids."""
    monkeypatch.setenv("LABCTL_LANG", "en")
