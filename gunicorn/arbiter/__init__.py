"""The master process: supervision of the workers.

Importing this package does not import trio: the fork server has to be forked before that.
"""

from __future__ import annotations

from gunicorn.arbiter.server import Arbiter

__all__ = ["Arbiter"]
