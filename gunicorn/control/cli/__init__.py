"""``gunicornc``: look at a running server, and steer it.

Exit status: 0 done; 1 not done (no server, refused, wrong command); 2 wrong options; 3 begun, but not
finished while we waited; 130 interrupted.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.control.cli.options import Options, parse_options
from gunicorn.control.cli.render import render
from gunicorn.control.cli.words import exit_status, patience
from gunicorn.control.client import ControlClient, ControlClientError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    options = parse_options(sys.argv[1:] if argv is None else argv)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `gunicornc ... | head`. What is still buffered would raise again at exit.
        sys.stdout = None
        return 0
    except ControlClientError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _run(options: Options) -> int:
    client = ControlClient(options.socket)
    try:
        if options.words[:1] == ["top"]:
            from gunicorn.control.cli.top import run

            return run(client, options.words[1:])
        if options.words:
            return run_command(client, options)
        from gunicorn.control.cli.interactive import Session

        return Session(client).run()
    finally:
        client.close()


def run_command(client: ControlClient, options: Options) -> int:
    """One command; prints its answer."""
    client.timeout = patience(options.words)
    data = client.send_command(options.words[0], options.words[1:])
    print(as_json(data) if options.json else render(options.words, data, _width(), sys.stdout.isatty()))
    return exit_status(options.words, data)


def as_json(data: dict[str, Any]) -> str:
    """For programs."""
    return json.dumps(data, indent=2)


def _width() -> int | None:
    """Columns to fit into; None when nobody looks at it."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
