"""Starlette: routes, a streamed upload, a background task, a WebSocket, lifespan state."""

from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

done = []


@asynccontextmanager
async def lifespan(app):
    yield {"greeting": "Hello"}


async def hello(request):
    return PlainTextResponse(f"{request.state.greeting}, {request.path_params['name']}!")


async def upload(request):
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return JSONResponse({"size": size})


async def numbers(request):
    async def count():
        for number in range(100):
            yield f"{number}\n"

    return StreamingResponse(count(), media_type="text/plain")


async def source(request):
    return FileResponse(Path(__file__))


async def later(request):
    return JSONResponse(done, background=BackgroundTask(done.append, len(done)))


async def echo(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


app = Starlette(
    routes=[
        Route("/hello/{name}", hello),
        Route("/upload", upload, methods=["POST"]),
        Route("/numbers", numbers),
        Route("/source", source),
        Route("/later", later),
        WebSocketRoute("/echo", echo),
    ],
    lifespan=lifespan,
)
