"""The parser of the verbs, made once."""

from __future__ import annotations

import pytest

from lightning_med.cli.parsing.parser import SettingsParser
from lightning_med.cli.trainer_command import make_settings_parser


@pytest.fixture(scope="session")
def parser() -> SettingsParser:
    """The whole parser, of all verbs."""
    parser = make_settings_parser()
    assert isinstance(parser, SettingsParser)
    return parser
