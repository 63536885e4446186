"""Server hooks: functions in the configuration file that are called as things happen.

The function in each row is the default behaviour, and its parameters are what a hook is called with.
"""

from __future__ import annotations

from typing import Any

from gunicorn.config.callables import validate_post_request
from gunicorn.config.kinds import Section

__all__ = ["SETTINGS"]

_here = Section("Server Hooks")


def on_starting(server: Any) -> None: ...
def on_reload(server: Any) -> None: ...
def when_ready(server: Any) -> None: ...
def pre_fork(server: Any, worker: Any) -> None: ...
def post_fork(server: Any, worker: Any) -> None: ...
def post_worker_init(worker: Any) -> None: ...
def worker_int(worker: Any) -> None: ...
def worker_abort(worker: Any) -> None: ...
def pre_exec(server: Any) -> None: ...


def pre_request(worker: Any, req: Any) -> None:
    worker.log.debug("%s %s", req.method, req.path)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None: ...
def child_exit(server: Any, worker: Any) -> None: ...
def worker_exit(server: Any, worker: Any) -> None: ...
def nworkers_changed(server: Any, new_value: Any, old_value: Any) -> None: ...
def on_exit(server: Any) -> None: ...


def ssl_context(config: Any, default_ssl_context_factory: Any) -> Any:
    return default_ssl_context_factory()


SETTINGS = (
    _here.hook(on_starting, "Called in the arbiter before it sets itself up."),
    _here.hook(on_reload, "Called in the arbiter on HUP, after the configuration was read again."),
    _here.hook(when_ready, "Called in the arbiter once it listens, before the first worker is started."),
    _here.hook(pre_fork, "Called in the process that forks, before each worker is forked."),
    _here.hook(
        post_fork, "Called in each worker right after it was forked. Reconnect here what must not be shared."
    ),
    _here.hook(post_worker_init, "Called in each worker once it has loaded the application."),
    _here.hook(worker_int, "Called in a worker that gets INT or QUIT, or leaves because code changed."),
    _here.hook(worker_abort, "Called in a worker that gets ABRT, which is how a silent worker is ended."),
    _here.hook(pre_exec, "Called in the new process of an upgrade (USR2) before it becomes the new server."),
    _here.hook(
        pre_request,
        "Called in the worker before each request. An exception in it fails the request.",
        default_text="logs method and path at level debug",
    ),
    _here.hook(
        post_request,
        """
        Called in the worker after each request, failed ones included. May take `worker, req`, or also
        `environ`, or also `resp`.
        """,
        validator=validate_post_request,
    ),
    _here.hook(child_exit, "Called in the arbiter after a worker has ended."),
    _here.hook(worker_exit, "Called in a worker as the last thing before it ends."),
    _here.hook(
        nworkers_changed,
        """
        Called in the arbiter when the number of workers to keep has changed. The old number is `None` the
        first time.
        """,
    ),
    _here.hook(on_exit, "Called in the arbiter before it exits.", type=None),
    _here.hook(
        ssl_context,
        """
        Called to make the `ssl.SSLContext` of the listeners. The second argument makes the one that the
        settings describe: take that and change it, or return one of your own.
        """,
        default_text="takes the context that the settings describe",
    ),
)
