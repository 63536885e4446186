"""Where the server listens."""

from __future__ import annotations

from gunicorn.config.kinds import Section

__all__ = ["SETTINGS"]

_here = Section("Server Socket")


def _all_interfaces(port: str) -> list[str]:
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("expected a port from 0 to 65535")
    return [f"0.0.0.0:{port}"]


SETTINGS = (
    _here.listing(
        "bind",
        "-b --bind",
        ["127.0.0.1:8000"],
        """
        An address to listen on: `HOST`, `HOST:PORT`, `[IPv6]:PORT`, `unix:PATH`, or `fd://NUMBER` for a
        socket that was inherited. Give the flag several times, or a list, to listen on several addresses.
        An IPv6 address needs its brackets. The port is 8000 unless given; an empty host means every IPv4
        interface. Where the environment has `PORT`, the default is that port on every IPv4 interface.
        """,
        meta="ADDRESS",
        type=None,
        default_text="127.0.0.1:8000, or 0.0.0.0:$PORT",
        environ="PORT",
        from_environ=_all_interfaces,
    ),
    _here.number(
        "backlog",
        "--backlog",
        2048,
        """
        How many connections the kernel may hold that no worker has accepted yet. Clients beyond that wait
        or fail. The kernel has its own upper limit (`net.core.somaxconn` on Linux).
        """,
    ),
)
