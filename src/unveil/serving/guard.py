"""Who may ask: what another site's page sends is not served, nor what comes by another name, or without the token.

A page that somebody looks at can have their browser ask a server on their own machine. Against that: the Host must be a
name by which this server is meant to be reached, so that a name which an attacker points here is none (DNS rebinding), and
an Origin, which a browser states with whatever a page sends, must be this server's own or one that was allowed.

Source: RFC 9110 (421, Host), RFC 6454 and the Fetch standard (Origin), RFC 6750 (Bearer).
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unveil.errors import SettingError
from unveil.serving.answers import refused
from unveil.serving.refusal import Refusal, plain, shown

log = logging.getLogger(__name__)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer has: it is what it says and no page, is kept nowhere, and is put into no page of others."""
SHORTEST = 16
"""Characters of a token, at least."""
MAKE = "python -c 'import secrets; print(secrets.token_urlsafe())' > token"
"""How to make one."""


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own and nobody else's."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_every(host: str) -> bool:
    """Whether an address stands for all of this machine's."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return host == ""


def written(host: str) -> str:
    """A host as addresses have it, IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


@dataclass(frozen=True)
class Policy:
    """Who may ask.

    Attributes:
        hosts: what the Host of a request may be, in small letters, with its port.
        origins: of pages that may ask beside this server's own.
        token: what a request must know; None where none is asked for.
    """

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()
    token: str | None = None

    @classmethod
    def of(
        cls, host: str, port: int, names: Iterable[str] = (), origins: Iterable[str] = (), token: str | None = None
    ) -> Policy:
        """That of a server.

        Args:
            host: the address that it is bound to.
            port: likewise.
            names: others by which it is reached, each with its port or without.
            origins: of pages that may ask.
            token: what requests must know.

        Raises:
            SettingError: reached from elsewhere without a token or a name, a token that can be guessed or sent by no
                header, or an origin that is none.
        """
        names = tuple(names)
        reached = not is_loopback(host) or not all(is_loopback(_bare(name)) for name in names)
        if reached and token is None:
            raise SettingError(
                f"{', '.join(filter(None, (host, *names)))} can be reached by others, so that anybody could ask; make a "
                f"token by {MAKE} and give --token-file token, or UNVEIL_TOKEN"
            )
        if is_every(host) and not names:
            raise SettingError(
                f"{host} stands for every address of this machine; say by which it is reached: --allow-host NAME"
            )
        if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token):
            raise SettingError(
                f"a token of {len(token)} characters cannot be; take at least {SHORTEST} letters and digits: {MAKE}"
            )
        for origin in origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or set(rest) & set("/*?# ") or origin != origin.lower():
                raise SettingError(f"{origin!r} is no origin; give it as a browser does, https://name or http://name:8000")
        own = {"127.0.0.1", "localhost", "[::1]"} | ({written(host)} if not is_every(host) else set())
        hosts = {f"{name}:{port}".lower() for name in own} | ({name.lower() for name in own} if port == 80 else set())
        hosts |= {form.lower() for name in names for form in (name, f"{name}:{port}")}
        return cls(frozenset(hosts), frozenset(origins), token)

    def check(self, headers: Headers) -> str | None:
        """The origin to answer to, where it is one that was allowed.

        Raises:
            Refusal: 400 or 421 for the Host, 403 for the Origin.
        """
        host, origin = headers.getlist("host"), headers.getlist("origin")
        if len(host) != 1:
            raise Refusal(400, f"a request has one Host, and this has {len(host)}; send one")
        if host[0].lower() not in self.hosts:
            raise Refusal(
                421, f"this server is not {shown(host[0])}; ask it by its own name, or start it with --allow-host"
            )
        if not origin or origin == [f"http://{host[0].lower()}"]:
            return None
        if len(origin) == 1 and origin[0] in self.origins:
            return origin[0]
        raise Refusal(403, f"pages of {shown(', '.join(origin))} may not ask here; start the server with --allow-origin")

    def identify(self, headers: Headers) -> None:
        """See that whoever asks knows the token.

        Raises:
            Refusal: 401.
        """
        if self.token is None:
            return
        given = headers.getlist("authorization")
        scheme, _, said = (given[0] if len(given) == 1 else "").partition(" ")
        # of hashes, in constant time: neither what is right nor how long it is can be told from how long this takes
        same = hmac.compare_digest(sha256(said.strip().encode()).digest(), sha256(self.token.encode()).digest())
        if scheme.lower() != "bearer" or not same:
            raise Refusal(
                401,
                "the token is missing or another; send the header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )


def _bare(name: str) -> str:
    """A name without its port."""
    head, colon, port = name.rpartition(":")
    return head if colon and port.isdecimal() and (not head.count(":") or head.endswith("]")) else name


class Guard:
    """Lets through what may be asked, answers the rest, and gives every answer its headers.

    Args:
        app: what is guarded.
        policy: who may ask.
    """

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self.app, self.policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers, common, begun = Headers(scope=scope), dict(HEADERS), False

        async def finished(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(common)
            await send(message)

        try:
            _framed(headers)
            origin = self.policy.check(headers)
            if origin is not None:
                del common["Cross-Origin-Resource-Policy"]
                common |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
                common["Access-Control-Expose-Headers"] = "Unveil-Seed, Retry-After"
            if origin is not None and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight()(scope, receive, finished)
                return
            self.policy.identify(headers)
            await self.app(scope, receive, finished)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, finished)
        except Exception as error:
            log.exception("%s %s failed: %s", *map(plain, (scope["method"], scope["path"], repr(error))))
            if begun:
                raise
            await refused(Refusal(500, "this should not have happened; the server's log says more"))(
                scope, receive, finished
            )


def _framed(headers: Headers) -> None:
    """See that one thing alone says where a body ends: of two, a proxy in front might believe the other one.

    Raises:
        Refusal: 400, after which nothing that follows is read.

    Source: RFC 9112, section 6.3.
    """
    if "transfer-encoding" in headers and "content-length" in headers:
        why = "a body has a Content-Length or a Transfer-Encoding, and this has both; send one"
        raise Refusal(400, why, {"Connection": "close"})


def _preflight() -> Response:
    """What a browser asks before a page's request: which of its headers are taken."""
    allowed = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "authorization, content-type"}
    return Response(None, 204, allowed)
