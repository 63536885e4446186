"""Help while developing: reloading, tracing, looking at the configuration."""

from __future__ import annotations

from gunicorn.config.kinds import Section
from gunicorn.config.validators import validate_list_of_existing_files

__all__ = ["SETTINGS"]

_here = Section("Debugging")

SETTINGS = (
    _here.switch(
        "reload",
        "--reload",
        False,
        """
        Replace the workers when a Python file of the application changes. For development; it does nothing
        useful together with `preload_app`.
        """,
    ),
    _here.choice(
        "reload_engine",
        "--reload-engine",
        "auto poll inotify",
        "auto",
        """
        How `reload` notices changes: `inotify` asks the kernel (Linux, needs the inotify package), `poll`
        looks at the files each second, `auto` takes inotify where it can.
        """,
    ),
    _here.listing(
        "reload_extra_files",
        "--reload-extra-file",
        [],
        """
        More files for `reload` to watch, such as templates: paths, or glob patterns (`**` crosses
        directories). A path must exist; a pattern may match nothing yet. Can be given several times.
        """,
        meta="FILES",
        type=None,
        validator=validate_list_of_existing_files,
    ),
    _here.switch("spew", "--spew", False, "Print every line of Python that runs. Very slow."),
    _here.switch(
        "check_config",
        "--check-config",
        False,
        """
        Load the configuration and the application, then exit: 0 when all is well, 1 with the reason when
        not.
        """,
    ),
    _here.switch(
        "print_config",
        "--print-config",
        False,
        "Print every setting with its final value, then do what `check_config` does.",
    ),
)
