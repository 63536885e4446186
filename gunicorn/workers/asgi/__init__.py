"""The ASGI worker: ``worker`` the class, ``ledger`` what is recorded of a request, and a driver for each
kind of loop.

``asyncio_driver`` (asyncio and uvloop) consists of ``service`` the life of the worker, ``acceptor`` its
listeners, ``protocol`` one connection, ``cycle`` one request, ``alarms`` the deadlines of a connection.
"""
