"""The advice of each region."""

from __future__ import annotations

import pytest

from lightning_med.safety import triage
from lightning_med.safety.messages import advice


@pytest.mark.parametrize(
    ("region", "numbers"),
    [("US", ("911",)), ("GB", ("999",)), ("AU", ("000",)), ("FR", ("112",)), ("XX", ("112", "911", "999", "000"))],
)
def test_advice_names_the_regions_numbers(region: str, numbers: tuple[str, ...]) -> None:
    shown = triage("he collapsed and is not breathing", region).advice
    assert all(number in shown for number in numbers)


def test_the_region_is_the_settings_then_the_locales(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", advice.REGION_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    assert advice.resolve_region() == "GB"
    monkeypatch.setenv(advice.REGION_VARIABLE, "us")
    assert advice.resolve_region() == "US"
    assert advice.resolve_region("uk") == "GB"
    monkeypatch.delenv(advice.REGION_VARIABLE)
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert advice.resolve_region() == advice.UNKNOWN_REGION
