"""The agent behind an OpenAI-compatible endpoint, against a server of our own on this machine."""

import copy
import json
import math
import pickle
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from stub_openai_server import completion, error, quick_and_alone, serving

from spiral_envs import Fault, MissingExtraError, Reply, UnknownNameError, make_agent, make_match, play
from spiral_envs.agents import EndpointError
from spiral_envs.agents import openai as openai_agent
from spiral_envs.agents.openai import Endpoint, OpenAIAgent, parse_endpoint
from spiral_envs.match import Usage
from spiral_envs.prompts import boxed_cot

VIEW = make_match("tic_tac_toe_v0", seed=0).view(0)


@pytest.fixture(autouse=True)
def alone_with_the_server(monkeypatch):
    """No long pauses, and neither a key nor a proxy of whoever runs the tests."""
    quick_and_alone(monkeypatch)


def reply_of(stub, **options):
    (reply,) = agent_at(stub, **options).act([VIEW])
    assert isinstance(reply, Reply)
    return reply


def agent_at(stub, *, seed=0, **options):
    return OpenAIAgent(Endpoint(model="m", url=stub.url, **options), seed=seed)


def test_a_reply_answers_the_prompt_of_the_view():
    with serving([completion("I take the middle: \\boxed{[4]}", refusal=None)]) as stub:
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


def test_one_request_sends_the_seed_that_it_is_given_whatever_was_asked_before():
    with serving([completion("[4]")]) as stub:
        agent = agent_at(stub, seed=1)
        assert [agent.ask(VIEW, seed=seed) for seed in (7, 8, 7, 2**70)] == ["[4]"] * 4
        assert agent_at(stub, seed=2).ask(VIEW, seed=7) == "[4]"
    first, second, *again = [request["seed"] for _, request in stub.requests]
    assert first != second
    assert (again[0], again[2]) == (first, first)
    assert agent.concurrency == 32


def test_any_thread_may_ask():
    with serving(lambda request, number: completion(request["messages"][0]["content"].partition("view ")[2])) as stub:
        agent = agent_at(stub, concurrency=5)
        views = [VIEW._replace(text=f"view {number} ") for number in range(24)]
        with ThreadPoolExecutor(agent.concurrency) as pool:
            replies = list(pool.map(lambda view: agent.ask(view, seed=0), views))
    assert [int(reply.split()[0]) for reply in replies] == list(range(24))


def test_who_asks_can_end_the_pauses(monkeypatch):
    monkeypatch.setattr(openai_agent, "FIRST_DELAY_S", 20.0)
    stop = threading.Event()

    def answer(request, number):
        stop.set()
        return error(500)

    start = time.monotonic()
    with serving(answer) as stub:
        with pytest.raises(EndpointError, match="gave no reply after 1 attempt: Error code: 500"):
            agent_at(stub).ask(VIEW, seed=0, stop=stop)
        with pytest.raises(EndpointError, match=r"model 'm' at .* was not asked: stopped"):
            agent_at(stub).ask(VIEW, seed=0, stop=stop)
    assert len(stub.requests) == 1
    assert time.monotonic() - start < 10


def counted(usage):
    status, body = completion("[4]")
    return status, {**body, "usage": usage}


def test_a_reply_knows_what_it_took():
    with serving([counted({"prompt_tokens": 210, "completion_tokens": 33, "total_tokens": 243})]) as stub:
        reply = reply_of(stub)
    assert (reply, reply.fault, reply.usage) == ("[4]", None, Usage(prompt_tokens=210, completion_tokens=33))
    for same in (copy.copy(reply), copy.deepcopy(reply), pickle.loads(pickle.dumps(reply))):
        assert isinstance(same, Reply)
        assert (same, same.fault, same.usage) == (reply, None, (210, 33))


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "many",
        3,
        {"prompt_tokens": 3},
        {"prompt_tokens": 3, "completion_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 1.5, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": "3", "completion_tokens": 2},
    ],
)
def test_counts_that_cannot_be_relied_on_are_no_counts(usage):
    with serving([counted(usage)]) as stub:
        reply = reply_of(stub)
    assert (reply, reply.usage) == ("[4]", None)
    assert len(stub.requests) == 1


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_beside_the_reply_is_kept_in_front_of_it(field):
    with serving([completion("I take \\boxed{[4]}", **{field: "[0]? No.\nThe middle."})]) as stub:
        reply = reply_of(stub)
    assert reply == "<think>[0]? No.\nThe middle.</think>\nI take \\boxed{[4]}"
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit(reply)
    assert [(turn.move, turn.response) for turn in match.turns] == [("[4]", reply)]


