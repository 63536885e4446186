"""``reload``: notices that the source of the running application changed.

One thread, which the worker stops and joins. It looks at modification times once per second: that works on
every file system, network and overlay ones included, where inotify sees nothing. A package that pushes
events can be added beside it.
"""

from __future__ import annotations

import glob
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Reloader", "start"]

_INTERVAL = 1.0


class Reloader:
    """Calls ``changed(filename)`` once, in its own thread, and ends.

    Args:
        changed: Told the first file that is not as it was.
        extra_files: Paths and globs to watch beside the modules' files; relative ones count from the
        directory of now. interval: Seconds between two looks.
    """

    def __init__(
        self, changed: Callable[[str], None], extra_files: list[str], interval: float = _INTERVAL
    ) -> None:
        self._changed = changed
        self._patterns = [os.path.abspath(pattern) for pattern in extra_files]
        self._interval = interval
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
        while not self._stopped.wait(self._interval):
            filename = self._look()
            if filename is not None:
                self._changed(filename)
                return

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
    """
    extra = list(cfg.reload_extra_files)
    if failed is not None and failed.filename:
        extra.append(glob.escape(failed.filename))
    reloader = Reloader(changed, extra)
    reloader.start()
    return reloader
