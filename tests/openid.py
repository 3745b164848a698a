"""A stand-in for an OpenID provider, on a socket of its own: as strict as one, and as dishonest as a test wants."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from typing_extensions import override

CLIENT, SECRET = "permalog", "client-secret"
Bend = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class OpenIdProvider:
    """What it does, and to whom it speaks."""

    url: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    """The claims about whoever signs in."""
    bend: Bend = dict
    """What becomes of the claims before they are signed."""
    sign: Callable[[dict[str, Any]], str] | None = None
    """How else they are signed."""
    about: dict[str, Any] = field(default_factory=dict)
    """What it says of itself, beside the truth."""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            **self.about,
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Lets everybody in, and sends the browser back."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """Gives a token for a code, once, to whom it was given."""
        began = self.codes.pop(form.get("code", ""), None)
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if began is None or authorization != expected or form.get("redirect_uri") != began["redirect_uri"]:
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != began["code_challenge"]:
            return None
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "u_1", "iat": now, "exp": now + 300, "nonce": began["nonce"],
            **self.person,
        }  # fmt: skip
        sign = self.sign or self.signed
        return {"access_token": "a", "token_type": "Bearer", "id_token": sign(self.bend(claims))}

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, self.key)

    def signed_by_a_shared_secret(self, claims: dict[str, Any]) -> str:
        """With the public key as the secret, as libraries were once fooled."""
        secret = OctKey.import_key(self.key.as_pem(private=False))
        return jwt.encode({"alg": "HS256", "kid": "k1"}, claims, secret)

    def signed_by_nobody(self, claims: dict[str, Any]) -> str:
        parts = [{"alg": "none"}, claims]
        return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."

    def signed_by_another(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, RSAKey.generate_key(2048))


@contextmanager
def provider() -> Generator[OpenIdProvider]:
    """A provider that listens on this machine."""
    found = OpenIdProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            found.asked.append(parts.path)
            if parts.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self.send_response(302)
                self.send_header("Location", found.authorize(query))
                self.end_headers()
            elif parts.path == "/keys":
                self.say({"keys": [found.key.as_dict(private=False)]})
            else:
                self.say(found.discovery())

        def do_POST(self) -> None:
            found.asked.append(urlsplit(self.path).path)
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            answer = found.token(form, self.headers.get("authorization", ""))
            self.say(answer or {"error": "invalid_grant"}, 200 if answer else 400)

        def say(self, document: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
