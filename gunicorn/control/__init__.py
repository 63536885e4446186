"""The control socket: what an operator sees of a running server, and does to it.

``gunicorn.control.client`` is the library, ``gunicornc`` (``gunicorn.control.cli``) the command.
"""
