"""Answers with the value of the environment variable that the path names."""

import os


def app(environ, start_response):
    body = os.environ.get(environ["PATH_INFO"].strip("/"), "").encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
