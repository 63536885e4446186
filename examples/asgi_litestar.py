"""Litestar: routes, a streamed answer, a WebSocket."""

from litestar import Litestar, Request, get, post, websocket_listener
from litestar.response import Stream


@get("/hello/{name:str}", media_type="text/plain")
async def hello(name: str) -> str:
    return f"Hello, {name}!"


@post("/upload", status_code=200)
async def upload(request: Request) -> dict[str, int]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return {"size": size}


@get("/numbers")
async def numbers() -> Stream:
    async def count():
        for number in range(100):
            yield f"{number}\n"

    return Stream(count(), media_type="text/plain")


@websocket_listener("/echo")
async def echo(data: str) -> str:
    return data


app = Litestar([hello, upload, numbers, echo])
