"""WSGI over blocking threads that share one poller.

``poller`` readiness, ``acceptor`` listeners and who is connected, ``link`` one connection, ``front`` what the
connections of a listener have in common, ``tls`` contexts and handshakes, ``waiting`` connections that wait
for their clients, ``exchange`` one request and its answer, ``body`` its content, ``deadlines`` requests that
take too long, ``server`` the threads' common work: claim, serve, park, reap, drain. ``worker`` is what the
worker classes have in common.
"""
