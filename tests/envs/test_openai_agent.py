"""The agent behind an OpenAI-compatible endpoint, against a server of our own on this machine."""

import json
import math
import re
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from spiral_envs import Fault, MissingExtraError, Reply, UnknownNameError, make_agent, make_match, play
from spiral_envs.agents import EndpointError
from spiral_envs.agents import openai as openai_agent
from spiral_envs.agents.openai import Endpoint, OpenAIAgent, parse_endpoint
from spiral_envs.prompts import boxed_cot

VIEW = make_match("tic_tac_toe_v0", seed=0).view(0)


@pytest.fixture(autouse=True)
def quick_and_alone(monkeypatch):
    """No long pauses, and neither a key nor a proxy of whoever runs the tests."""
    monkeypatch.setattr(openai_agent, "FIRST_DELAY_S", 0.001)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def completion(content: object = "\\boxed{[4]}", finish_reason="stop", **message):
    return 200, {
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


def error(status, message="out of order", **fields):
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


def reply_of(stub):
    (reply,) = agent_at(stub).act([VIEW])
    assert isinstance(reply, Reply)
    return reply


def agent_at(stub, *, seed=0, **options):
    return OpenAIAgent(Endpoint(model="m", url=stub.url, **options), seed=seed)


def test_a_reply_answers_the_prompt_of_the_view():
    with serving([completion("I take the middle: \\boxed{[4]}", reasoning_content="hm", refusal=None)]) as stub:
        assert make_agent(f"openai:some/model@{stub.url}").act([VIEW]) == ["I take the middle: \\boxed{[4]}"]
    ((path, request),) = stub.requests
    assert path == "/v1/chat/completions"
    assert request.pop("seed") >= 0
    # Nothing is sent that was not asked for, so that every endpoint understands it.
    assert request == {"model": "some/model", "messages": boxed_cot(VIEW)}
    assert stub.authorizations == ["Bearer none"]


def test_options_and_the_key_are_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with serving([completion()]) as stub:
        options = "temperature=0.6&top_p=0.9&max_tokens=2048&send_seed=false"
        make_agent(f"openai:m@{stub.url}?{options}").act([VIEW])
    ((_, request),) = stub.requests
    del request["messages"]
    assert request == {"model": "m", "temperature": 0.6, "top_p": 0.9, "max_tokens": 2048}
    assert stub.authorizations == ["Bearer sk-test"]


def test_openai_itself_is_asked_by_its_own_names(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with serving([completion()]) as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        make_agent("openai:gpt?max_tokens=7").act([VIEW])
    ((_, request),) = stub.requests
    assert request["max_completion_tokens"] == 7
    assert "max_tokens" not in request


def test_every_view_gets_its_own_reply():
    views = [VIEW._replace(text=f"view {number}") for number in range(20)]

    def answer(request, number):
        # The first ones are answered last.
        time.sleep(0.02 if number < 5 else 0)
        return completion(request["messages"][0]["content"].partition("view ")[2].split()[0])

    with serving(answer) as stub:
        assert agent_at(stub).act(views) == [str(number) for number in range(20)]
        assert agent_at(stub).act([]) == []


def seeds_sent(agent, stub, batches):
    del stub.requests[:]
    for views in batches:
        agent.act(views)
    return {request["messages"][0]["content"]: request["seed"] for _, request in stub.requests}


def test_requests_carry_seeds_that_follow_from_the_agents():
    views = [VIEW._replace(text=str(number)) for number in range(8)]
    with serving([completion()]) as stub:
        first = seeds_sent(agent_at(stub, seed=3), stub, [views])
        # In another schedule the seeds stay the same.
        again = seeds_sent(agent_at(stub, seed=3, concurrency=1), stub, [views[:3], views[3:]])
        other = seeds_sent(agent_at(stub, seed=4), stub, [views])
    assert first == again
    assert len(set(first.values()) | set(other.values())) == 16
    assert all(0 <= seed < 2**31 for seed in first.values())


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_a_passing_failure_is_tried_again(status):
    with serving([error(status), error(status), completion("[4]")]) as stub:
        assert agent_at(stub).act([VIEW]) == ["[4]"]
    assert len(stub.requests) == 3
    # The same request, with the same seed.
    assert stub.requests[0] == stub.requests[2]


@pytest.mark.parametrize(
    "body", [b"{bad", b"<html>down</html>", b"null", b"[]", b'{"choices": []}', b'{"error": {"message": "boo"}}']
)
def test_an_answer_that_is_no_completion_is_tried_again(body):
    with serving([(200, body), completion("[4]")]) as stub:
        assert agent_at(stub).act([VIEW]) == ["[4]"]
    with serving([(200, body)]) as stub, pytest.raises(EndpointError, match="the answer is no chat completion: "):
        agent_at(stub, retries=1).act([VIEW])
    assert len(stub.requests) == 2


def test_content_that_is_no_text_is_no_completion():
    with serving([completion([1])]) as stub, pytest.raises(EndpointError, match="content of the answer is no text"):
        agent_at(stub, retries=0).act([VIEW])


def test_an_endpoint_that_stays_down_raises_with_where_and_why():
    with serving([error(500, "the  GPU\nis on fire")]) as stub, pytest.raises(EndpointError) as raised:
        agent_at(stub, retries=2).act([VIEW])
    assert len(stub.requests) == 3
    said = str(raised.value)
    assert said.startswith(f"model 'm' at {stub.url} gave no reply after 3 attempts: Error code: 500")
    assert "on fire" in said
    assert "\n" not in said


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_request_that_will_never_succeed_is_made_once(status):
    said = r"after 1 attempt: .*no such model"
    with serving([error(status, "no such model")]) as stub, pytest.raises(EndpointError, match=said):
        agent_at(stub).act([VIEW])
    assert len(stub.requests) == 1


def test_a_silent_endpoint_times_out():
    patience = threading.Event()

    def answer(request, number):
        patience.wait(10)
        return completion()

    with serving(answer) as stub:
        with pytest.raises(EndpointError, match="after 2 attempts: Request timed out"):
            agent_at(stub, timeout_s=0.1, retries=1).act([VIEW])
        patience.set()


def test_a_slow_start_is_survived():
    patience = threading.Event()

    def answer(request, number):
        if number == 0:
            patience.wait(10)
        return completion("[4]")

    with serving(answer) as stub:
        assert agent_at(stub, timeout_s=0.2).act([VIEW]) == ["[4]"]
        patience.set()


def test_nobody_listening_raises():
    with serving([completion()]) as stub:
        pass
    with pytest.raises(EndpointError, match=f"{stub.url} gave no reply after 2 attempts: Connection error"):
        agent_at(stub, retries=1).act([VIEW])


def test_the_pause_is_the_one_that_the_endpoint_asks_for(monkeypatch):
    with serving([error(429), completion()]) as stub:
        stub.headers["Retry-After"] = "0.3"
        start = time.monotonic()
        agent_at(stub).act([VIEW])
    # Up to half of it is left to chance.
    assert time.monotonic() - start >= 0.15


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2015 07:28:00 GMT", "-1", "nan"])
def test_a_pause_that_cannot_be_read_is_the_usual_one(header):
    with serving([error(429), completion("[4]")]) as stub:
        stub.headers["Retry-After"] = header
        assert agent_at(stub).act([VIEW]) == ["[4]"]


def test_pauses_double_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(openai_agent, "FIRST_DELAY_S", 0.5)
    assert [openai_agent._delay_s(ValueError(), attempt) for attempt in (0, 1, 2, 5, 6, 50)] == [0.5, 1, 2, 16, 30, 30]


@pytest.mark.parametrize(("views", "concurrency"), [(12, 4), (3, 32), (5, 1)])
def test_as_many_requests_as_allowed_run_at_once_and_no_more(views, concurrency):
    together = min(views, concurrency)
    everyone = threading.Barrier(together)

    def answer(request, number):
        # Nobody is answered before all that may come have come.
        everyone.wait(20)
        return completion()

    with serving(answer) as stub:
        # Every wave is as large as the bound, or the barrier would never open.
        agent_at(stub, concurrency=concurrency, timeout_s=30, retries=0).act([VIEW] * (views - views % together))
    assert stub.most_in_flight == together


def test_after_a_failure_no_request_is_begun():
    with serving([error(401)]) as stub, pytest.raises(EndpointError):
        agent_at(stub, concurrency=1).act([VIEW] * 20)
    assert len(stub.requests) == 1


def test_a_failure_ends_the_retries_of_the_others(monkeypatch):
    def answer(request, number):
        return error(401) if "the bad one" in request["messages"][0]["content"] else error(500)

    monkeypatch.setattr(openai_agent, "FIRST_DELAY_S", 20.0)
    start = time.monotonic()
    with serving(answer) as stub, pytest.raises(EndpointError, match="401"):
        agent_at(stub).act([VIEW, VIEW._replace(text="the bad one")])
    assert time.monotonic() - start < 10


def test_a_reply_cut_by_the_length_limit_is_truncated():
    with serving([completion("\\boxed{[4", "length"), completion(None, "length")]) as stub:
        cut, nothing = reply_of(stub), reply_of(stub)
    assert (cut, cut.fault) == ("\\boxed{[4", Fault.TRUNCATED)
    assert (nothing, nothing.fault) == ("", Fault.TRUNCATED)


@pytest.mark.parametrize(
    "answer",
    [
        completion(None, refusal="I cannot play games."),
        completion(None, "content_filter"),
        completion(None, reasoning_content="[4]"),
        completion(""),
        (200, {"choices": [{"message": {"role": "assistant"}}]}),
    ],
)
def test_a_reply_without_text_is_a_malformed_move(answer):
    with serving([answer]) as stub:
        reply = reply_of(stub)
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit(reply)
    assert match.outcome is not None
    assert match.outcome.fault is Fault.MALFORMED


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "too much", code="context_length_exceeded"),
        error(400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
        error(400, "the request exceeds the available context size"),
    ],
)
def test_a_prompt_too_long_for_the_model_is_a_fault(answer):
    with serving([answer]) as stub:
        reply = reply_of(stub)
    assert (reply, reply.fault) == ("", Fault.PROMPT_TOO_LONG)
    assert len(stub.requests) == 1


