"""Finding answer types: built in, registered, by reference; and a user's own in a few lines."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from arkloom.answers import classes, extract, get, grade, instruction, names, register, version
from arkloom.answers.registry import BUILT_IN, GROUP
from arkloom.errors import BadInputError


class Parity:
    """A user's own type: even or odd."""

    name, version, threshold = "parity", "3", 1.0

    def extract(self, text: str) -> str | None:
        return next((word for word in text.split() if word in ("even", "odd")), None)

    def score(self, answer: str, gold: str) -> float:
        return 1.0 if answer == gold else 0.0

    def same(self, a: str, b: str) -> bool:
        return a == b


class Faulty(Parity):
    name = "faulty"

    def extract(self, text: str) -> str | None:
        raise RuntimeError("two\nlines")

    def score(self, answer: str, gold: str) -> float:
        return 7.0


PARITY = Parity()


def test_a_types_own_methods_are_all_that_is_used():
    register(PARITY)
    assert extract("it is odd", "parity") == "odd"
    assert grade("odd", "odd", "parity")
    assert not grade("odd", "even", "parity")
    assert classes(["odd", None, "even", "odd"], "parity") == [[0, 3], [2]]
    assert version("parity") == "parity@3"
    assert instruction("parity") == ""
    assert "parity" in names()


@pytest.mark.parametrize("attribute", ["PARITY", "Parity"])
def test_by_reference(attribute: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert get(f"{Path(__file__).stem}:{attribute}").name == "parity"


def test_a_fault_in_a_users_type_is_one_clear_line():
    register(Faulty())
    with pytest.raises(BadInputError) as raised:
        extract("x", "faulty")
    assert raised.value.line() == "answer type faulty: its extract() failed with RuntimeError: two lines"
    with pytest.raises(BadInputError, match=r"7\.0, which is not within"):
        grade("odd", "odd", "faulty")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numbr", 'unknown answer type "numbr". Did you mean "number"?'),
        ("zzz", 'unknown answer type "zzz". Known: '),
        ("no_such_module_here:X", "cannot be imported"),
        ("arkloom.answers.number:NOPE", "has no NOPE"),
        ("arkloom.errors:EXIT_DONE", "lacks name, version, threshold"),
    ],
)
def test_unknown_types(name: str, message: str):
    with pytest.raises(BadInputError) as raised:
        get(name)
    assert message in raised.value.line()


def test_an_incomplete_type_is_refused():
    with pytest.raises(BadInputError, match="lacks version, threshold, extract, score, same"):
        register(type("Half", (), {"name": "half"})())  # type: ignore[arg-type]


def test_built_in_types_are_the_declared_entry_points():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["entry-points"][GROUP] == BUILT_IN
    installed = {point.name: point.value for point in entry_points(group=GROUP)}
    assert {name: installed[name] for name in BUILT_IN} == BUILT_IN
    assert all(get(name).name == name for name in BUILT_IN)
    assert all(instruction(name) for name in BUILT_IN)
