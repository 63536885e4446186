"""An ASGI application without a framework: chat over server-sent events.

gunicorn -k asgi --dirty-app chat:Chat --dirty-workers 1 app:app
curl -N 'http://127.0.0.1:8000/chat?how+are+you'
"""

from __future__ import annotations

import json
from contextlib import aclosing
from urllib.parse import unquote_plus

from gunicorn.dirty import get_dirty_client_async

PAGE = b"""<!doctype html><title>Chat</title><input id=i autofocus><pre id=o></pre><script>
i.onchange = () => { o.textContent = ''; const s = new EventSource('/chat?' + encodeURIComponent(i.value));
s.onmessage = e => o.textContent += JSON.parse(e.data) + ' '; s.addEventListener('done', () => s.close()); }
</script>"""


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["path"] != "/chat":
        return await respond(send, b"text/html", PAGE)
    prompt = unquote_plus(scope["query_string"].decode())
    await start(send, b"text/event-stream")
    client = await get_dirty_client_async()
    async with aclosing(client.stream_async("chat:Chat", "reply", prompt)) as words:
        async for word in words:
            await more(send, f"data: {json.dumps(word)}\n\n".encode())
    await more(send, b"event: done\ndata: {}\n\n")
    await send({"type": "http.response.body", "body": b""})
    return None


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def respond(send, content_type, body):
    await start(send, content_type)
    await send({"type": "http.response.body", "body": body})


async def start(send, content_type):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})


async def more(send, body):
    await send({"type": "http.response.body", "body": body, "more_body": True})
