"""A WSGI application that hands heavy work to the pool.

gunicorn -c gunicorn_conf.py wsgi_app:app
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from gunicorn.dirty import DirtyError, DirtyQueueFullError, get_dirty_client, stash

MODEL = "dirty_app:Model"
SESSIONS = "dirty_app:Sessions"


def predict(query):
    numbers = [float(number) for number in query.get("n", [])]
    return get_dirty_client().execute(MODEL, "predict", numbers)


def login(query):
    return {"token": get_dirty_client().execute(SESSIONS, "login", query["user"][0])}


def who(query):
    return {"user": get_dirty_client().execute(SESSIONS, "who", query["token"][0])}


def logins(query):
    return {"logins": stash.get("counters", "logins", 0)}


ROUTES = {"/predict": predict, "/session/login": login, "/session/who": who, "/session/count": logins}


def train(query):
    """One line of JSON for each epoch, as soon as it is done."""
    for progress in get_dirty_client().stream(MODEL, "train", int(query.get("epochs", ["5"])[0])):
        yield json.dumps(progress).encode() + b"\n"


def app(environ, start_response):
    path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    if path == "/train":
        start_response("200 OK", [("Content-Type", "application/x-ndjson")])
        return train(query)
    if path not in ROUTES:
        return answer(start_response, "404 Not Found", {"error": "no such page"})
    try:
        return answer(start_response, "200 OK", ROUTES[path](query))
    except DirtyQueueFullError:
        return answer(start_response, "503 Service Unavailable", {"error": "busy, try again"})
    except DirtyError as error:
        return answer(start_response, "502 Bad Gateway", {"error": error.message})


def answer(start_response, status, value):
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]
