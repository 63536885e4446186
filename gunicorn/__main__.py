"""``python -m gunicorn``."""

from __future__ import annotations

from gunicorn.app.wsgiapp import run

if __name__ == "__main__":
    # argparse would call the program __main__.py.
    run(prog="gunicorn")
