"""A configuration file with every hook: ``gunicorn -c examples/gunicorn.conf.py examples.hello:app``.

The file is Python. A name that is a setting sets it; every other name is yours.
"""

bind = ["127.0.0.1:8000"]
workers = 2
worker_class = "gthread"
threads = 4
keepalive = 5
timeout = 30
graceful_timeout = 30
max_requests = 10_000
max_requests_jitter = 1_000
accesslog = "-"
raw_env = ["GREETING=Hello"]


# In the arbiter ---------------------------------------------------------------------------------------------


def on_starting(server):
    """Before anything is bound."""
    server.log.info("on_starting: %d workers are configured", server.cfg.workers)


def when_ready(server):
    """The listeners are bound; no worker exists yet."""
    server.log.info("when_ready")


def on_reload(server):
    """SIGHUP: the configuration was read again, the new workers come next."""
    server.log.info("on_reload")


def nworkers_changed(server, new_value, old_value):
    """SIGTTIN, SIGTTOU or a reload changed the number; ``old_value`` is None at start."""
    server.log.info("nworkers_changed: %s -> %s", old_value, new_value)


def child_exit(server, worker):
    """A worker has ended, however it ended."""
    server.log.info("child_exit: %s", worker.pid)


def pre_exec(server):
    """SIGUSR2: in the child that is about to become the new server."""
    server.log.info("pre_exec")


def on_exit(server):
    """The last word."""
    server.log.info("on_exit")


# In the process that forks ----------------------------------------------------------------------------------


def pre_fork(server, worker):
    """Before the fork of ``worker``; what it sets here, later workers inherit, the arbiter does not see."""
    server.log.info("pre_fork: worker number %d", worker.age)


# In the worker ----------------------------------------------------------------------------------------------


def post_fork(server, worker):
    """First thing in the worker, before it changes its user."""
    server.log.info("post_fork: %s", worker.pid)


def post_worker_init(worker):
    """The application is loaded."""
    worker.log.info("post_worker_init")


def worker_int(worker):
    """SIGINT or SIGQUIT: the quick stop."""
    worker.log.info("worker_int")


def worker_abort(worker):
    """SIGABRT: the worker was silent for longer than ``timeout``. The place to dump what it was doing."""
    worker.log.warning("worker_abort")


def pre_request(worker, req):
    """Before the application is called. An exception here fails the request."""
    worker.log.debug("pre_request: %s %s", req.method, req.path)


def post_request(worker, req, environ, resp):
    """After the answer, a failed one too."""
    worker.log.debug("post_request: %s %s: %s", req.method, req.path, resp.status)


def worker_exit(server, worker):
    """Last thing in the worker."""
    server.log.info("worker_exit: %s", worker.pid)


# TLS, when certfile is set ----------------------------------------------------------------------------------


def ssl_context(config, default_ssl_context_factory):
    """The context of every TLS listener."""
    import ssl

    context = default_ssl_context_factory()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
