# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How do we talk to the members: endpoints, keys, TLS, retries. The only importer of httpx.

Every request is marked ``read``, ``probe`` (changes nothing though it is a POST) or ``write``.
Reads are repeated when the network or an overloaded node gets in the way; a write never is by
itself: an error does not mean "not applied" (docs/product.md 4), so it is repeated only after a
read has shown that it took no effect.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from . import minting
from .model import AetherError, Trouble

try:
    import httpx
    # httpx imports it with its first client: in every worker that Ansible forks, unless it is here before.
    import httpcore  # noqa: F401  # pylint: disable=unused-import

    HTTPX_ERROR = None
except ImportError as error:
    httpx = None
    HTTPX_ERROR = error

READ, PROBE, WRITE = "read", "probe", "write"
MARKS = (READ, PROBE, WRITE)

MAX_ANSWER = 16 * 1024 * 1024
RETRY_STATUS = frozenset([429, 502, 503, 504])
READ_RETRIES = 2
FIRST_BACK_OFF = 0.15
LONGEST_RETRY_AFTER = 5.0
WRITE_TRIES = 3

_NAMED = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<url>.+)$")


class EndpointTrouble(Exception):
    """An endpoint could not be read; carries a :class:`Trouble`."""

    def __init__(self, kind, text, refused=False):
        super().__init__(text)
        self.trouble = Trouble(kind, text)
        self.refused = refused  # the host answered that nobody listens there


@dataclass(frozen=True)
class Endpoint:
    """``url`` without a trailing slash; ``name``: the voter expected behind it, or None."""

    url: str
    name: Optional[str] = None


@dataclass(frozen=True)
class Answer:
    """``status`` and the JSON document (None where the answer is not JSON), plus the plain ``text`` (first 500 characters).

    ``certificate``: the first and last moment of the one that was shown, in seconds since 1970; None without TLS, and where it was not verified.
    """

    status: int
    document: Any
    text: str
    retry_after: str = ""
    certificate: Optional[Tuple[float, float]] = None

    @property
    def error(self) -> str:
        """What the node says went wrong, or an empty string."""
        if isinstance(self.document, dict) and self.document.get("error"):
            return str(self.document["error"])
        return "" if self.status < 400 else self.text.strip()


def parse_endpoints(texts: Sequence[str]) -> Tuple[Endpoint, ...]:
    """``["n1=http://10.0.0.1:8080", "http://10.0.0.2:8080"]`` -> endpoints.

    Raises AetherError (kind ``bad_input``) that lists every entry that is wrong.
    """
    found: List[Endpoint] = []
    wrong: List[str] = []
    for text in texts or []:
        text = str(text).strip()
        named = _NAMED.match(text)
        name, url = (named.group("name"), named.group("url")) if named else (None, text)
        problem = _bad_url(url)
        if problem:
            wrong.append("'%s' %s" % (_without_password(text), problem))
            continue
        found.append(Endpoint(url.rstrip("/"), name))
    for what, values in (("URL", [e.url for e in found]), ("name", [e.name for e in found if e.name])):
        for value in sorted({v for v in values if values.count(v) > 1}):
            wrong.append("the %s '%s' stands there twice" % (what, value))
    if not found and not wrong:
        raise AetherError(
            "bad_input", "No endpoints: set the option 'endpoints' or the environment variable AETHER_ENDPOINTS, for instance n1=http://10.0.0.1:8080."
        )
    if wrong:
        raise AetherError("bad_input", "Option 'endpoints': %s. Each entry is ID=http://HOST:PORT or http://HOST:PORT." % "; ".join(wrong), wrong=wrong)
    return tuple(found)


def _bad_url(url):
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has a port that is no number from 1 to 65535"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is not http://HOST:PORT or https://HOST:PORT"
    if parts.username or parts.password:
        return "carries a user or password: use the option 'api_key'"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return "has something behind the port"
    if port == 0:
        return "has a port that is no number from 1 to 65535"
    return ""


def _without_password(text):
    return re.sub(r"//[^/@]*@", "//***@", text)


