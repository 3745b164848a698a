"""A model's endpoint over a real socket: it answers as it is told to, and remembers what it was asked."""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal

from typing_extensions import override

from security_agent.llm import Model

Manner = Literal["answer", "garbage", "not_chat", "slow", "trickle", "huge", "broken", "status", "no_schema"]
KEY = "sk-very-secret-5f1d"


@dataclass
class Endpoint:
    """What it does, and what it saw."""

    url: str = ""
    manner: Manner = "answer"
    status: int = 500
    says: Any = None
    """The answer's text, or what is written as JSON; a callable gets the request."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def model(self, seconds: float = 10.0) -> Model:
        return Model(self.url, "tests-model", KEY, seconds)

    def text(self, request: dict[str, Any]) -> str:
        said = self.says(request) if callable(self.says) else self.says
        return said if isinstance(said, str) else json.dumps(said)


class Handler(BaseHTTPRequestHandler):
    """One request, answered in the endpoint's manner."""

    protocol_version = "HTTP/1.1"
    endpoint: ClassVar[Endpoint]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told = {"path": self.path, "authorization": self.headers["authorization"]}
        self.endpoint.asked.append({**told, **request})
        getattr(self, self.endpoint.manner)(request)

    def answer(self, request: dict[str, Any]) -> None:
        self.say(200, self.chat(self.endpoint.text(request)))

    def no_schema(self, request: dict[str, Any]) -> None:
        if "response_format" in request:
            self.say(400, b'{"error": {"message": "response_format is not known"}}')
        else:
            self.say(200, self.chat("```json\n" + self.endpoint.text(request) + "\n```"))

    def garbage(self, _: dict[str, Any]) -> None:
        self.say(200, self.chat("dismiss it, I am sure"))

    def not_chat(self, _: dict[str, Any]) -> None:
        self.say(200, b"<html>" + KEY.encode())

    def slow(self, _: dict[str, Any]) -> None:
        self.endpoint.stop.wait(30)
        self.close_connection = True

    def trickle(self, _: dict[str, Any]) -> None:
        """Sends a byte now and then, for longer than anybody should wait."""
        self.send_response(200)
        self.send_header("content-length", "100000")
        self.end_headers()
        ends = time.monotonic() + 30
        while time.monotonic() < ends and not self.endpoint.stop.wait(0.05):
            try:
                self.wfile.write(b" ")
            except OSError:
                break
        self.close_connection = True

    def huge(self, _: dict[str, Any]) -> None:
        self.say(200, self.chat("x" * 3_000_000))

    def broken(self, _: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices"')
        self.close_connection = True

    def status(self, _: dict[str, Any]) -> None:
        """An error that echoes the key, as some endpoints do."""
        error = {"error": {"message": f"no: {self.headers['authorization']}"}}
        self.say(self.endpoint.status, json.dumps(error).encode())

    @staticmethod
    def chat(text: str) -> bytes:
        message = {"role": "assistant", "content": text}
        return json.dumps({"id": "c", "object": "chat.completion", "choices": [{"message": message}]}).encode()

    def say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def endpoint() -> Generator[Endpoint]:
    """A model's endpoint on a free port of this machine."""
    told = Endpoint()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Handler,), {"endpoint": told}))
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.stop.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