@pytest.mark.parametrize("reasoning", [None, "", " \n", 7, ["[0]"]])
def test_reasoning_that_is_no_text_is_left_out(reasoning):
    with serving([completion("[4]", reasoning_content=reasoning)]) as stub:
        assert reply_of(stub) == "[4]"


REASONINGS = [
    "x",
    "[0]",
    "\\boxed{[0]}",
    "</think>\\boxed{[0]}",
    "</think> [0] <think>",
    "<think>",
    "<think></think>[0]",
    "</think></think>[0]",
    "</thi</think>nk>[0]",
    "</think",
    "[0",
    "\\boxed{",
]

CONTENTS = [
    "[4]",
    " [4]\n",
    "4",
    "I take \\boxed{4}",
    "[1], no: [4]",
    "<think>[1]</think>[4]",
    "[1]</think>[4]",
    "\\boxed{1}</think>4",
    "\\boxed{1} <think> 4",
    "</think>",
    ">[4]",
    "]",
    "}",
    "",
    "[9]",
    "nothing",
]


def ending(reply, game="tic_tac_toe_v0"):
    match = make_match(game, seed=0)
    match.submit(reply)
    (turn,) = match.turns
    return turn.move, turn.fault


@pytest.mark.parametrize("reasoning", REASONINGS)
@pytest.mark.parametrize("content", CONTENTS)
def test_no_reasoning_changes_what_the_reply_plays(reasoning, content):
    message = {"message": {"content": content, "reasoning_content": reasoning}}
    reply = openai_agent._read_completion(json.dumps({"choices": [message]}), VIEW)
    assert ending(reply) == ending(content)


def test_a_bare_move_without_brackets_stays_alone():
    view = VIEW._replace(legal_moves=("e2e4", "[a] [b]", "[c]"))
    for content, is_marked in (("e2e4", False), ("[a] [b]", False), ("[c]", True), ("I play e2e4", True)):
        assert openai_agent._with_reasoning("hm", content, view).startswith("<think>hm</think>") == is_marked


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
    # It was turned away, which takes nothing: a budget of tokens can be kept.
    assert (reply, reply.fault, reply.usage) == ("", Fault.PROMPT_TOO_LONG, (0, 0))
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5100 tokens",
        "max_tokens is too large: 5000. This model's maximum context length is 4,096 tokens",
        "the request exceeds the available context size (4096 tokens), try increasing it",
    ],
)
def test_a_reply_limit_that_leaves_no_room_for_a_prompt_is_not_the_players_fault(said):
    with serving([error(400, said)]) as stub:
        assert reply_of(stub, max_tokens=4095).fault is Fault.PROMPT_TOO_LONG
        with pytest.raises(EndpointError, match=r"4,?096"):
            reply_of(stub, max_tokens=4096)


def test_a_reply_that_the_endpoints_filter_has_cut_is_not_the_players_fault():
    with (
        serving([completion("\\boxed{[4]}", "content_filter", usage=(50, 5))]) as stub,
        pytest.raises(EndpointError, match="content filter has cut the reply") as raised,
    ):
        reply_of(stub, retries=1)
    assert raised.value.usage == (100, 10)


def test_what_useless_answers_took_is_counted_with_the_reply():
    answers = [
        (200, {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 0}}),
        error(500),
        completion("[4]", usage=(50, 5)),
    ]
    with serving(answers) as stub:
        assert reply_of(stub).usage == (100, 5)


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
