"""Quart: a template string, a streamed upload, a WebSocket."""

from quart import Quart, render_template_string, request, websocket

app = Quart(__name__)


@app.get("/hello/<name>")
async def hello(name):
    return await render_template_string("Hello, {{ name }}!", name=name)


@app.post("/upload")
async def upload():
    size = 0
    async for chunk in request.body:
        size += len(chunk)
    return {"size": size}


@app.websocket("/echo")
async def echo():
    while True:
        await websocket.send(await websocket.receive())
