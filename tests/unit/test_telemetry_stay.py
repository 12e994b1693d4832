"""A stage's last figures are seen: where it is asked to, its end waits for one more look, and no longer."""

from __future__ import annotations

import threading
import urllib.request

import pytest
from ports import free_port

from arkloom.errors import BadInputError
from arkloom.telemetry import Events, metrics
from arkloom.telemetry.serving import STAY, served

LABELS = {"run_id": "r-1", "stage": "gate", "node": "gate"}


def look(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


@pytest.fixture
def verdict() -> None:
    metrics.GATE_PROMOTE.set(float("nan"))


@pytest.mark.usefixtures("verdict")
def test_the_end_waits_for_a_look_and_the_look_sees_the_last_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STAY, "60")
    port, over, begun = free_port(), threading.Event(), threading.Event()

    def work() -> None:
        with served(port, LABELS, Events()):
            begun.set()
            metrics.GATE_PROMOTE.set(1)
        over.set()

    stage = threading.Thread(target=work)
    stage.start()
    assert begun.wait(10)
    assert not over.wait(0.3)
    assert 'arkloom_gate_promote{node="gate",run_id="r-1",stage="gate"} 1.0' in look(port)
    assert over.wait(30)
    stage.join()


@pytest.mark.usefixtures("verdict")
@pytest.mark.parametrize("given", ["", "0", "-1", "0.05"])
def test_nobody_is_waited_for_longer_than_asked(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STAY, given)
    over = threading.Event()

    def work() -> None:
        with served(free_port(), LABELS, Events()):
            pass
        over.set()

    threading.Thread(target=work, daemon=True).start()
    assert over.wait(30)


@pytest.mark.usefixtures("verdict")
def test_work_that_failed_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STAY, "3600")
    with pytest.raises(KeyError), served(free_port(), LABELS, Events()):
        raise KeyError("failed")


def test_what_is_no_number_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STAY, "soon")
    with pytest.raises(BadInputError, match="soon"), served(free_port(), LABELS, Events()):
        pytest.fail("the work began")
