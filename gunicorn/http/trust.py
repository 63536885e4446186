"""Which peers may speak for others: the lists of ``forwarded_allow_ips`` and ``proxy_allow_ips``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

    from gunicorn.http.events import Peer

__all__ = ["AllowList"]


class AllowList:
    """Addresses and networks, given as text.

    Single addresses are compared as text, because that answers for nearly every deployment without importing
    and running ``ipaddress`` (2 ms once, 3 us for each connection).

    Args:
        entries: IP addresses, networks in CIDR form without host bits, or ``*``.

    Raises:
        ValueError: an entry is none of these.
    """

    __slots__ = ("_everyone", "_hosts", "_networks", "entries")

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = tuple(entries)
        self._everyone = "*" in self.entries
        texts = [entry for entry in self.entries if entry != "*"]
        self._hosts = frozenset(texts)
        self._networks = _networks(texts)

    def __repr__(self) -> str:
        return f"AllowList({list(self.entries)})"

    def trusts(self, peer: Peer) -> bool:
        """Whether ``peer`` is on the list. A unix socket's peer always is: the socket's mode decided."""
        return self._everyone or peer.is_unix or (peer.host is not None and self._holds(peer.host))

    def _holds(self, host: str) -> bool:
        # A dual-stack listener shows IPv4 peers as ::ffff:a.b.c.d; the list's author thinks of a.b.c.d.
        host = host.removeprefix("::ffff:")
        return host in self._hosts or (bool(self._networks) and self._in_network(host))

    def _in_network(self, host: str) -> bool:
        from ipaddress import ip_address

        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _networks(texts: list[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    if all(text in ("127.0.0.1", "::1") for text in texts):
        return ()  # the default, which should cost no import
    from ipaddress import ip_network

    return tuple(ip_network(text) for text in texts)
