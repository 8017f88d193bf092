"""What is asked of a server before training, against a stub of one on this machine."""

import json
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from spiral_envs import MissingExtraError
from spiral_trl.sampling import GenerationError
from spiral_trl.serving import ServerFacts, WeightMark, check_server

CONFIG = {
    "model_config": {"model": "some/model", "max_model_len": 4096, "logprobs_mode": "processed_logprobs"},
    "weight_transfer_config": {"backend": "nccl"},
}


@pytest.fixture(autouse=True)
def _without_a_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


class Stub:
    """A server of the pages that self-play reads.

    Attributes:
        pages: The body of each page; a page that is not there is status 404.
        num_unwell: How often `/health` is 503 before it is 200.
        goes_away_at: A page that gets no answer.
        asked: The paths that were asked for.
    """

    def __init__(self, *, version="0.31.0", config=CONFIG, num_unwell=0, goes_away_at=None):
        self.pages = {"/version": {"version": version}, "/weight_info": {"weight_version": "default"}}
        if config is not None:
            self.pages["/server_info?config_format=json"] = {"vllm_config": config}
        self.num_unwell = num_unwell
        self.goes_away_at = goes_away_at
        self.asked = []

    def restart(self):
        self.pages["/weight_info"] = {"weight_version": "default"}


@contextmanager
def serving(stub):
    """Context in which `stub` is served; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            stub.asked.append(self.path)
            if self.path == "/health":
                stub.num_unwell -= 1
                self.reply(503 if stub.num_unwell >= 0 else 200, b"")
            elif self.path == stub.goes_away_at:
                self.close_connection = True
            elif self.path in stub.pages:
                self.reply(200, json.dumps(stub.pages[self.path]).encode())
            else:
                self.reply(404, b'{"detail":"Not Found"}')

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/update_weight_version"
            stub.pages["/weight_info"] = {"weight_version": body["new_version"]}
            self.reply(200, b'{"success": true}')

        def reply(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):  # noqa: A002 - the name is the base class's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_that_is_up_tells_what_it_is_without_a_wait():
    with serving(Stub(version="0.31.2")) as url:
        started = time.monotonic()
        facts = check_server(f"{url}/", timeout_s=0, installed_version="0.31.0+cpu")
        assert facts == ServerFacts(version="0.31.2", model="some/model", max_model_len=4096)
        assert time.monotonic() - started < 0.9, "no pause"


def test_a_server_of_another_minor_version_is_refused_with_both_versions():
    with serving(Stub(version="0.30.1")) as url, pytest.raises(ValueError, match="is version") as caught:
        check_server(url, timeout_s=0, installed_version="0.31.0+cpu")
    assert str(caught.value) == (
        f"the vLLM server at {url} is version 0.30.1, this environment has 0.31.0+cpu: weights are handed over between"
        " equal minor versions only, so install vllm==0.31.* for the server"
    )


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (None, "runs without its development endpoints: start it with VLLM_SERVER_DEV_MODE=1 vllm serve"),
        ({**CONFIG, "weight_transfer_config": None}, "cannot take over new weights: start it with .*nccl"),
        (
            {**CONFIG, "model_config": {**CONFIG["model_config"], "logprobs_mode": "raw_logprobs"}},
            "reports log-probabilities as raw_logprobs: start it with .*--logprobs-mode processed_logprobs",
        ),
    ],
)
def test_a_server_that_was_started_without_what_training_needs_is_refused(config, what):
    with serving(Stub(config=config)) as url, pytest.raises(ValueError, match=f"the vLLM server at {url} {what}"):
        check_server(url, timeout_s=0, installed_version="0.31.0")


def test_a_server_that_is_never_up_is_given_up_in_time():
    with serving(Stub()) as url:
        pass  # Nothing listens there afterwards.
    started = time.monotonic()
    with pytest.raises(
        ConnectionError, match=rf"no vLLM server answers at {url} after 1\.2 s \(.*refused\): start one"
    ):
        check_server(url, timeout_s=1.2, installed_version="0.31.0")
    assert time.monotonic() - started < 5


def test_a_server_that_is_still_starting_is_waited_for():
    stub = Stub(num_unwell=1)
    with serving(stub) as url:
        assert check_server(url, timeout_s=20, installed_version="0.31.0").version == "0.31.0"
    assert stub.asked[:3] == ["/health", "/health", "/version"]


def test_what_is_no_vllm_server_is_named():
    stub = Stub()
    del stub.pages["/version"]
    with serving(stub) as url, pytest.raises(ValueError, match=f"at {url} has no page /version: is it `vllm serve`"):
        check_server(url, timeout_s=0, installed_version="0.31.0")


@pytest.mark.parametrize("page", [{"name": "something else"}, ["0.31.0"], {"version": None}, "0.31.0", None])
def test_another_server_with_a_page_of_that_name_is_refused(page):
    stub = Stub()
    stub.pages["/version"] = page
    with serving(stub) as url, pytest.raises(ValueError, match="/version as vLLM does not: is it `vllm serve`"):
        check_server(url, timeout_s=0, installed_version="0.31.0")


@pytest.mark.parametrize("config", [[], {"model_config": {}}, {**CONFIG, "model_config": None}])
def test_a_server_that_describes_itself_otherwise_is_refused(config):
    with serving(Stub(config=config)) as url, pytest.raises(ValueError, match="/server_info as vLLM does not"):
        check_server(url, timeout_s=0, installed_version="0.31.0")


def test_a_server_that_goes_away_while_it_is_asked_is_named():
    stub = Stub(goes_away_at="/server_info?config_format=json")
    with (
        serving(stub) as url,
        pytest.raises(ConnectionError, match=f"the vLLM server at {url} gave no answer to /serv"),
    ):
        check_server(url, timeout_s=0, installed_version="0.31.0")


def test_without_vllm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with serving(Stub()) as url, pytest.raises(MissingExtraError, match=r"spiral-selfplay\[vllm\]"):
        check_server(url, timeout_s=0)


def test_a_mark_lasts_until_the_server_is_restarted():
    stub = Stub()
    with serving(stub) as url:
        mark = WeightMark(url)
        mark.check()
        mark.check()
        stub.restart()
        with pytest.raises(GenerationError, match=f"server at {url} was restarted and has lost the trained weights"):
            mark.check()
        WeightMark(url).check()


def test_a_mark_cannot_be_checked_when_the_server_is_gone():
    with serving(Stub()) as url:
        mark = WeightMark(url)
    with pytest.raises(GenerationError, match=f"the vLLM server at {url} gave no answer to /weight_info: .*refused"):
        mark.check()
    with pytest.raises(GenerationError, match=f"the vLLM server at {url} gave no answer to /update_weight_version"):
        WeightMark(url)
