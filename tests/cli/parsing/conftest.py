"""The parser of the verbs, made once."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_med.cli import trainer_command
from lightning_med.cli.parsing.parser import SettingsParser


class _Made(Exception):
    """Carries the parser."""


@pytest.fixture(scope="session")
def parser() -> SettingsParser:
    """The whole parser, of all verbs."""

    def stop(self: SettingsParser, *args: Any, **kwargs: Any) -> None:
        raise _Made(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SettingsParser, "parse_args", stop)
        with pytest.raises(_Made) as made:
            trainer_command.main(["fit"])
    parser = made.value.args[0]
    assert isinstance(parser, SettingsParser)
    return parser
