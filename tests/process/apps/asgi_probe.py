"""An ASGI application that misbehaves on request: ``LIFESPAN`` says how its start ends."""

import os

import anyio


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await http(scope, receive, send)


async def lifespan(receive, send):
    await receive()
    how = os.environ.get("LIFESPAN", "well")
    if how == "failed":
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    if how == "raises":
        raise RuntimeError("no lifespan")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    # In one piece: print may write the end of the line by itself, after another worker's line.
    os.write(1, b"lifespan shut down\n")
    await send({"type": "lifespan.shutdown.complete"})


async def http(scope, receive, send):
    path, state = scope["path"], scope["state"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/events":
        await send({"type": "http.response.body", "body": b"data: begin\n\n", "more_body": True})
        await state["gunicorn.draining"]
        await send({"type": "http.response.body", "body": b"data: end\n\n"})
    elif path == "/stubborn":
        await send({"type": "http.response.body", "body": b"data: begin\n\n", "more_body": True})
        await anyio.sleep(600)
    else:
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
