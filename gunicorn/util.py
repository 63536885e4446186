"""Names that other projects import from here."""

from __future__ import annotations

from gunicorn.config.importing import import_app, load_class

__all__ = ["import_app", "load_class"]