def test_whole_games_are_played():
    def answer(request, number):
        board = request["messages"][0]["content"].partition("Board:")[2]
        return completion(f"\\boxed{{{next(cell for cell in '012345678' if f' {cell}' in board)}}}")

    with serving(answer) as stub:
        agents = [agent_at(stub, seed=1), make_agent("random", seed=2)]
        episodes = list(play((make_match("tic_tac_toe_v0", seed=seed) for seed in range(10)), agents))
    assert all(episode.outcome.fault is None for episode in episodes)
    assert {episode.agents for episode in episodes} == {(f"openai:m@{stub.url}", "random")}


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("gpt", Endpoint(model="gpt")),
        ("org/m@http://h:8000/v1", Endpoint(model="org/m", url="http://h:8000/v1")),
        ("m@2024@https://h/v1", Endpoint(model="m@2024", url="https://h/v1")),
        ("m:free@http://h", Endpoint(model="m:free", url="http://h")),
        ("m@http://mirror/v1@HTTPS://h/v1", Endpoint(model="m@http://mirror/v1", url="HTTPS://h/v1")),
        ("gpt?temperature=0", Endpoint(model="gpt", temperature=0.0)),
        ("gpt?temperature=.5&top_p=1e-05", Endpoint(model="gpt", temperature=0.5, top_p=0.00001)),
        (
            "m@http://h/v1?temperature=0.6&max_tokens=2048&concurrency=64&timeout_s=1.5&retries=0&send_seed=false",
            Endpoint(
                model="m",
                url="http://h/v1",
                temperature=0.6,
                max_tokens=2048,
                concurrency=64,
                timeout_s=1.5,
                retries=0,
                send_seed=False,
            ),
        ),
    ],
)
def test_endpoints_are_read_and_written(text, endpoint):
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(endpoint.label) == endpoint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "agent 'openai' needs a model: openai:MODEL"),
        ("@http://h/v1", "agent 'openai' needs a model"),
        ("m@localhost:8000/v1", "expected openai:MODEL@URL with URL http://"),
        ("http://h/v1", "expected openai:MODEL@URL"),
        ("m@http://", "cannot read the URL 'http://' of the openai agent: expected http://HOST:PORT/v1"),
        ("m@http://h:port/v1", "cannot read the URL"),
        ("m@http://me:secret@h/v1", "holds a user or password: put the key into OPENAI_API_KEY"),
        ("m?temperature=hot", "option temperature of the openai agent is 'hot': expected a number"),
        ("m?temperature=-1", "option temperature of the openai agent is -1.0: expected a finite number from 0"),
        ("m?temperature=nan", "option temperature of the openai agent is 'nan': expected a number"),
        ("m?temperature=inf", "option temperature of the openai agent is 'inf': expected a number"),
        ("m?temperature=1e999", "option temperature of the openai agent is inf: expected a finite number from 0"),
        ("m?temperature=1_0", "option temperature of the openai agent is '1_0': expected a number"),
        ("m?top_p=%D9%A1", "option top_p of the openai agent is '١': expected a number"),
        ("m?max_tokens=1_0", "option max_tokens of the openai agent is '1_0': expected an integer"),
        ("m?max_tokens=%201", "option max_tokens of the openai agent is ' 1': expected an integer"),
        ("m?concurrency=%D9%A1", "option concurrency of the openai agent is '١': expected an integer"),
        ("m?top_p=0", "option top_p of the openai agent is 0.0: expected more than 0 and at most 1"),
        ("m?max_tokens=1.5", "option max_tokens of the openai agent is '1.5': expected an integer"),
        ("m?max_tokens=0", "option max_tokens of the openai agent is 0: expected at least 1"),
        ("m?concurrency=0", "option concurrency of the openai agent is 0: expected 1 to 1000"),
        ("m?timeout_s=1e5", "option timeout_s of the openai agent is 100000.0: expected more than 0 and at most 86400"),
        ("m?retries=-1", "option retries of the openai agent is -1: expected 0 to 100"),
        ("m?send_seed=yes", "option send_seed of the openai agent is 'yes': expected true or false"),
        ("m?retries=", "option retries of the openai agent is '': expected an integer"),
        ("m?retries=1&retries=2", "option retries of the openai agent is given twice"),
        ("m?temprature=1", "unknown option of the openai agent 'temprature': did you mean temperature"),
    ],
)
def test_what_cannot_be_read_is_refused(text, said):
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        make_agent(f"openai:{text}")
    assert "secret" not in str(raised.value)
    assert isinstance(raised.value, UnknownNameError) == said.startswith("unknown")


@pytest.mark.parametrize("temperature", [math.inf, math.nan, -math.inf, -0.1])
def test_a_temperature_that_json_cannot_say_is_refused(temperature):
    with pytest.raises(ValueError, match=r"option temperature .* expected a finite number from 0"):
        Endpoint(model="m", temperature=temperature)


def test_the_scheme_of_a_url_may_be_in_capitals():
    with serving([completion("[4]")]) as stub:
        assert make_agent(f"openai:m@{stub.url.replace('http', 'HTTP')}").act([VIEW]) == ["[4]"]


def test_openai_itself_needs_a_key():
    with pytest.raises(ValueError, match="agent 'openai:gpt' needs a key in OPENAI_API_KEY, or a server of your own"):
        make_agent("openai:gpt")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "spiral_envs.agents.openai")
    with pytest.raises(MissingExtraError, match=r"pip install 'spiral-selfplay\[agents\]'"):
        make_agent("openai:m@http://h/v1")
