"""Gunicorn inside a program of your own, without its command line: ``python custom_app.py [ADDRESS]``."""

import sys

from gunicorn.app.base import BaseApplication


def application(environ, start_response):
    body = b"Hello from a custom application\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class StandaloneApplication(BaseApplication):
    """Takes its settings from a dict and its WSGI callable from the program."""

    def __init__(self, app, options):
        self.application = app
        self.options = options
        super().__init__()

    def load_config(self):
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self):
        return self.application


if __name__ == "__main__":
    bind = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000"
    StandaloneApplication(application, {"bind": bind, "workers": 2}).run()
