"""What the server does as a process: directory, identity, environment, pidfile."""

from __future__ import annotations

import os

from gunicorn.config import directory
from gunicorn.config.kinds import Section
from gunicorn.config.validators import validate_chdir, validate_group, validate_user

__all__ = ["SETTINGS"]

_here = Section("Server Mechanics")


def _sendfile(text: str) -> bool:
    return text.strip().lower() in ("y", "1", "yes", "true")


SETTINGS = (
    _here.switch(
        "preload_app",
        "--preload",
        False,
        """
        Import the application once, before the workers are forked from it. They start at once and share
        memory. A reload (HUP) imports it again in a fresh process.
        """,
    ),
    _here.switch(
        "sendfile",
        "--no-sendfile",
        None,
        """
        Whether the kernel copies files to the client (`os.sendfile`) when an application uses
        `wsgi.file_wrapper`. On unless set to `False`, by the flag `--no-sendfile`, or by an environment
        variable `SENDFILE` that holds anything but `y`, `1`, `yes` or `true`. Switch it off for file
        systems where it misbehaves.
        """,
        action="store_const",
        const=False,
        environ="SENDFILE",
        from_environ=_sendfile,
        default_text="on, or $SENDFILE",
    ),
    _here.switch(
        "reuse_port",
        "--reuse-port",
        False,
        """
        Sets `SO_REUSEPORT` on the sockets, so that several servers can listen on the same port and the kernel
        spreads connections over them. The workers of one server share its socket all the same: one of their
        own each would lose the connections that wait on it whenever a worker leaves.
        """,
    ),
    _here.text(
        "chdir",
        "--chdir",
        None,
        "The directory to change to before the application is loaded. It is put first on `sys.path`.",
        meta=None,
        validator=validate_chdir,
        default_factory=directory.start,
        default_text="the current directory",
    ),
    _here.switch("daemon", "-D --daemon", False, "Detach from the terminal and run in the background."),
    _here.listing(
        "raw_env",
        "-e --env",
        [],
        """
        A variable `KEY=VALUE` for the environment of the application. Can be given several times, or as a
        list.
        """,
        meta="ENV",
        type=None,
    ),
    _here.text("pidfile", "-p --pid", None, "A file to write the process id of the arbiter to.", meta="FILE"),
    _here.text(
        "worker_tmp_dir",
        "--worker-tmp-dir",
        None,
        """
        Accepted for compatibility: it was the directory of the workers' heartbeat files. Heartbeats are in
        shared memory now, so slow disks and read-only file systems do not matter.
        """,
        meta="DIR",
    ),
    _here.row(
        "user",
        "-u --user",
        None,
        "The user, by name or number, that the workers run as. Needs a start as root.",
        meta="USER",
        validator=validate_user,
        default_factory=os.geteuid,
        default_text="the user that started the server",
    ),
    _here.row(
        "group",
        "-g --group",
        None,
        "The group, by name or number, that the workers run as. Needs a start as root.",
        meta="GROUP",
        validator=validate_group,
        default_factory=os.getegid,
        default_text="the group that started the server",
    ),
    _here.mode(
        "umask",
        "-m --umask",
        0,
        """
        The mode bits to take away from files that the server creates, unix sockets included: `0o077` keeps
        all others out. On the command line a leading zero means octal. While it is not set,
        unix sockets are for the user and the group only (mode 0660).
        """,
    ),
    _here.switch(
        "initgroups",
        "--initgroups",
        False,
        "Also give the workers all further groups of `user`.",
    ),
    _here.text(
        "tmp_upload_dir",
        "",
        None,
        "Accepted for compatibility, without effect: request bodies are streamed, never stored.",
        meta="DIR",
    ),
    _here.text(
        "pythonpath",
        "--pythonpath",
        None,
        "Directories, with commas between them, to put on `sys.path` before the application is imported.",
    ),
    _here.text(
        "paste",
        "--paste --paster",
        None,
        "Load the application from a PasteDeploy file: `FILE`, or `FILE#SECTION`.",
    ),
    _here.listing(
        "raw_paste_global_conf",
        "--paste-global",
        [],
        r"""
        A variable `KEY=VALUE` for the PasteDeploy file. Can be given several times. `\=` is an equals sign
        in the key.
        """,
        meta="CONF",
        type=None,
    ),
    _here.choice(
        "protocol",
        "--protocol",
        "http uwsgi",
        "http",
        "What the listeners speak: `http`, or `uwsgi`, the binary protocol of a reverse proxy such as nginx.",
        since="24.0",
        later=("uwsgi",),
    ),
    _here.text(
        "root_path",
        "--root-path",
        "",
        "The path under which a proxy serves an ASGI application (`root_path` of its scope).",
        since="24.0",
    ),
)
