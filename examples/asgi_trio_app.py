"""An ASGI application written for trio: ``gunicorn -k asgi --asgi-loop trio asgi_trio_app:app``.

``/`` answers, ``/clock`` is an endless event stream that ends by itself when the worker is about to stop,
``/race`` asks two "services" at once and takes the faster one, and a WebSocket gets back what it sends.
"""

import trio


async def app(scope, receive, send):
    handlers = {"lifespan": lifespan, "http": http, "websocket": echo}
    await handlers[scope["type"]](scope, receive, send)


async def lifespan(scope, receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            # What is started here is found in scope["state"] of every request.
            scope["state"]["limit"] = trio.CapacityLimiter(10)
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def http(scope, receive, send):
    routes = {"/clock": clock, "/race": race}
    await routes.get(scope["path"], hello)(scope, receive, send)


async def respond(send, body, status=200):
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hello(scope, receive, send):
    await respond(send, b"Hello from trio\n")


async def race(scope, receive, send):
    winner = None

    async def ask(name, seconds):
        nonlocal winner
        async with scope["state"]["limit"]:
            await trio.sleep(seconds)
        winner = name
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "fast", 0.01)
        nursery.start_soon(ask, "slow", 10)
    await respond(send, f"{winner} won\n".encode())


async def clock(scope, receive, send):
    draining = scope["state"]["gunicorn.draining"]
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    number = 0
    while not draining.is_set():
        number += 1
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        with trio.move_on_after(1):
            await draining.wait()
    await send({"type": "http.response.body", "body": b"event: bye\ndata: -\n\n"})


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
