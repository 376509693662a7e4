"""Resource URIs that a server may read otherwise than we do, refused before any glob is tried.

A glob judges the raw string. A server that resolves `orders://a/../b` or decodes `%2e` reaches an object that the glob never saw, so
every spelling for which raw and resolved form can differ is refused, rather than normalised (what was judged is what is sent).
"""

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPE = re.compile("%(.{0,2})", re.DOTALL)
_HEX = re.compile("[0-9A-Fa-f]{2}")
_SCHEME = re.compile("^[A-Za-z][A-Za-z0-9+.-]*:")
_SEGMENT_ENDS = re.compile("[/?#;]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def suspicious_name(name: str) -> str | None:
    """Why a tool's or prompt's name is refused: a server that stops at a null character, or drops a line end, reads another name."""
    return "a control character" if _CONTROL.search(name) else None


def suspicious_uri(uri: str) -> str | None:
    """Why `uri` is refused, in words that do not repeat it; None where it may be judged. Linear in its length.

    Refused: control characters, line separators and lone surrogates; backslashes; white space at either end, which URL parsers trim;
    `.` and `..` as a segment (also before `;`, `?`, `#`, and with white space around them, which some file systems trim);
    `%` that is no escape; escapes of unreserved characters (RFC 3986 §2.3: the same URI spelt twice), of `/`, `\\` and control
    characters (they would carry a `/` past `*`), and of `%` before two hex digits (a second layer of encoding).
    """
    if _CONTROL.search(uri):
        return "a control character"
    if "\\" in uri:
        return "a backslash"
    if uri != uri.strip() or "\ufeff" in (uri[:1], uri[-1:]):
        return "white space around it"
    if any(_trimmed(segment) in (".", "..") for segment in _SEGMENT_ENDS.split(_SCHEME.sub("", uri))):
        return "a dot segment"
    if "%" not in uri:
        return None
    return _suspicious_escape(uri)


def _trimmed(segment: str) -> str:
    return (
        segment.replace("%20", " ").strip()
        if segment.startswith((".", " ", "%20")) or not segment.isascii()
        else segment
    )


def _suspicious_escape(uri: str) -> str | None:
    for found in _ESCAPE.finditer(uri):
        if not _HEX.fullmatch(found[1]):
            return "a percent sign that is no escape"
        octet = int(found[1], 16)
        if chr(octet) in _UNRESERVED:
            return "a percent-encoded unreserved character"
        if octet in (0x2F, 0x5C):
            return "a percent-encoded slash or backslash"
        if octet < 0x20 or octet == 0x7F:
            return "a percent-encoded control character"
        if octet == 0x25 and _HEX.match(uri, found.end()):
            return "a doubly percent-encoded character"
    return None
