"""A small S3 client that does just what the tests say: one request, no retries, a socket in the namespace that it is given."""

import dataclasses
import datetime
import hashlib
import hmac
import http.client
import socket
import urllib.parse
import xml.etree.ElementTree

from hosts import authority, inside

PORT = 9000
REGION = "us-east-1"


class Unreachable(Exception):
    """No connection was made: the request cannot have happened."""


class Lost(Exception):
    """The request went out, no whole answer came: it may have happened."""


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def etag(self):
        return self.headers.get("etag", "").strip('"')

    @property
    def code(self):
        """The S3 error code, or ""."""
        found = self.body.split(b"<Code>")
        return found[1].split(b"</Code>")[0].decode() if len(found) > 1 else ""


class Connection(http.client.HTTPConnection):
    def __init__(self, netns, address, timeout):
        super().__init__(address, PORT, timeout=timeout)
        self.netns = netns

    def connect(self):
        # Name resolution is not needed, and a socket keeps the namespace that it was made in.
        with inside(self.netns):
            self.sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(min(self.timeout, 3))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect((self.host, self.port))
        self.sock.settimeout(self.timeout)


class S3:
    """Requests of one user from one namespace. Not shared between threads."""

    def __init__(self, netns, access_key, secret_key, timeout=10):
        self.netns, self.access_key, self.secret_key, self.timeout = netns, access_key, secret_key, timeout
        self.connections = {}
        self.clock_offset = 0  # seconds, for a server whose clock is wrong

    def request(self, host, method, path, query=(), headers=(), body=b""):
        """`host` has an address. The answer, whatever its status."""
        address = host.address
        connection = self.connections.pop(address, None)
        fresh = connection is None
        signed = self._sign(address, method, path, dict(query), dict(headers), body)
        url = _quoted(path) + ("?" + _query(dict(query)) if query else "")
        while True:
            if fresh:
                connection = Connection(self.netns, address, self.timeout)
                try:
                    connection.connect()
                except OSError as error:
                    connection.close()
                    raise Unreachable(f"{address}: {error}") from None
            try:
                connection.request(method, url, body=body, headers=signed)
                answer = connection.getresponse()
                data = answer.read()
                break
            except http.client.RemoteDisconnected as error:
                connection.close()
                # A kept connection that the server closed meanwhile; safe to repeat only what changes nothing.
                if fresh or method not in ("GET", "HEAD"):
                    raise Lost(f"{address}: {error!r}") from None
                fresh = True
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise Lost(f"{address}: {error!r}") from None
        if answer.will_close:
            connection.close()
        else:
            self.connections[address] = connection
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, data)

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections = {}

    def _sign(self, address, method, path, query, headers, body):
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.clock_offset)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        digest = hashlib.sha256(body).hexdigest()
        headers = {name.lower(): value for name, value in headers.items()}
        headers |= {"host": authority(address, PORT), "x-amz-date": stamp, "x-amz-content-sha256": digest}
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
        canonical = "\n".join([method, _quoted(path), _query(query), lines, names, digest])
        scope = f"{day}/{REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = b"AWS4" + self.secret_key.encode()
        for part in (day, REGION, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def list(self, host, bucket, page=1000):
        """All (key, ETag) of a bucket, page by page; an Answer instead where one was refused."""
        entries, token = [], None
        while True:
            query = {"list-type": "2", "max-keys": str(page)} | ({"continuation-token": token} if token else {})
            answer = self.request(host, "GET", f"/{bucket}", query)
            if answer.status != 200:
                return answer
            tree = xml.etree.ElementTree.fromstring(answer.body)
            space = tree.tag.split("}")[0] + "}" if tree.tag.startswith("{") else ""
            for item in tree.iter(f"{space}Contents"):
                entries.append((item.find(f"{space}Key").text, item.find(f"{space}ETag").text.strip('"')))
            token = tree.findtext(f"{space}NextContinuationToken")
            if not token:
                return entries


def _quoted(path):
    return urllib.parse.quote(path, safe="/-_.~")


def _query(query):
    quote = urllib.parse.quote
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
