"""Logs and metrics."""

from __future__ import annotations

import sys

from gunicorn.config.callables import validate_class
from gunicorn.config.kinds import Section
from gunicorn.config.networks import validate_statsd_address

__all__ = ["SETTINGS"]

_here = Section("Logging")

SYSLOG_SOCKETS = {
    "darwin": "unix:///var/run/syslog",
    "freebsd": "unix:///var/run/log",
    "dragonfly": "unix:///var/run/log",
    "openbsd": "unix:///dev/log",
}


def _syslog_address(platform: str = sys.platform) -> str:
    """The platform's syslog socket, else UDP; platforms such as freebsd14 carry their version."""
    return SYSLOG_SOCKETS.get(platform.rstrip("0123456789"), "udp://localhost:514")


SETTINGS = (
    _here.text(
        "accesslog",
        "--access-logfile",
        None,
        """
        The file for the access log, one line per request; `-` is standard output. Without it there is none.
        """,
        meta="FILE",
    ),
    _here.switch(
        "disable_redirect_access_to_syslog",
        "--disable-redirect-access-to-syslog",
        False,
        "Keep the access log out of syslog.",
    ),
    _here.text(
        "access_log_format",
        "--access-logformat",
        '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        """
        The form of a line of the access log. Atoms, as `%(X)s`: `h` address, `l` a hyphen, `u` user, `t`
        date, `r` request line, `m` method, `U` path, `q` query, `H` protocol, `s` status, `B` bytes, `b`
        bytes or a hyphen, `f` referrer, `a` user agent, `T` `M` `D` `L` duration (seconds, milliseconds,
        microseconds, decimal seconds), `p` process id, `{NAME}i` request header, `{NAME}o` response header,
        `{NAME}e` variable of the environ.
        """,
    ),
    _here.text(
        "errorlog",
        "--error-logfile --log-file",
        "-",
        "The file for the error log; `-` is standard error.",
        meta="FILE",
    ),
    _here.text(
        "loglevel",
        "--log-level",
        "info",
        """
        The least severe level in the error log: `debug`, `info`, `warning`, `error` or `critical`. Others
        mean `info`.
        """,
        meta="LEVEL",
        choices=("debug", "info", "warning", "error", "critical"),
    ),
    _here.switch(
        "capture_output",
        "--capture-output",
        False,
        "Send what the application prints (standard output and error) to the file of the error log.",
    ),
    _here.text(
        "logger_class",
        "--logger-class",
        "gunicorn.glogging.Logger",
        "The class that logs: an import path or a class, usually a subclass of `gunicorn.glogging.Logger`.",
        validator=validate_class,
    ),
    _here.text(
        "logconfig",
        "--log-config",
        None,
        "A file for `logging.config.fileConfig`. It replaces the loggers that the other settings describe.",
        meta="FILE",
    ),
    _here.mapping(
        "logconfig_dict",
        {},
        """
        A dictionary for `logging.config.dictConfig`, laid over the built-in configuration. It wins over
        `logconfig_json`, which wins over `logconfig`.
        """,
    ),
    _here.text(
        "logconfig_json",
        "--log-config-json",
        None,
        "A JSON file with a dictionary for `logging.config.dictConfig`. It must exist.",
        meta="FILE",
    ),
    _here.text(
        "syslog_addr",
        "--log-syslog-to",
        None,
        """
        Where syslog listens: `udp://HOST:PORT`, `tcp://HOST:PORT`, or `unix://PATH`, with `#stream` or
        `#dgram` behind it to fix the kind of socket. The default is the platform's own socket on BSD and
        macOS, else `udp://localhost:514`.
        """,
        meta="SYSLOG_ADDR",
        default_factory=_syslog_address,
        default_text="udp://localhost:514, or the platform's socket",
    ),
    _here.switch("syslog", "--log-syslog", False, "Send the logs to syslog as well."),
    _here.text(
        "syslog_prefix",
        "--log-syslog-prefix",
        None,
        """
        The program name in syslog: `gunicorn.PREFIX.error` and `gunicorn.PREFIX.access`. Without it the
        process name is used.
        """,
        meta="SYSLOG_PREFIX",
    ),
    _here.text(
        "syslog_facility",
        "--log-syslog-facility",
        "user",
        "The syslog facility, by name, such as `daemon` or `local0`.",
        meta="SYSLOG_FACILITY",
    ),
    _here.switch(
        "enable_stdio_inheritance",
        "-R --enable-stdio-inheritance",
        False,
        "Keep standard output and error in daemon mode, unless they are terminals.",
    ),
    _here.row(
        "statsd_host",
        "--statsd-host",
        None,
        "Send metrics to a StatsD server: `HOST`, `HOST:PORT` (8125 unless given) or `unix://PATH`.",
        meta="STATSD_ADDR",
        validator=validate_statsd_address,
    ),
    _here.text(
        "dogstatsd_tags",
        "--dogstatsd-tags",
        "",
        "Tags for every metric, with commas, for servers that know Datadog's extension of StatsD.",
        meta="DOGSTATSD_TAGS",
    ),
    _here.text(
        "statsd_prefix",
        "--statsd-prefix",
        "",
        "What to put in front of the names of metrics; a dot is added.",
        meta="STATSD_PREFIX",
    ),
    _here.switch(
        "enable_backlog_metric",
        "--enable-backlog-metric",
        False,
        "Also measure how many connections wait to be accepted (Linux, TCP).",
        since="24.1",
    ),
)
