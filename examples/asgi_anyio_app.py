"""An ASGI application written with anyio, for every loop: ``gunicorn -k asgi asgi_anyio_app:app``.

``/`` names the loop (``--asgi-loop asyncio``, ``uvloop``, ``trio``), ``/both`` waits for two things at once,
``/upload`` counts what it is sent, and a WebSocket is a chat: what one client sends, all get.
"""

import anyio
import sniffio


async def app(scope, receive, send):
    handlers = {"lifespan": lifespan, "http": http, "websocket": chat}
    await handlers[scope["type"]](scope, receive, send)


async def lifespan(scope, receive, send):
    await receive()
    scope["state"]["chat"] = set()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def http(scope, receive, send):
    routes = {"/both": both, "/upload": upload}
    body = await routes.get(scope["path"], name)(receive)
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def name(receive):
    return f"Hello from {sniffio.current_async_library()}\n".encode()


async def both(receive):
    done = []

    async def wait(label, seconds):
        await anyio.sleep(seconds)
        done.append(label)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "slow", 0.05)
        tasks.start_soon(wait, "fast", 0.01)
    return " then ".join(done).encode() + b"\n"


async def upload(receive):
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left in the middle of its upload")
        size += len(message["body"])
        if not message["more_body"]:
            return b"%d bytes\n" % size


async def chat(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    others = scope["state"]["chat"]
    others.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            async with anyio.create_task_group() as tasks:
                for other in others:
                    tasks.start_soon(other, {**message, "type": "websocket.send"})
    finally:
        others.discard(send)