class Client:
    """Asks several endpoints at once over kept-alive connections.

    :param connect_timeout: seconds until a connection counts as impossible.
    :param read_timeout: seconds without a byte until an endpoint counts as hanging.
    :param allow_writes: False in check mode: the client itself then refuses a write.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        api_key: Optional[str] = None,
        connect_timeout: float = 2.0,
        read_timeout: float = 5.0,
        ca_path: Optional[str] = None,
        client_cert: Optional[str] = None,
        client_key: Optional[str] = None,
        cluster_secret: Optional[str] = None,
        validate_certs: bool = True,
        use_proxy: bool = False,
        allow_writes: bool = True,
        transport=None,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.endpoints = tuple(endpoints)
        self.allow_writes = allow_writes
        self._sleep = sleep
        verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asked by nobody without HTTPS, and dear where each way makes its own
        self.own_files: Tuple[str, ...] = ()  # with certificates of ours, and in use
        if any(e.url.startswith("https:") for e in self.endpoints):
            self.own_files = tuple(filter(None, (ca_path, client_cert)))
            verify = _tls_context(ca_path, client_cert, client_key, cluster_secret, validate_certs)
        self._headers = {"Accept": "application/json"}
        if api_key:
            self._headers["X-API-Key"] = api_key
        self._timeouts = (connect_timeout, read_timeout)
        self._extensions = {"timeout": httpx.Timeout(read_timeout, connect=connect_timeout).as_dict()}
        self._verify = verify
        self._proxied = httpx.Client(verify=verify, follow_redirects=False) if use_proxy else None
        self._transport = transport
        self._ways: Dict[str, Any] = {}

    def close(self) -> None:
        for way in filter(None, (self._proxied, self._transport, *self._ways.values())):
            way.close()

    @contextlib.contextmanager
    def _send(self, endpoint: Endpoint, method: str, path: str, **content: Any):
        """Over a pool of the endpoint's own: httpx looks through all connections of a pool for each request, and of those there are as many as members."""
        request = httpx.Request(method, endpoint.url + path, headers=self._headers, extensions=self._extensions, **content)
        if self._proxied is not None:
            response = self._proxied.send(request, stream=True)
        else:
            way = self._transport or self._ways.get(endpoint.url)
            if way is None:  # of two threads that come here at once one makes it in vain
                way = self._ways.setdefault(endpoint.url, httpx.HTTPTransport(verify=self._verify, trust_env=False))
            response = way.handle_request(request)
        with contextlib.closing(response):
            yield response

    def ask_all(self, question: Callable[[Endpoint], Any], endpoints: Optional[Sequence[Endpoint]] = None) -> List[Any]:
        """Put ``question`` to every endpoint at the same time; answers in the endpoints' order."""
        targets = list(self.endpoints if endpoints is None else endpoints)
        if len(targets) < 2:
            return [question(e) for e in targets]
        with ThreadPoolExecutor(max_workers=len(targets)) as pool:
            return list(pool.map(question, targets))

    def read(self, endpoint: Endpoint, path: str, accept: Sequence[int] = (200,), retries: int = READ_RETRIES) -> Answer:
        """GET; raises EndpointTrouble unless the status is in ``accept``."""
        answer = self._repeated(endpoint, "GET", path, frozenset(accept), retries)
        if answer.status not in accept:
            raise EndpointTrouble(*_refusal(endpoint, path, answer))
        return answer

    def download(self, endpoint: Endpoint, path: str, take: Callable[[bytes], Any], most: int) -> None:
        """GET bytes and hand them to ``take`` as they come; raises EndpointTrouble, also when there are more than ``most``."""
        size = 0
        with self._talking(endpoint, path), self._send(endpoint, "GET", path) as response:
            if response.status_code != 200:
                raise EndpointTrouble(*_refusal(endpoint, path, _answer(response, _body(response, endpoint, path))))
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > most:
                    raise EndpointTrouble("error", "%s answers %s with more than the %d bytes that it has." % (endpoint.url, path, most))
                take(chunk)

    def probe(self, endpoint: Endpoint, method: str, path: str, body: Any = None) -> Answer:
        """A request that changes nothing although it is not a GET; any status comes back as it is."""
        return self._once(endpoint, method, path, PROBE, body)

    def write(self, endpoint: Endpoint, method: str, path: str, body: Any, took_effect: Callable[[], bool]) -> Answer:
        """Send a write; after an error ask ``took_effect`` and send it again only when it did not.

        Raises EndpointTrouble with the last trouble when it has no effect after three tries.
        """
        trouble = None
        for attempt in range(WRITE_TRIES):
            if attempt:
                self._sleep(FIRST_BACK_OFF * 2**attempt)
                if took_effect():
                    return Answer(200, {}, "seen to be applied although the answer was an error")
            try:
                answer = self._once(endpoint, method, path, WRITE, body)
            except EndpointTrouble as error:
                trouble = error
                continue
            if answer.status < 500:
                if answer.status >= 400:
                    raise EndpointTrouble(*_refusal(endpoint, path, answer))
                return answer
            trouble = EndpointTrouble(*_refusal(endpoint, path, answer))
        self._sleep(FIRST_BACK_OFF)
        if took_effect():
            return Answer(200, {}, "seen to be applied although the answer was an error")
        raise trouble

    def _repeated(self, endpoint, method, path, accept, retries):
        """A read, repeated after connection errors and "not now" answers.

        A read time-out is not repeated: the member hangs, and the wait around this read asks again anyway.
        A refused connection is tried once more at once: nobody listens there, which more pauses do not change.
        """
        for attempt in range(retries + 1):
            last = attempt == retries
            pause = FIRST_BACK_OFF * 2**attempt * random.uniform(0.7, 1.3)
            try:
                answer = self._once(endpoint, method, path, READ, None)
            except EndpointTrouble as error:
                if last or error.trouble.kind != "down" or (error.refused and attempt):
                    raise
                pause = 0.05 if error.refused else pause
            else:
                if last or answer.status in accept or answer.status not in RETRY_STATUS:
                    return answer
                pause = max(pause, min(LONGEST_RETRY_AFTER, _retry_after(answer)))
            self._sleep(pause)
        raise AssertionError("unreachable")

    def _once(self, endpoint, method, path, mark, body):
        if mark not in MARKS:
            raise ValueError("a request is marked read, probe or write, not %r" % mark)
        if mark == WRITE and not self.allow_writes:
            raise AetherError("write_in_check_mode", "A write (%s %s) was about to be sent in check mode; nothing was sent." % (method, path))
        content: Dict[str, Any] = {}
        if isinstance(body, (bytes, str)):
            content = {"content": body}
        elif body is not None:
            content = {"json": body}
        with self._talking(endpoint, path), self._send(endpoint, method, path, **content) as response:
            return _answer(response, _body(response, endpoint, path))

    @contextlib.contextmanager
    def _talking(self, endpoint, path):
        """What goes wrong with the connection meanwhile becomes an EndpointTrouble."""
        connect, read = self._timeouts
        try:
            yield
        except httpx.ConnectTimeout:
            raise EndpointTrouble("down", "no connection to %s within %g s; is the host up and the port open?" % (endpoint.url, connect))
        except httpx.TimeoutException:
            raise EndpointTrouble("hanging", "%s accepts connections but did not answer %s within %g s; look at its journal." % (endpoint.url, path, read))
        except httpx.TransportError as error:
            meaning = _tls_trouble(endpoint, error, connect)
            if meaning:
                raise EndpointTrouble("tls", "%s cannot be talked to: %s." % (endpoint.url, meaning))
            if not isinstance(error, httpx.ConnectError):
                raise EndpointTrouble("down", "%s broke off during %s (%s)." % (endpoint.url, path, _plain(error)))
            raise EndpointTrouble(
                "down", "no connection to %s (%s); is the node running?" % (endpoint.url, _plain(error)), refused="refused" in str(error).lower()
            )


