"""A server of our own that speaks OpenAI's chat completions, with whatever errors and delays a test asks for."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from spiral_envs.agents import openai as openai_agent


def quick_and_alone(monkeypatch):
    """No long pauses, and neither a key nor a proxy of whoever runs the tests."""
    monkeypatch.setattr(openai_agent, "FIRST_DELAY_S", 0.001)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def completion(content: object = "\\boxed{[4]}", finish_reason="stop", *, usage: Any = None, **message):
    """Returns the status and body of a chat completion; `usage` is what it took as (prompt, completion) tokens."""
    body: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
    }
    if usage is not None:
        prompt_tokens, completion_tokens = usage
        counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        body["usage"] = {**counts, "total_tokens": prompt_tokens + completion_tokens}
    return 200, body


def error(status, message="out of order", **fields):
    """Returns the status and body of an error as OpenAI words it."""
    return status, {"error": {"message": message, "type": "server_error", **fields}}


class Stub:
    """What the server was asked, and how it answers: `answer(request, number)` returns the status and the body."""

    def __init__(self, answer):
        self.answer: Any = answer
        self.requests = []
        self.authorizations = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()
        self.headers = {}
        self.url = ""

    def prompts(self):
        """Returns the text of every request, in the order in which they came."""
        return [request["messages"][0]["content"] for _, request in self.requests]


@contextmanager
def serving(answer: Any):
    """Serves on a free port of this machine: answers in their order, the last for ever, or what a function says."""
    answers = answer
    stub = Stub(answer if callable(answer) else lambda request, number: answers[min(number, len(answers) - 1)])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet, or the client waits for the second.
        wbufsize = 2**16

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with stub.lock:
                number = len(stub.requests)
                stub.requests.append((self.path, request))
                stub.authorizations.append(self.headers["Authorization"])
                stub.in_flight += 1
                stub.most_in_flight = max(stub.most_in_flight, stub.in_flight)
            status, body = stub.answer(request, number)
            with stub.lock:
                stub.in_flight -= 1
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            for name, value in stub.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        # A client that has given up is no news.
        def handle_error(self, request, client_address):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
