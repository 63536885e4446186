"""How long to wait before the next try when workers keep dying."""

from __future__ import annotations

import attrs

__all__ = ["BACKOFF_FIRST", "BACKOFF_LIMIT", "HEALTHY_AFTER", "Backoff"]

#: A worker that stayed ready this long (seconds) proves that the crash loop is over.
HEALTHY_AFTER = 1.0
#: The first retry waits this long (seconds), each further one twice as long as the one before…
BACKOFF_FIRST = 0.5
#: …up to this. A minute would make a repaired database look broken for a minute.
BACKOFF_LIMIT = 30.0


@attrs.define
class Backoff:
    """When the next spawn is allowed. Strikes are failures without a healthy worker between them."""

    strikes: int = 0
    not_before: float = 0.0
    last_failure: float = float("-inf")

    def strike(self, now: float, *, was_ready: bool) -> bool:
        """Count a failure; whether there is a wait now that was not there before.

        The first death of a worker that did serve is replaced at once; a boot that failed never is. Workers
        that die together, while the next try is being waited for, die of one cause and count once.
        """
        self.last_failure = now
        if now < self.not_before:
            return False
        self.strikes += 1
        doublings = self.strikes - (2 if was_ready else 1)
        if doublings < 0:
            return False
        self.not_before = now + min(BACKOFF_FIRST * 2.0 ** min(doublings, 16), BACKOFF_LIMIT)
        return True

    def proven(self, ready_at: float, now: float) -> bool:
        """Whether a worker that is ready since ``ready_at`` shows that the failures are over."""
        return ready_at > self.last_failure and now - ready_at >= HEALTHY_AFTER

    def reset(self) -> None:
        """Forget every failure."""
        self.strikes, self.not_before, self.last_failure = 0, 0.0, float("-inf")
