"""From a model's name to its folder."""

from __future__ import annotations

import pytest

from arkloom.engines.models import model_folder
from arkloom.errors import BadInputError
from arkloom.tiny import weights


def test_tiny_is_the_shipped_folder():
    assert model_folder("tiny") == weights()


def test_a_complete_folder_is_itself(tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    assert model_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("present", "message"),
    [
        ((), "model folder without config.json"),
        (("config.json",), "model folder without tokenizer"),
        (("tokenizer.json",), "model folder without config.json"),
    ],
)
def test_an_incomplete_folder_is_bad_input(tmp_path, present, message):
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(BadInputError, match=message):
        model_folder(str(tmp_path))


def test_no_such_folder_is_bad_input(tmp_path):
    with pytest.raises(BadInputError, match="no model"):
        model_folder(str(tmp_path / "nowhere"))
