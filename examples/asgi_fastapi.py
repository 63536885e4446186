"""FastAPI: a validated model, a dependency, a WebSocket."""

from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    item: str
    count: int = 1


def currency() -> str:
    return "EUR"


@app.get("/hello/{name}")
async def hello(name: str) -> str:
    return f"Hello, {name}!"


@app.post("/orders")
def order(order: Order, currency: Annotated[str, Depends(currency)]) -> dict:
    # Not a coroutine: FastAPI runs it in a thread.
    return {"item": order.item, "count": order.count, "currency": currency}


@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)
