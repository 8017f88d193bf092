import pytest
from transcript import FOLDER, transcript, transcript_file
from variants import VARIANTS


@pytest.mark.parametrize("game", VARIANTS)
def test_a_match_reads_word_for_word_as_it_did(game):
    assert transcript(game) == transcript_file(game).read_text(encoding="utf-8")


def test_every_transcript_is_compared():
    assert set(FOLDER.iterdir()) == {transcript_file(game) for game in VARIANTS}
