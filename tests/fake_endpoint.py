"""A chat endpoint on this machine that answers, is slow, fails and counts, as a test tells it to."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server sends: a chat completion of `text`, or `body` as it is."""

    text: str = ""
    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    finish_reason: str = "stop"
    logprobs: dict[str, float] | None = None
    tokens: tuple[int, int] = (100, 10)

    def encoded(self) -> bytes:
        if self.body is not None:
            return self.body.encode()
        choice: dict[str, Any] = {
            "message": {"role": "assistant", "content": self.text},
            "finish_reason": self.finish_reason,
        }
        if self.logprobs is not None:
            top = [{"token": token, "logprob": value} for token, value in self.logprobs.items()]
            choice["logprobs"] = {"content": [{"token": self.text, "logprob": 0.0, "top_logprobs": top}]}
        usage = {"prompt_tokens": self.tokens[0], "completion_tokens": self.tokens[1]}
        return json.dumps({"choices": [choice], "usage": usage}).encode()


# (text of the user message, how often it was asked before) -> reply
Behaviour = Callable[[str, int], Reply]


class FakeEndpoint:
    """`with FakeEndpoint(behaviour) as server`: its address is `server.base_url`; what it saw stands in its fields."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.authorizations: set[str | None] = set()
        self.in_flight = 0
        self.most_in_flight = 0
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def calls(self) -> int:
        return sum(self.asked.values())

    def __enter__(self) -> "FakeEndpoint":
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                user = body["messages"][-1]["content"]
                with fake._lock:
                    before = fake.asked[user]
                    fake.asked[user] += 1
                    fake.bodies.append(body)
                    fake.times.append(time.monotonic())
                    fake.authorizations.add(self.headers.get("Authorization"))
                    fake.in_flight += 1
                    fake.most_in_flight = max(fake.most_in_flight, fake.in_flight)
                try:
                    reply = fake.behaviour(user, before)
                    time.sleep(reply.delay)
                    content = reply.encoded()
                    self.send_response(reply.status)
                    for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client gave up (time-out) or was killed
                finally:
                    with fake._lock:
                        fake.in_flight -= 1

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def shown(user: str) -> tuple[str, str, str]:
    """(request, answer A, answer B) of the judge's default question."""
    request, rest = user.removeprefix("# Request\n\n").split("\n\n# Answer A\n\n")
    first, rest = rest.split("\n\n# Answer B\n\n")
    return request, first, rest.split("\n\n# Your verdict")[0]


def longer_wins(user: str, before: int = 0) -> Reply:
    """A judge without position bias: the longer answer is better, equal lengths tie."""
    _, first, second = shown(user)
    letter = "A" if len(first) > len(second) else "B" if len(second) > len(first) else "C"
    return Reply(f"I looked at both. [[{letter}]]")
