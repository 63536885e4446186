"""Classes for the pool: a model that takes long to load, and sessions that all processes share."""

from __future__ import annotations

import time
import uuid

from gunicorn.dirty import DirtyApp, stash


class Model(DirtyApp):
    """Stands for a large model: slow to load, so it is loaded once in each of two processes."""

    workers = 2

    def init(self):
        time.sleep(0.1)
        self.weights = [n / 1000 for n in range(1000)]
        self.predictions = 0

    def predict(self, numbers):
        self.predictions += 1
        return {
            "score": sum(w * n for w, n in zip(self.weights, numbers, strict=False)),
            "calls": self.predictions,
        }

    def train(self, epochs):
        """Yields progress while it works: the caller streams it."""
        loss = 1.0
        for epoch in range(1, epochs + 1):
            loss *= 0.8
            yield {"epoch": epoch, "loss": round(loss, 4)}

    def close(self):
        self.weights = []


class Sessions(DirtyApp):
    """State in the stash: whichever process takes the call, it sees the same."""

    def login(self, user):
        token = uuid.uuid4().hex
        stash.put("sessions", token, {"user": user}, ttl=3600)
        stash.incr("counters", "logins")
        return token

    def who(self, token):
        session = stash.get("sessions", token)
        return session and session["user"]
