"""What stands between the command and the first answer: as few imports as possible."""

from __future__ import annotations

import json

from harness import UNMEASURED

HEAVY = {"attr", "attrs", "inspect", "trio", "asyncio", "ssl", "email", "http.client", "concurrent.futures"}


def test_a_worker_has_imported_nothing_heavy(serve, workers, tmp_path):
    """The application sees what is there before its own imports."""
    (tmp_path / "bare.py").write_text(
        "import sys\nBEFORE = sorted(sys.modules)\n"
        "def app(environ, start_response):\n"
        "    import json\n"
        "    start_response('200 OK', [])\n"
        "    return [json.dumps(BEFORE).encode()]\n"
    )
    server = serve(*workers, app="bare:app", cwd=tmp_path, env=UNMEASURED)
    loaded = set(json.loads(server.get()))
    # An installation for development brings a finder with imports of its own; none of these is among them.
    assert loaded & HEAVY == set()
