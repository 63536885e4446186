"""The terminals of RFC 9110, RFC 9112 and RFC 3986 as byte tables and patterns, each with its ABNF.

Only ``fullmatch`` is used on the patterns: ``$`` would accept a trailing LF.
"""

from __future__ import annotations

import re

__all__ = [
    "ABSOLUTE_TARGET",
    "CHUNK_LINE",
    "CRLF",
    "DIGITS",
    "FIELD_TEXT",
    "HOST",
    "LINE_FAULT",
    "OWS",
    "TARGET_TEXT",
    "TOKEN",
    "USUAL_LINE",
]

CRLF = b"\r\n"

# RFC 9110 5.6.3: OWS = *( SP / HTAB ), as the argument of strip().
OWS = b" \t"

# RFC 9110 5.6.2: tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" /
# "~" / DIGIT / ALPHA; token = 1*tchar.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TOKEN = re.compile(_TOKEN)

# RFC 9110 8.6: Content-Length = 1*DIGIT. bytes.isdigit would do, but says nothing of ASCII to the reader.
DIGITS = re.compile(rb"[0-9]+")

# RFC 9110 5.5: field-content = VCHAR / obs-text with SP and HTAB between. As a table for bytes.translate,
# which deletes what is allowed at a nanosecond per byte: what is left is at fault.
FIELD_TEXT = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))

# RFC 9112 2.2: a line ends with CRLF; a bare CR must be refused or replaced, a bare LF may be taken for a
# line end. Front ends disagree on both, so neither is taken. RFC 9110 5.5: the other CTLs are refused.
LINE_FAULT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")

# RFC 9112 3.2: request-target. Printable ASCII without the fragment's "#" (RFC 3986 would also forbid "|" and
# the like, which browsers send in queries).
TARGET_TEXT = bytes(byte for byte in range(0x21, 0x7F) if byte != 0x23)

# RFC 9112 3: request-line = method SP request-target SP HTTP-version, of the usual methods with the
# origin-form of 3.2.1, absolute-path [ "?" query ]. One pattern takes half the time that the steps take.
USUAL_LINE = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) ((/[!\"$->@-~]*)(?:\?([!\"$-~]*))?) HTTP/1\.1"
)

# RFC 3986 3.2.2: host = IP-literal / IPv4address / reg-name; reg-name = *( unreserved / pct-encoded /
# sub-delims ).
_REG_NAME = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
_IP_LITERAL = rb"\[(?:(?P<ipv6>[0-9A-Fa-f:.]+)|[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\]"

# RFC 9110 7.2: Host = uri-host [ ":" port ]; port = *DIGIT.
HOST = re.compile(rb"(?:" + _IP_LITERAL + rb"|" + _REG_NAME + rb"+)(?::(?P<port>[0-9]*))?")

# RFC 3986 4.3: absolute-URI = scheme ":" hier-part [ "?" query ], with the authority that http and https
# require.
ABSOLUTE_TARGET = re.compile(
    rb"(?P<scheme>[A-Za-z][A-Za-z0-9+\-.]*)://(?P<authority>[^/?]*)(?P<rest>[/?].*)?"
)

# RFC 9112 7.1: chunk-size = 1*HEXDIG. 7.1.1: chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS
# chunk-ext-val ] ). RFC 9110 5.6.4: quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE.
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_CHUNK_EXT = rb"[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:" + _CHUNK_EXT + rb")*")
