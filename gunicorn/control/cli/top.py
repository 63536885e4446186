"""``gunicornc top``: the live view."""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gunicorn.control.cli.trend import Trend
from gunicorn.control.client import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from gunicorn.control.client import ControlClient

__all__ = ["run"]

_INTERVAL = 1.0
_SHORTEST, _LONGEST = 0.1, 3600.0
_LEAVE = b"qQ\x1b\x03\x04"


def run(client: ControlClient, args: Sequence[str]) -> int:
    """Draw until ``q``; once only when the output is no terminal. The exit status.

    Raises:
        CommandError: rich is not installed, the interval is no time, or the server knows no such view.
        ControlClientError: there is no server, or no longer.
    """
    interval = _interval(args)
    try:
        from rich.console import Console
        from rich.live import Live

        from gunicorn.control.cli.dashboard import picture
    except ImportError as error:
        raise CommandError("top needs rich: python -m pip install 'gunicorn[top]'") from error

    console, trend = Console(), Trend()

    def frame() -> RenderableType:
        load = client.send_command("show load")
        return picture(load, trend.look(time.monotonic(), load), trend, console.width, console.height)

    try:
        first = frame()
    except CommandError as error:
        raise CommandError(f"this server has no live view ({error})") from error
    if not console.is_terminal or not sys.stdin.isatty():
        console.print(first)
        return 0
    with _keys(), Live(first, console=console, screen=True, auto_refresh=False) as live:
        while not _leaves(interval):
            live.update(frame(), refresh=True)
    return 0


def _interval(args: Sequence[str]) -> float:
    """The seconds between two frames.

    Raises:
        CommandError: not a time.
    """
    if not args:
        return _INTERVAL
    try:
        seconds = float(args[0])
    except ValueError:
        seconds = 0.0
    if len(args) > 1 or not _SHORTEST <= seconds <= _LONGEST:
        raise CommandError(f"top takes the seconds between two frames, at least {_SHORTEST}")
    return seconds


@contextmanager
def _keys() -> Iterator[None]:
    """Have each key at once, and not on the screen; Ctrl-C stays what it is."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _leaves(seconds: float) -> bool:
    """Wait for the time of the next frame, or for a key; whether it is the one to leave.

    A window that changes its size interrupts nothing here: the next frame has the new size.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([sys.stdin], [], [], left)[0]:
            return False
        key = os.read(sys.stdin.fileno(), 64)
        # End of file, or one of the keys; an arrow begins with the same byte as Escape, but has more.
        if not key or (len(key) == 1 and key in _LEAVE):
            return True
    return False
