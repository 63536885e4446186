"""``reload``: notices that the source of the running application changed.

One thread, which the worker stops and joins. It looks at modification times: once per second, which works on
every file system, network and overlay ones included; or, where the ``inotify`` package is installed, when the
kernel says that something happened in one of the folders. What happened there is not asked: logs and
databases lie beside the code, and only the watched files count.
"""

from __future__ import annotations

import glob
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["FolderEvents", "Reloader", "start"]

_INTERVAL = 1.0
#: How long the thread waits for an event before it looks whether it should end, seconds.
_EVENT_WAIT = 0.5


class Events(Protocol):
    """What tells that something happened near the watched files."""

    def watch(self, filenames: Iterable[str]) -> None: ...
    def wait(self) -> None: ...


class FolderEvents:
    """The kernel's, through the ``inotify`` package.

    Raises:
        ImportError: It is not installed. OSError: The kernel has no more of them to give.
    """

    def __init__(self) -> None:
        from inotify import adapters, constants

        self._inotify = adapters.Inotify(block_duration_s=_EVENT_WAIT)
        self._mask = (
            constants.IN_CLOSE_WRITE | constants.IN_MOVED_TO | constants.IN_CREATE | constants.IN_DELETE
        )
        self._folders: set[str] = set()

    def watch(self, filenames: Iterable[str]) -> None:
        """Watch the folders of these files; where one is a link, that of its target too."""
        places = {os.path.dirname(place) for name in filenames for place in (name, os.path.realpath(name))}
        for folder in places - self._folders:
            self._folders.add(folder)
            if os.path.isdir(folder):
                self._inotify.add_watch(folder, self._mask)

    def wait(self) -> None:
        """Return at the first event, or after half a second."""
        for _ in self._inotify.event_gen(timeout_s=0, yield_nones=False):
            return


class Reloader:
    """Calls ``changed(filename)`` once, in its own thread, and ends.

    Args:
        changed: Told the first file that is not as it was.
        extra_files: Paths and globs to watch beside the modules' files; relative ones count from the
            directory of now.
        interval: Seconds between two looks.
        events: Look when these say so, instead.
    """

    def __init__(
        self,
        changed: Callable[[str], None],
        extra_files: list[str],
        interval: float = _INTERVAL,
        events: Events | None = None,
    ) -> None:
        self._changed = changed
        self._patterns = [os.path.abspath(pattern) for pattern in extra_files]
        self._interval = interval
        self._events = events
        self._times: dict[str, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gunicorn-reloader", daemon=True)

    def start(self) -> None:
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for its end."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._wait():
            filename = self._look()
            if filename is not None:
                self._changed(filename)
                return

    def _wait(self) -> bool:
        """Wait for the time of the next look; whether it is the end."""
        if self._events is None:
            return self._stopped.wait(self._interval)
        self._events.watch(list(self._times))
        self._events.wait()
        return self._stopped.is_set()

    def _look(self) -> str | None:
        """The first file that changed since it was last seen; one that is seen for the first time did not."""
        for filename in self._files():
            try:
                modified = os.stat(filename).st_mtime
            except OSError:
                continue  # between deletion and creation, which is how many editors save
            if self._times.setdefault(filename, modified) != modified:
                return filename
        return None

    def _files(self) -> Iterator[str]:
        for module in list(sys.modules.values()):
            filename = getattr(module, "__file__", None)
            if isinstance(filename, str):
                yield filename[:-1] if filename.endswith((".pyc", ".pyo")) else filename
        for pattern in self._patterns:
            yield from glob.iglob(pattern, recursive=True)


def start(cfg: Any, changed: Callable[[str], None], failed: SyntaxError | None = None) -> Reloader:
    """A running reloader for the settings of ``cfg``.

    Args:
        failed: Why the application could not be loaded; its file is no module, and is what will be corrected.

    Raises:
        ConfigError: ``reload_engine`` is ``inotify``, which is not installed.
    """
    extra = list(cfg.reload_extra_files)
    if failed is not None and failed.filename:
        extra.append(glob.escape(failed.filename))
    reloader = Reloader(changed, extra, events=_events(cfg.reload_engine))
    reloader.start()
    return reloader


def _events(engine: str) -> Events | None:
    if engine == "poll":
        return None
    try:
        return FolderEvents()
    except (ImportError, OSError) as error:
        if engine == "inotify":
            raise ConfigError(f"reload_engine: inotify cannot be used: {error}") from error
        return None
