"""Gunicorn: a WSGI HTTP server for UNIX, on structured concurrency."""

version_info = (28, 0, 0, "a1")
__version__ = "28.0.0a1"
SERVER = "gunicorn"
SERVER_SOFTWARE = f"{SERVER}/{__version__}"