def _tls_context(ca_path, client_cert, client_key, cluster_secret, validate_certs):
    """What HTTPS endpoints are verified with, and what is shown to them."""
    if cluster_secret and (ca_path or client_cert or client_key):
        raise AetherError("bad_input", "Option 'cluster_secret' stands for 'ca_path', 'client_cert' and 'client_key': give either it or them.")
    try:
        context = minting.client_context(cluster_secret) if cluster_secret else ssl.create_default_context(cafile=ca_path)
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if client_cert:
            context.load_cert_chain(client_cert, client_key)
    except (OSError, ssl.SSLError) as error:
        raise AetherError("bad_input", "The certificates cannot be used: %s. Check the options 'ca_path', 'client_cert' and 'client_key'." % error)
    return context


# What OpenSSL and the answers say, and what that means. The first that fits counts; alerts are the node's, the rest is our own verdict on it.
TLS_TROUBLES = (
    (
        r"hostname mismatch|ip address mismatch|doesn't match|is not valid for",
        "its certificate is for another host name: name the host as the certificate does, the one in the node's own entry of the list of peers",
    ),
    (
        r"verify failed.*(has expired|not yet valid)",
        "its certificate is out of its time: set the clocks, or give it a new one (its service stopped on its host, site.yml does)",
    ),
    (r"verify failed", "its certificate comes from an authority that is not known here: give 'ca_path', or the right 'cluster_secret'"),
    (
        r"certificate[ _]required|handshake[ _]failure",
        "it wants a client certificate and was shown none: give 'client_cert' and 'client_key', or 'cluster_secret'",
    ),
    (
        r"alert[ _](unknown[ _]ca|bad[ _]certificate|certificate[ _](unknown|expired|revoked)|unsupported[ _]certificate|decrypt[ _]error|access[ _]denied)",
        "it refuses the client certificate: it comes from another authority, or is out of its time",
    ),
    (r"wrong[ _]version[ _]number|record[ _]layer[ _]failure|http[ _]request", "it speaks plain HTTP there: name it with http://"),
)


