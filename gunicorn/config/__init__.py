"""Configuration: the table of settings, the merged values, and what turns text into objects.

Importing this package is cheap on purpose; it imports no worker, no ``ssl``, no ``argparse``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.config import sections
from gunicorn.config.callables import validate_callable, validate_class, validate_post_request
from gunicorn.config.config import Config
from gunicorn.config.importing import import_app, load_class
from gunicorn.config.networks import validate_hostport, validate_ip_list, validate_statsd_address
from gunicorn.config.setting import KNOWN_SETTINGS, SETTINGS, Setting, make_settings
from gunicorn.config.sources import Source
from gunicorn.config.validators import (
    auto_int,
    validate_bool,
    validate_chdir,
    validate_dict,
    validate_file_exists,
    validate_group,
    validate_list_of_existing_files,
    validate_list_string,
    validate_pos_int,
    validate_string,
    validate_string_to_list,
    validate_user,
)

__all__ = [
    "KNOWN_SETTINGS",
    "SETTINGS",
    "Config",
    "Setting",
    "Source",
    "auto_int",
    "import_app",
    "load_class",
    "make_settings",
    "sections",
    "validate_bool",
    "validate_callable",
    "validate_chdir",
    "validate_class",
    "validate_dict",
    "validate_file_exists",
    "validate_group",
    "validate_hostport",
    "validate_ip_list",
    "validate_list_of_existing_files",
    "validate_list_string",
    "validate_pos_int",
    "validate_post_request",
    "validate_statsd_address",
    "validate_string",
    "validate_string_to_list",
    "validate_user",
]

if not TYPE_CHECKING:  # a type checker should still report names that do not exist

    def __getattr__(name: str) -> Setting:
        """A setting by a class's name: aiohttp's worker reads ``AccessLogFormat.default``."""
        for setting in KNOWN_SETTINGS:
            if setting.name.replace("_", "") == name.lower() and name[:1].isupper():
                return setting
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
