"""``python -m gunicorn.control.cli`` is ``gunicornc``."""

from __future__ import annotations

import sys

from gunicorn.control.cli import main

sys.exit(main())
