"""Another name of :mod:`gunicorn.control`, for programs that were written for it."""
