"""All that a process needs to make workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.process.birth import ServerView
from gunicorn.process.listeners import adopt, close_listeners

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gunicorn.process.listeners import Listener
    from gunicorn.process.slots import Slots

__all__ = ["Workshop"]


class Workshop:
    """What every worker of a generation is made of.

    Attributes:
        app: The application object of ``gunicorn.app``.
        arbiter: Its process id.
        arbiter_pidfd: Where there are pidfds: tells a retired mold whether the arbiter still lives.
    """

    def __init__(
        self,
        app: Any,
        cfg: Any,
        log: Any,
        listeners: list[Listener],
        slots: Slots,
        arbiter: int,
        arbiter_pidfd: int | None = None,
    ) -> None:
        self.app = app
        self.cfg = cfg
        self.log = log
        self.listeners = listeners
        self.slots = slots
        self.arbiter = arbiter
        self.arbiter_pidfd = arbiter_pidfd

    def hold(self, fds: Sequence[int]) -> None:
        """Take the listeners behind ``fds``, and close those held so far."""
        close_listeners(self.listeners, unlink=False)
        self.listeners = [adopt(fd, self.cfg.is_ssl) for fd in fds]

    def reload(self) -> None:
        """Read the configuration again, and set up logging as it says."""
        self.app.do_load_config()
        self.cfg = self.app.cfg
        self.log = self.cfg.logger_class(self.cfg)

    def view(self) -> ServerView:
        """The ``server`` of hooks."""
        return ServerView(self.cfg, self.log, self.arbiter, self.cfg.address, self.app)
