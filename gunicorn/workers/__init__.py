"""Worker classes: ``base.Worker`` is the public base, ``engine`` serves WSGI for ``sync`` and ``gthread``."""