def _tls_trouble(endpoint, error, timeout) -> Optional[str]:
    """What is wrong with TLS, as the end of a sentence about the endpoint; None when it is something else."""
    text = str(error).lower()
    if endpoint.url.startswith("https:"):
        if "ssl" not in text and "certificate" not in text:
            return None
        return next((meaning for pattern, meaning in TLS_TROUBLES if re.search(pattern, text)), "TLS fails (%s)" % _plain(error))
    # To plain HTTP a TLS server hangs up, most without a word.
    if isinstance(error, httpx.RemoteProtocolError) and _speaks_tls(urlsplit(endpoint.url), timeout):
        return "it speaks HTTPS there: name it with https://"
    return None


def _speaks_tls(place, timeout) -> bool:
    """Does a handshake come about? Nobody is verified, and nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((place.hostname, place.port or 80), timeout) as connection, context.wrap_socket(connection):
            return True
    except OSError:
        return False


def _body(response, endpoint, path):
    chunks, size = [], 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > MAX_ANSWER:
            raise EndpointTrouble("not_aether", "%s answers %s with more than 16 MiB; refused." % (endpoint.url, path))
        chunks.append(chunk)
    return b"".join(chunks)


def _answer(response, data):
    text = data.decode("utf-8", "replace")
    try:
        document = json.loads(text) if text else None
    except ValueError:
        document = None
    return Answer(response.status_code, document, text[:500], response.headers.get("retry-after", ""), _certificate(response))


def _certificate(response):
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream else None
    shown = tls.getpeercert() if tls else None
    return (ssl.cert_time_to_seconds(shown["notBefore"]), ssl.cert_time_to_seconds(shown["notAfter"])) if shown else None


def _retry_after(answer):
    """Seconds of a Retry-After header; 0 where there is none or it is a date."""
    try:
        return max(0.0, float(answer.retry_after or 0))
    except ValueError:
        return 0.0


def _refusal(endpoint, path, answer):
    """(kind, sentence) for an answer that is not the one asked for."""
    if answer.status in (401, 403):
        what = "needs an API key" if answer.status == 401 else "refuses the API key"
        return "unauthorized", "%s %s (%s: %s); set 'api_key' or AETHER_API_KEY." % (endpoint.url, what, answer.status, answer.error or "no reason given")
    if 300 <= answer.status < 400:
        return "not_aether", "%s redirects %s (%d); redirects are not followed: name the node itself." % (endpoint.url, path, answer.status)
    if answer.status == 404:
        return "not_aether", "%s knows no %s (404): not an Aether management port, or another release." % (endpoint.url, path)
    return "error", "%s answers %s with %d: %s" % (endpoint.url, path, answer.status, answer.error or "no reason given")


def _plain(error):
    text = str(error) or type(error).__name__
    return text if len(text) < 200 else text[:200] + "…"


def json_of(answer: Answer, endpoint: Endpoint, path: str, kind: type) -> Any:
    """The answer's document, refused with a sentence when it is not JSON of this ``kind`` (dict or list)."""
    if not isinstance(answer.document, kind):
        raise EndpointTrouble(
            "not_aether", "%s answers %s with something that is not a JSON %s: %.60r" % (endpoint.url, path, "object" if kind is dict else "list", answer.text)
        )
    return answer.document
