"""A line to a database that can stall, be cut, and lose answers."""

import socket
import threading
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit


class Line:
    """Passes on what a client and the server say to each other, until it is told not to."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        self._server = f"{options['host'][0]}/.s.PGSQL.{options['port'][0]}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_cut = False
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._answers_to_lose = 0
        self._unheard: list[socket.socket] = []
        self.url = f"postgresql://{parts.username}@127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections, and lets no new one through."""
        with self._lock:
            self._is_cut = True
            self._end_all()

    def mend(self) -> None:
        """Lets connections through again."""
        self._is_cut = False

    def stall(self) -> None:
        """Passes nothing on, and ends nothing."""
        self._goes_on.clear()

    def go_on(self) -> None:
        """Passes on what has come meanwhile, and what comes."""
        self._goes_on.set()

    def lose_next_answer_to_a_commit(self) -> None:
        """The server commits, and the connection ends before the client hears of it."""
        self._answers_to_lose += 1

    def close(self) -> None:
        """Ends everything."""
        self.cut()
        self.go_on()
        self._listener.close()

    def _end_all(self) -> None:
        while self._open:
            end = self._open.pop()
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    if self._is_cut:
                        client.close()
                        continue
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(self._server)
                    self._open += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._goes_on.wait()
                if source in self._unheard:
                    break  # the server has answered, and the client does not hear of it
                if self._answers_to_lose and b"COMMIT" in data and source.family == socket.AF_INET:
                    self._answers_to_lose -= 1
                    self._unheard.append(target)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
