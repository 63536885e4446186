"""How many workers, of which kind, and how long they may take."""

from __future__ import annotations

from gunicorn.config.callables import validate_class
from gunicorn.config.importing import REMOVED_WORKERS, WORKER_ALIASES
from gunicorn.config.kinds import Section

__all__ = ["SETTINGS"]

_here = Section("Worker Processes")


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _size(value: object) -> int:
    """Bytes, from a number or from text such as ``512M``."""
    text = str(value).strip().upper().removesuffix("B").removesuffix("I")
    digits = text.rstrip("KMG").rstrip()
    unit = _UNITS.get(text[len(digits) :].strip())
    if isinstance(value, bool) or unit is None or not (digits.isascii() and digits.isdigit()):
        raise ValueError("expected bytes as an integer >= 0, or with a unit: 512M, 2G")
    return int(digits) * unit


def _worker_class(value: object) -> object:
    found = validate_class(value)
    if found in REMOVED_WORKERS:
        raise ValueError(REMOVED_WORKERS[str(found)])
    return found


SETTINGS = (
    _here.number(
        "workers",
        "-w --workers",
        1,
        """
        The number of worker processes. Start from two for each CPU core and measure. Where the environment
        has `WEB_CONCURRENCY`, that is the default. TTIN and TTOU change the number while the server runs.
        """,
        default_text="1, or $WEB_CONCURRENCY",
        environ="WEB_CONCURRENCY",
    ),
    _here.text(
        "worker_class",
        "-k --worker-class",
        "sync",
        """
        The kind of worker: `sync` (one request at a time per process), `gthread` (a pool of threads per
        process) or `asgi` (an event loop per process, for ASGI applications). Also an import path or a
        class of your own, and `egg:DISTRIBUTION#NAME` or the bare name of an entry point in the group
        `gunicorn.workers`. `sync` with more than one thread means `gthread`.
        """,
        validator=_worker_class,
        choices=tuple(WORKER_ALIASES),
        later=("gevent", "gevent_pywsgi", "gevent_wsgi", "tornado"),
    ),
    _here.number(
        "threads",
        "--threads",
        1,
        """
        Threads that serve requests in each worker. More than one turns the `sync` worker into `gthread`.
        Idle connections and slow clients occupy no thread.
        """,
    ),
    _here.number(
        "worker_connections",
        "--worker-connections",
        1000,
        """
        How many connections one worker keeps open at a time, idle ones included. Others wait in the
        backlog.
        """,
    ),
    _here.number(
        "max_requests",
        "--max-requests",
        0,
        """
        Replace a worker after this many requests; 0 never does. It bounds the harm of a slow memory leak.
        The replacement serves before the old worker leaves.
        """,
    ),
    _here.number(
        "max_requests_jitter",
        "--max-requests-jitter",
        0,
        """
        Adds a random number from 0 to this to each worker's `max_requests`, so that workers do not leave
        together.
        """,
    ),
    _here.span(
        "max_worker_lifetime",
        "--max-worker-lifetime",
        0,
        """
        Replace a worker that has served for this many seconds; 0 never does. The replacement serves before
        the old worker leaves, and workers leave one at a time.
        """,
        since="28.0",
    ),
    _here.span(
        "max_worker_lifetime_jitter",
        "--max-worker-lifetime-jitter",
        0,
        """
        Adds a random number of seconds from 0 to this to each worker's `max_worker_lifetime`, so that
        workers that started together are not due together.
        """,
        since="28.0",
    ),
    _here.row(
        "max_worker_memory",
        "--max-worker-memory",
        0,
        """
        Replace a worker that uses more private memory than this, in bytes or with a unit (`512M`, `2G`); 0
        never does. Private memory is what the machine gets back when the worker ends, so what workers share
        through `preload_app` does not count. Every worker is looked at each five seconds, and the
        replacement serves before the old worker leaves. A limit that a fresh worker is already over cannot
        be kept: the log says so, and that worker stays.
        """,
        validator=_size,
        meta="SIZE",
        since="28.0",
    ),
    _here.number(
        "timeout",
        "-t --timeout",
        30,
        """
        Seconds that a worker may be silent before it is killed and replaced; 0 waits for ever. A `sync`
        worker is silent while it serves a request, so there this bounds the request as well.
        """,
    ),
    _here.number(
        "graceful_timeout",
        "--graceful-timeout",
        30,
        """
        Seconds that a worker gets to finish its requests when the server stops or replaces it. What is left
        then is killed.
        """,
    ),
    _here.number(
        "keepalive",
        "--keep-alive",
        2,
        """
        Seconds that a connection may stay open between requests; 0 closes after each answer. Behind a load
        balancer use more than its own idle time.
        """,
    ),
    _here.span(
        "boot_timeout",
        "--boot-timeout",
        0,
        """
        Seconds from the start of a worker process until it must be ready to serve; 0 means the same as
        `timeout`. Raise it for applications that load much at import, without making `timeout` lax.
        """,
        since="28.0",
    ),
    _here.span(
        "lifespan_timeout",
        "--lifespan-timeout",
        0,
        """
        Seconds that the lifespan startup of an ASGI application may take, counted from the moment at which
        the application is loaded, whatever is left of `boot_timeout`; 0 leaves it that rest.
        """,
        since="28.0",
    ),
    _here.span(
        "drain_delay",
        "--drain-delay",
        0,
        """
        Seconds that the server goes on serving as before after it was told to stop by TERM, for a load
        balancer that needs a moment to notice that it should send no more. `graceful_timeout` begins
        afterwards. A second TERM, INT and QUIT do not wait.
        """,
        since="28.0",
    ),
    _here.span(
        "header_timeout",
        "--header-timeout",
        15,
        """
        Seconds for a whole request head to arrive, from its first byte; 0 is no limit. A later one
        is answered with 408.
        """,
        since="28.0",
    ),
    _here.span(
        "body_timeout",
        "--body-timeout",
        60,
        """
        Seconds that the application may wait for the next bytes of a request body; 0 is no limit. It limits
        each wait, not the whole upload.
        """,
        since="28.0",
    ),
    _here.span(
        "write_timeout",
        "--write-timeout",
        60,
        """
        Seconds that a client may take none of the bytes of an answer before its connection is closed; 0 is
        no limit. It limits each wait, not the whole download.
        """,
        since="28.0",
    ),
    _here.span(
        "request_timeout",
        "--request-timeout",
        0,
        """
        Seconds that a request may take, from its head to the end of its answer; 0 is no limit. A later one
        is answered with 504, or cut off when its answer has begun, and the other requests go on. The `asgi`
        worker cancels the application's task, `sync` and `gthread` cannot end the application's work: what
        is still stuck `graceful_timeout` later has its worker replaced. WebSockets have no such limit.
        """,
        since="28.0",
    ),
    _here.number(
        "reload_surge",
        "--reload-surge",
        1,
        """
        How many workers beyond `workers` a reload may run for a time. More makes a reload quicker and needs
        more memory.
        """,
        since="28.0",
    ),
    _here.number(
        "reload_unavailable",
        "--reload-unavailable",
        0,
        """
        How many workers fewer than `workers` may be ready during a reload. 0 keeps full strength
        throughout.
        """,
        since="28.0",
    ),
    _here.switch(
        "upgrade_in_place",
        "--upgrade-in-place",
        False,
        """
        What USR2 does: instead of a second server beside this one, this process becomes the new version
        of Gunicorn and of Python that is installed now. Its process id, sockets and workers stay, and the
        workers are then replaced as in a reload, so that a service manager follows. Linux only.
        """,
        since="28.0",
    ),
    _here.choice(
        "http_parser",
        "--http-parser",
        "auto fast python",
        "auto",
        """
        What splits HTTP/1 heads into lines: `fast` is httptools (C), `python` is h11, `auto` takes the
        faster one that is installed. What is accepted and refused is decided elsewhere and does not depend
        on this.
        """,
        since="25.2",
    ),
    _here.choice(
        "asgi_loop",
        "--asgi-loop",
        "auto asyncio uvloop trio",
        "auto",
        """
        The event loop that ASGI applications run on; `auto` is uvloop where it is installed, else asyncio.
        """,
        since="24.0",
    ),
    _here.choice(
        "asgi_lifespan",
        "--asgi-lifespan",
        "auto on off",
        "auto",
        """
        Whether ASGI applications get lifespan events: `on` makes a failure fatal, `auto` goes on without
        when the application does not know them, `off` sends none.
        """,
        since="24.0",
    ),
    _here.number(
        "asgi_disconnect_grace_period",
        "--asgi-disconnect-grace-period",
        3,
        """
        Seconds that an ASGI application may go on after its client has left, before it is cancelled; 0
        cancels at once.
        """,
        since="25.0",
    ),
    _here.number(
        "websocket_max_message_size",
        "--websocket-max-message-size",
        16777216,
        """
        The largest WebSocket message to accept, in bytes; 0 is no limit. A larger one closes the connection
        with code 1009.
        """,
        since="26.3",
    ),
    _here.choice(
        "websocket_compression",
        "--websocket-compression",
        "on off",
        "on",
        """
        Whether WebSocket messages are compressed (permessage-deflate) for clients that offer it. It costs
        about 50 kB and some processor time for each connection.
        """,
        also={True: "on", False: "off"},
        since="28.0",
    ),
    _here.span(
        "websocket_ping_interval",
        "--websocket-ping-interval",
        20,
        """
        Seconds between two pings to a WebSocket client, which keep the connection open in proxies and find
        clients that are gone; 0 sends none.
        """,
        since="28.0",
    ),
    _here.span(
        "websocket_ping_timeout",
        "--websocket-ping-timeout",
        20,
        """
        Seconds after a ping in which something must arrive from the client; then the connection is closed
        with code 1011. 0 waits for ever.
        """,
        since="28.0",
    ),
)
