"""An application whose import waits until somebody writes to the named pipe $GATE."""

import os

from hello import app

with open(os.environ["GATE"]) as gate:
    gate.read()

__all__ = ["app"]
