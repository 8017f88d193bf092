"""Single requests to an engine and to a server, with stand-ins for both."""

# The stand-ins are no subclasses.
# pyright: reportArgumentType=false, reportOptionalSubscript=false

import json
import math
import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest
import requests
from requests.adapters import HTTPAdapter

from spiral_trl.requests import EngineRequests, ReplyParameters, ServerRequests, server_errors
from spiral_trl.sampling import GenerationError, Sample

END = 9
"""The token that ends a reply."""

PARAMETERS = ReplyParameters(max_tokens=3)


class Engine:
    """Writes one token a step for each of at most `width` requests: the prompt's last, then ones up by one.

    A reply ends with `END`, or with the length limit of three tokens. Token number n has the log-probability -n/4.
    """

    def __init__(self, *, width=2, finish_reason=None, dies_at=None):
        self.width = width
        self.finish_reason = finish_reason
        self.dies_at = dies_at
        self.llm_engine = self
        self.running = []
        self.names = []
        self.num_steps = 0

    def add_request(self, request_id, prompt, params):
        assert prompt.keys() == {"type", "prompt_token_ids"}
        assert prompt["type"] == "token"
        assert params == "parameters"
        self.names.append(request_id)
        self.running.append((request_id, prompt["prompt_token_ids"][-1], []))

    def step(self):
        self.num_steps += 1
        if self.num_steps == self.dies_at:
            raise OSError("no more")
        for _, first, written in self.running[: self.width]:
            written.append(first + len(written))
        over = [each for each in self.running if each[2] and (each[2][-1] == END or len(each[2]) == 3)]
        self.running = [each for each in self.running if each not in over]
        return [self._result(name, ids) for name, _, ids in over]

    def _result(self, name, ids):
        logprobs = [{token: SimpleNamespace(logprob=-at / 4), 0: None} for at, token in enumerate(ids)]
        reason = self.finish_reason or ("stop" if ids[-1] == END else "length")
        return SimpleNamespace(
            request_id=name, outputs=[SimpleNamespace(token_ids=ids, logprobs=logprobs, finish_reason=reason)]
        )


def engine_requests(**settings):
    engine = Engine(**settings)
    return engine, EngineRequests(engine, "parameters")


def drain(backend):
    """Returns what `finished` returns until nothing is outstanding, call by call."""
    calls = []
    while done := backend.finished():
        calls.append(done)
    return calls


def test_the_engine_is_run_until_a_reply_is_done_and_no_further():
    engine, backend = engine_requests()
    backend.submit(7, [1, 8])
    backend.submit(5, [1, 4])
    # 8 9 is done after two steps, 4 5 6 after three.
    assert backend.finished() == [(7, Sample((8, 9), (0.0, -0.25), is_finished=True))]
    assert engine.num_steps == 2
    assert backend.finished() == [(5, Sample((4, 5, 6), (0.0, -0.25, -0.5), is_finished=False))]
    assert engine.num_steps == 3
    assert backend.finished() == []
    assert engine.num_steps == 3


def test_a_request_that_is_added_while_others_run_gets_its_own_reply():
    engine, backend = engine_requests(width=8)
    backend.submit(0, [9])
    backend.submit(1, [1])
    assert [key for key, _ in backend.finished()] == [0]
    # The key of a request that is over may come again.
    backend.submit(0, [3])
    assert drain(backend) == [
        [(1, Sample((1, 2, 3), (0.0, -0.25, -0.5), is_finished=False))],
        [(0, Sample((3, 4, 5), (0.0, -0.25, -0.5), is_finished=False))],
    ]
    assert len(set(engine.names)) == 3


def test_a_time_limit_of_zero_takes_one_step():
    engine, backend = engine_requests()
    backend.submit(0, [8])
    assert backend.finished(0.0) == []
    assert engine.num_steps == 1
    assert [key for key, _ in backend.finished(0.0)] == [0]


@pytest.mark.parametrize("reason", ["abort", "error", "repetition"])
def test_a_reply_that_the_engine_gave_up_is_no_truncated_one(reason):
    _, backend = engine_requests(finish_reason=reason)
    backend.submit(0, [8])
    with pytest.raises(GenerationError, match=f"finish reason is '{reason}'"):
        backend.finished()


def test_an_error_of_the_engine_that_is_not_its_death_is_raised_as_it_is():
    _, backend = engine_requests(dies_at=1)
    backend.submit(0, [8])
    with pytest.raises(OSError, match="no more"):
        backend.finished()


