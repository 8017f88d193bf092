"""The tokenizer and the warm tiny model, made once a session."""

import pytest
from scripted import make_tokenizer, save_warm_model


@pytest.fixture(scope="session")
def tokenizer():
    """A small tokenizer without a chat template."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def warm_folder(tokenizer, tmp_path_factory):
    """A folder with a tiny model that mostly plays legal moves of Kuhn poker and tic-tac-toe, and its tokenizer."""
    folder = tmp_path_factory.mktemp("warm") / "model"
    save_warm_model(tokenizer, folder)
    return folder
