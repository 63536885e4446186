"""Server-sent events that end by themselves when the worker is about to stop: ``gunicorn -k asgi
asgi_events:app``.
"""

import asyncio
import time


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    draining = scope["state"]["gunicorn.draining"]
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while not draining.is_set():
        event = f"data: {time.time():.0f}\n\n".encode()
        await send({"type": "http.response.body", "body": event, "more_body": True})
        try:
            await asyncio.wait_for(draining.wait(), timeout=1)
        except asyncio.TimeoutError:
            continue
    # The browser's EventSource connects again, to a worker that stays.
    await send({"type": "http.response.body", "body": b"retry: 100\n\n"})