# -- a server --------------------------------------------------------------------------------------------------------


class Client:
    """TRL's client of a server that repeats the prompt's tokens and ends each reply; `answer` may do otherwise."""

    base_url = "http://127.0.0.1:1"

    def __init__(self, answer=None):
        self.answer = answer or (lambda prompt, number: [*prompt, END])
        self.session = requests.Session()
        self.lock = threading.Lock()
        self.calls = []
        self.in_flight = 0
        self.most_in_flight = 0

    def generate(self, prompts, **arguments):
        (prompt,) = prompts
        with self.lock:
            self.calls.append((prompt, arguments))
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            number = sum(each == prompt for each, _ in self.calls)
        try:
            ids = self.answer(prompt, number)
        finally:
            with self.lock:
                self.in_flight -= 1
        return {"completion_ids": [ids], "logprobs": [[[-at / 4] for at in range(len(ids))]]}


def server_requests(client, **settings):
    given = {"end_ids": [END], "max_in_flight": 4, "pauses_s": (), **settings}
    return ServerRequests(client, given.pop("parameters", PARAMETERS), **given)


def test_every_request_to_a_server_gets_the_reply_to_its_own_prompt():
    def answer(prompt, number):
        # Later ones are done first.
        time.sleep(0.05 if prompt[0] == 0 else 0.0)
        return [*prompt, END]

    client = Client(answer)
    backend = server_requests(client)
    for key in range(20):
        backend.submit(key, [key % 5, key])
    replies = dict(each for call in drain(backend) for each in call)
    assert replies == {key: Sample((key % 5, key, END), (0.0, -0.25, -0.5), is_finished=True) for key in range(20)}
    assert client.most_in_flight == 4
    assert backend.finished() == []


def test_replies_come_as_they_are_done_and_prompts_may_follow_meanwhile():
    slow = threading.Event()
    client = Client(lambda prompt, number: [END] if prompt != [0] or slow.wait(10) else [])
    backend = server_requests(client)
    backend.submit(0, [0])
    for key in range(1, 8):
        backend.submit(key, [key])
        assert backend.finished() == [(key, Sample((END,), (0.0,), is_finished=True))]
    assert backend.finished(0.01) == [], "the slow one is outstanding"
    slow.set()
    assert [key for key, _ in backend.finished()] == [0]


def test_the_arguments_are_those_that_trl_sends():
    generation = SimpleNamespace(
        max_completion_length=3,
        temperature=0.7,
        top_p=0.9,
        top_k=20,
        min_p=None,
        repetition_penalty=1.1,
        structured_outputs_regex="a|b",
        generation_kwargs={"seed": 4},
    )
    client = Client()
    backend = server_requests(client, parameters=ReplyParameters.of(generation))
    backend.submit(0, (1, 2))
    backend.finished()
    assert client.calls == [
        (
            [1, 2],
            {
                "n": 1,
                "max_tokens": 3,
                "temperature": 0.7,
                "top_p": 0.9,
                "top_k": 20,
                "min_p": 0.0,
                "repetition_penalty": 1.1,
                "logprobs": 0,
                "structured_outputs_regex": "a|b",
                "generation_kwargs": {"seed": 4},
            },
        )
    ]


@pytest.mark.parametrize("name", ["n", "max_tokens", "logprobs", "stop", "stop_token_ids"])
def test_options_that_change_what_a_reply_is_are_refused(name):
    with pytest.raises(ValueError, match=f"generation_kwargs has {name}: "):
        ReplyParameters(max_tokens=3, options={name: 2, "seed": 1})


def test_a_reply_of_the_longest_length_without_an_end_is_unfinished_and_nan_is_no_log_probability():
    client = Client(lambda prompt, number: [1, 2, 3])
    backend = server_requests(client)
    backend.submit(0, [1])
    assert backend.finished() == [(0, Sample((1, 2, 3), (0.0, -0.25, -0.5), is_finished=False))]

    unknown = Client()
    unknown.generate = lambda prompts, **_: {"completion_ids": [[END]], "logprobs": [[[None]]]}
    backend = server_requests(unknown)
    backend.submit(0, [1])
    [(_, sample)] = backend.finished()
    assert math.isnan(sample.logprobs[0])


