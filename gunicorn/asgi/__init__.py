"""ASGI 3.0 without input or output: scopes, the order of messages, lifespan, the notice of draining.

Shared by the drivers in ``gunicorn.workers.asgi``, whatever loop they run on.
"""
