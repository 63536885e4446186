"""The web side: FastAPI on the ASGI worker. Requests wait for the pool without holding a thread.

pip install fastapi uvloop 'gunicorn'
gunicorn -c gunicorn_conf.py app:app
"""

from __future__ import annotations

import base64
import json
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI
from fastapi.requests import Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from gunicorn.dirty import (
    DirtyAppError,
    DirtyError,
    DirtyQueueFullError,
    DirtyTimeoutError,
    get_dirty_client_async,
)

app = FastAPI(title="An alternative to Celery")

EMAIL, IMAGE, DATA = "tasks:EmailWorker", "tasks:ImageWorker", "tasks:DataWorker"
SCHEDULED = "tasks:ScheduledWorker"


class Email(BaseModel):
    to: str
    subject: str
    body: str


class BulkEmail(BaseModel):
    recipients: list[str]
    subject: str
    body: str


class Image(BaseModel):
    image_data: str  # base64
    width: int
    height: int


class Batch(BaseModel):
    images: list[str]  # base64
    operation: str = "invert"


class Aggregation(BaseModel):
    data: list[dict[str, Any]]
    group_by: str
    agg_field: str


class Pipeline(BaseModel):
    source_data: list[dict[str, Any]]
    transformations: list[dict[str, Any]]


class Query(BaseModel):
    query_key: str
    ttl: int = 60


class Cleanup(BaseModel):
    directory: str
    max_age_days: int = 7


async def call(worker: str, action: str, *args: Any) -> Any:
    client = await get_dirty_client_async()
    return readable(await client.execute_async(worker, action, *args))


def events(worker: str, action: str, *args: Any) -> StreamingResponse:
    """What the action yields, as server-sent events."""

    async def stream() -> Any:
        client = await get_dirty_client_async()
        try:
            async with aclosing(client.stream_async(worker, action, *args)) as pieces:
                async for piece in pieces:
                    yield f"data: {json.dumps(readable(piece))}\n\n"
        except DirtyError as error:
            # The status line has been sent: the error is one more event.
            yield f"data: {json.dumps({'type': 'error', 'message': error.message})}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


def readable(value: Any) -> Any:
    """Bytes as base64, which JSON can carry."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items()}
    return value


@app.exception_handler(DirtyError)
async def on_error(request: Request, error: DirtyError) -> JSONResponse:
    status = 500
    if isinstance(error, DirtyAppError) and error.remote_type in ("ValueError", "KeyError"):
        status = 422
    elif isinstance(error, DirtyTimeoutError):
        status = 504
    elif isinstance(error, DirtyQueueFullError):
        status = 503
    return JSONResponse({"error": error.message, "type": error.remote_type}, status)


@app.post("/api/email/send")
async def send_email(email: Email) -> Any:
    return await call(EMAIL, "send_email", email.to, email.subject, email.body)


@app.post("/api/email/send-bulk")
async def send_bulk(email: BulkEmail) -> StreamingResponse:
    return events(EMAIL, "send_bulk_emails", email.recipients, email.subject, email.body)


@app.post("/api/image/resize")
async def resize(image: Image) -> Any:
    return await call(IMAGE, "resize", base64.b64decode(image.image_data), image.width, image.height)


@app.post("/api/image/process-batch")
async def process_batch(batch: Batch) -> StreamingResponse:
    return events(
        IMAGE, "process_batch", [base64.b64decode(image) for image in batch.images], batch.operation
    )


@app.post("/api/data/aggregate")
async def aggregate(aggregation: Aggregation) -> Any:
    return await call(DATA, "aggregate", aggregation.data, aggregation.group_by, aggregation.agg_field)


@app.post("/api/data/etl")
async def etl(pipeline: Pipeline) -> StreamingResponse:
    return events(DATA, "etl_pipeline", pipeline.source_data, pipeline.transformations)


@app.post("/api/data/query")
async def query(query: Query) -> Any:
    return await call(DATA, "cached_query", query.query_key, query.ttl)


@app.post("/api/scheduled/cleanup")
async def cleanup(job: Cleanup) -> Any:
    return await call(SCHEDULED, "cleanup_old_files", job.directory, job.max_age_days)


@app.post("/api/scheduled/daily-report")
async def daily_report() -> Any:
    return await call(SCHEDULED, "generate_daily_report")


@app.get("/health")
async def health() -> Any:
    client = await get_dirty_client_async()
    status = await client.status_async()
    return {"status": "healthy", "pool": len(status["workers"])}
