"""What holds for all tests."""

from __future__ import annotations

import hypothesis

# How long one example takes says nothing on a busy machine; each test has its bound in pytest's own options.
hypothesis.settings.register_profile("gunicorn", deadline=None)
hypothesis.settings.load_profile("gunicorn")
