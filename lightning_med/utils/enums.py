"""Members of enumerations in settings."""

from __future__ import annotations

from enum import Enum
from typing import Any

from jsonargparse import Namespace


def replace_enums(settings: Any) -> Any:
    """Replaces members of enumerations by their values, which YAML can hold, in place.

    Args:
        settings: Lists, mappings and namespaces within each other.

    Returns:
        The settings.
    """
    if isinstance(settings, list):
        settings[:] = [replace_enums(value) for value in settings]
    elif isinstance(settings, (dict, Namespace)):
        for name in list(vars(settings) if isinstance(settings, Namespace) else settings):
            settings[name] = replace_enums(settings[name])
    return settings.value if isinstance(settings, Enum) else settings
