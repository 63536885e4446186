"""WSGI over blocking threads that share one poller.

``poller`` one-shot readiness, ``link`` one accepted connection, ``tls`` contexts and handshakes,
``exchange`` one request and its answer, ``server`` the threads' common work: accept, claim, serve, park,
reap, drain.
"""
