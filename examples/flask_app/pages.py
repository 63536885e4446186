"""The guest book's pages. Entries live in a file, since each worker is a process of its own."""

import json
import tempfile
from pathlib import Path

from flask import Blueprint, jsonify, redirect, render_template, request, url_for

pages = Blueprint("pages", __name__)
book = Path(tempfile.gettempdir()) / "guest-book.jsonl"


def entries():
    return [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []


@pages.get("/")
def index():
    return render_template("index.html", entries=entries())


@pages.post("/sign")
def sign():
    entry = {"name": request.form["name"], "words": request.form.get("words", "")}
    # One write of one line to a file opened for appending: two workers never mix their lines.
    with book.open("a") as stream:
        stream.write(json.dumps(entry) + "\n")
    return redirect(url_for("pages.index"))


@pages.get("/api/entries")
def api():
    return jsonify(entries())