def test_a_request_is_sent_again_after_an_error_of_the_network_and_after_a_broken_off_reply():
    def answer(prompt, number):
        if number == 1:
            raise requests.ConnectionError("refused")
        return [1] if number == 2 else [END]

    client = Client(answer)
    backend = server_requests(client, pauses_s=(0.0, 0.0))
    for key in range(6):
        backend.submit(key, [key])
    assert sorted(key for call in drain(backend) for key, _ in call) == list(range(6))
    assert Counter(prompt[0] for prompt, _ in client.calls) == dict.fromkeys(range(6), 3)


def test_a_server_that_stays_away_ends_in_one_sentence_after_all_pauses():
    def answer(prompt, number):
        raise requests.ConnectionError("refused")

    client = Client(answer)
    backend = server_requests(client, pauses_s=(0.05, 0.1))
    started = time.monotonic()
    backend.submit(0, [0])
    with pytest.raises(GenerationError) as caught:
        backend.finished()
    assert str(caught.value) == "the vLLM server at http://127.0.0.1:1 does not answer any more: refused"
    assert len(client.calls) == 3
    assert 0.15 <= time.monotonic() - started < 5


def test_after_an_error_no_request_is_sent_and_no_thread_waits_on():
    def answer(prompt, number):
        if prompt == [0]:
            raise ArithmeticError("a bug")
        raise requests.ConnectionError("refused")

    client = Client(answer)
    backend = server_requests(client, max_in_flight=2, pauses_s=(60.0,))
    before = set(threading.enumerate())
    backend.submit(1, [1])
    backend.submit(0, [0])
    for key in range(2, 9):
        backend.submit(key, [key])
    # A bug is not taken for a server that is gone.
    with pytest.raises(ArithmeticError, match="a bug"):
        backend.finished()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), "its pause of a minute has been cut short"
    assert len(client.calls) < 9


def test_a_refused_request_is_not_sent_again():
    def answer(prompt, number):
        # What TRL raises on any status but 200.
        raise Exception("Request failed: 400, too long")  # noqa: TRY002

    client = Client(answer)
    backend = server_requests(client, pauses_s=(0.0, 0.0))
    backend.submit(0, [0])
    with pytest.raises(GenerationError, match="refused a request: Request failed: 400, too long"):
        backend.finished()
    assert len(client.calls) == 1


def test_a_server_that_never_answers_is_given_up():
    never = threading.Event()
    client = Client(lambda prompt, number: [END] if never.wait(20) else [])
    backend = server_requests(client, reply_timeout_s=0.05)
    backend.submit(0, [0])
    with pytest.raises(GenerationError, match=r"has sent no reply for 0\.05 s"):
        backend.finished()
    never.set()


def test_a_server_that_is_gone_while_its_connections_stay_open_is_found_out():
    never = threading.Event()
    # Nothing listens at the address of the stand-in.
    client = Client(lambda prompt, number: [END] if never.wait(20) else [])
    backend = server_requests(client, health_every_s=0.02)
    backend.submit(0, [0])
    started = time.monotonic()
    with pytest.raises(GenerationError, match=r"does not answer any more: .*refused"):
        backend.finished()
    assert time.monotonic() - started < 5
    never.set()


def test_the_check_comes_when_nothing_is_outstanding_and_before_the_last_reply():
    checks = []

    def check():
        checks.append(len(client.calls))
        if len(checks) == 2:
            raise GenerationError("restarted")

    client = Client()
    backend = server_requests(client, check=check, max_in_flight=1)
    for key in range(3):
        backend.submit(key, [key])
    assert sorted(key for call in drain(backend) for key, _ in call) == [0, 1, 2]
    assert checks == [3]
    backend.submit(3, [3])
    with pytest.raises(GenerationError, match="restarted"):
        backend.finished()


def test_the_session_gets_room_for_all_connections_and_keeps_trls_retries():
    client = Client()
    client.session.mount("http://", HTTPAdapter(max_retries=5, pool_maxsize=64))
    server_requests(client, max_in_flight=300)
    adapter = client.session.get_adapter(client.base_url + "/v1/completions")
    assert isinstance(adapter, HTTPAdapter)
    assert adapter.max_retries.total == 5
    assert adapter.poolmanager.connection_pool_kw["maxsize"] == 300


def test_errors_of_the_network_are_told_from_those_of_the_program():
    with pytest.raises(GenerationError, match="does not answer any more: out"), server_errors("http://a"):
        raise requests.Timeout("out")
    with pytest.raises(KeyError), server_errors("http://a"):
        json.loads("{}")["missing"]
