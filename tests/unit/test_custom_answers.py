"""The example's answer type: what it accepts, and what hostile code gets from it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from arkloom import answers, problems
from arkloom.config import ProblemsConfig
from arkloom.errors import BadInputError

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_task"
TYPE = "code_answers:CODE"
TESTS = "add(2, 3) -> 5\nadd(0, 0) -> 0"
LIMIT = 10.0  # seconds; the example's own limit is 4, the rest is for a busy machine

ANSWERS = {
    "right": ("def add(a, b):\n    return a + b", 1.0),
    "right and talkative": ("def add(a, b):\n    print('[]', a)\n    return a + b", 1.0),
    "wrong": ("def add(a, b):\n    return a - b", 0.5),
    "another type": ("def add(a, b):\n    return str(a + b)", 0.0),
    "another name": ("def plus(a, b):\n    return a + b", 0.0),
    "not Python": ("def add(a, b:", 0.0),
    "a zero byte": ("def add(a, b):\n    return a + b\0", 0.0),
    "too deep": ("(" * 100_000, 0.0),
    "raises": ("def add(a, b):\n    raise ValueError", 0.0),
    "ends the process": ("raise SystemExit(0)", 0.0),
    "prints a verdict": ('def add(a, b):\n    print(\'["5", "0"]\')\n    return 1', 0.0),
    "writes a verdict past the print": (
        'import os\ndef add(a, b):\n    os.write(1, b\'["4", "4"]\')\n    os._exit(0)',
        0.0,
    ),
    "answers are equal to everything": (
        "class Any:\n    __eq__ = lambda self, other: True\ndef add(a, b):\n    return Any()",
        0.0,
    ),
    "never ends": ("def add(a, b):\n    while True:\n        pass", 0.0),
    "sleeps": ("import time\ndef add(a, b):\n    time.sleep(600)", 0.0),
    "takes all memory": ("def add(a, b):\n    return len('x' * (1 << 33))", 0.0),
    "floods": ("import os\ndef add(a, b):\n    while True:\n        os.write(1, b'x' * 4096)", 0.0),
}


@pytest.fixture(autouse=True)
def example_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))


@pytest.mark.parametrize("name", ANSWERS)
def test_scores(name: str) -> None:
    code, expected = ANSWERS[name]
    begin = time.monotonic()
    assert answers.score(code, TESTS, TYPE) == expected
    assert answers.grade(code, TESTS, TYPE) is (expected == 1.0)
    assert time.monotonic() - begin < LIMIT


def test_code_sees_no_environment_and_starts_in_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "1")
    code = "import os\ndef seen():\n    return ('SECRET_TOKEN' in os.environ, os.listdir())"
    assert answers.grade(code, "seen() -> (False, [])", TYPE)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Try:\n```python\nx = 1\n```\nno:\n```python\nx = 2\n```", "x = 2"),
        ("```\nx = 3\n```", "x = 3"),
        ("x = 4", None),
        ("```python\nx = 5", None),
        ("```python\n\n```", None),
    ],
)
def test_extract(text: str, answer: str | None) -> None:
    assert answers.extract(text, TYPE) == answer


def test_a_vote_joins_what_differs_in_spacing_alone() -> None:
    spoken = ["def f():\n  return 1", "def f():\n    return 1", None, "def f():\n    return 2"]
    assert answers.classes(spoken, TYPE) == [[0, 1], [3]]


def test_the_problems_of_the_example_are_read(tmp_path: Path) -> None:
    config = ProblemsConfig(
        source="csv",
        path=str(EXAMPLE / "problems.csv"),
        columns={"question": "task", "gold": "tests"},
        answer_type=TYPE,
        train=6,
        validation=2,
        test=4,
    )
    assert len(problems.draw(config).train) == 6
    broken = tmp_path / "problems.csv"
    broken.write_text('task,tests\nWrite f.,f() -> 1\nWrite g.,"g() -> 1\ng() is 2"\n')
    with pytest.raises(BadInputError, match=r"problems\.csv line 3 field gold: wrong gold type.*g\(\) is 2"):
        problems.draw(config.model_copy(update={"path": str(broken)}))
