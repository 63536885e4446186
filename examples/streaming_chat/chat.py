"""Stands for a language model: it answers word by word."""

from __future__ import annotations

import asyncio

from gunicorn.dirty import DirtyApp

ANSWER = "You said {!r}. That is {} words, and here they come back one at a time."


class Chat(DirtyApp):
    workers = 1

    def init(self):
        self.served = 0

    async def reply(self, prompt):
        """Each word is sent when it is there. If the reader leaves, the generator is closed on the spot."""
        self.served += 1
        for word in ANSWER.format(prompt, len(prompt.split())).split():
            await asyncio.sleep(0.01)
            yield word
