"""The public face of the master process."""

from __future__ import annotations

import sys

from gunicorn.arbiter.master import Master, WorkerView
from gunicorn.errors import ConfigError, HaltServer

__all__ = ["Arbiter", "WorkerView"]


class Arbiter(Master):
    """The master process, as ``gunicorn.arbiter.Arbiter(app).run()`` starts it."""

    def run(self) -> None:
        """Serve until the end, then leave the process with the server's exit status."""
        from gunicorn.arbiter import startup

        try:
            status = startup.serve(self)
        except HaltServer as halt:
            status = halt.exit_status
        except ConfigError as error:
            self._complain(str(error))
            status = error.exit_code
        sys.exit(status)

    def _complain(self, line: str) -> None:
        if self.log is not None:
            self.log.error(line)
        else:
            print(f"gunicorn: error: {line}", file=sys.stderr)
