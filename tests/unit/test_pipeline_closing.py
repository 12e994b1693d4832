"""Behind the chain: a refusal fails the run, the run is closed in the store, and somebody is told."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arkloom.errors import ArkloomError, BadInputError, RefusedError
from arkloom.store import Manifest, Store, open_store
from arkloom_pipelines import closing
from arkloom_pipelines.closing import Ended

Gate = Callable[[bool], Path]
RUN = "7f0c"
FIGURES = {"best_arm": "rsft", "gain_recovered": 0.9, "token_ratio": 0.1, "deliberation_gain": 0.2}
ACCURACY = {"accuracy_base": 0.4, "accuracy_rsft": 0.8}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def published(store: Store, stage: str, metrics: dict[str, Any], **parents: Manifest) -> Manifest:
    workspace = store.workspace(stage, f"{stage}-key")
    (workspace.folder / "file.json").write_text("{}")
    return workspace.publish(stage, parents=parents, metrics=metrics)


@pytest.fixture
def gate(store: Store, tmp_path: Path) -> Gate:
    def decide(promote: bool) -> Path:
        evaluated = published(store, "evaluate", FIGURES | ACCURACY)
        metrics = {"promote": promote, "reason": "rsft +0.4 [0.3, 0.5]"}
        verdict = published(store, "gate", metrics, report=evaluated)
        file = tmp_path / "artifact"
        file.write_text(verdict.model_dump_json(by_alias=True))
        return file

    return decide


def test_a_promotion_passes_and_is_recorded_with_its_evaluation(store: Store, gate: Gate) -> None:
    assert closing.enforce(gate(True), store, RUN, strict=True) == "promoted: rsft +0.4 [0.3, 0.5]"
    assert set(store.pointers(RUN)) == {"gate", "evaluate"}


def test_a_refusal_fails_the_run_only_where_it_shall(store: Store, gate: Gate) -> None:
    assert closing.enforce(gate(False), store, RUN, strict=False).startswith("refused: ")
    with pytest.raises(RefusedError) as caught:
        closing.enforce(gate(False), store, RUN, strict=True)
    assert caught.value.exit_code == 3
    assert "evaluate-key" in caught.value.line(), "the evaluation outlives the refusal"
    assert set(store.pointers(RUN)) == {"gate", "evaluate"}


def test_a_step_ends_with_the_code_of_what_went_wrong(
    store: Store, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        closing.main_enforce(str(gate(False)), "extends: smoke", store.root, "", strict=True)
    assert caught.value.code == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("arkloom enforce: gate: refused: rsft")
    with pytest.raises(SystemExit) as caught:
        closing.main_enforce(str(gate(True)), "extends: smoke", "ftp://no", "", strict=True)
    assert caught.value.code == 2


def test_a_run_is_closed_with_its_figures(store: Store, gate: Gate) -> None:
    closing.enforce(gate(True), store, RUN, strict=True)
    closing.close(store, Ended(RUN, "SUCCEEDED"))
    document = store.pointers(RUN)["run"]
    assert document["accuracy"] == {"base": 0.4, "rsft": 0.8}
    assert {name: document[name] for name in FIGURES} == FIGURES
    assert document["gate"]["promote"] is True
    assert document["state"] == "SUCCEEDED"
    assert document["ended"] <= time.time()


def test_a_run_that_failed_early_is_closed_too_and_listed(store: Store) -> None:
    from arkloom.chains.history import runs_table

    closing.close(store, Ended(RUN, "FAILED", "distil", "step debate failed"))
    assert store.pointers(RUN)["run"]["state"] == "FAILED"
    assert runs_table(store).row_count == 1


def test_only_what_was_abandoned_is_discarded(store: Store) -> None:
    old, young = (store.workspace("debate", name).folder for name in ("old", "young"))
    for folder in (old, young):
        (folder / "half.jsonl").write_text("half")
    long_ago = time.time() - closing.ABANDONED_S - 60
    for path in (*old.rglob("*"), old):
        os.utime(path, (long_ago, long_ago))
    assert closing.clean(store) == 4
    assert not (old / "half.jsonl").exists()
    assert (young / "half.jsonl").exists()


class Webhook:
    """A web server that remembers what it is told and answers as it was told to."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.status = 200
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.told.append(json.loads(body))
                self.send_response(webhook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/s3cret"
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    started = Webhook()
    monkeypatch.setenv(closing.WEBHOOK, started.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield started
    started.server.shutdown()
    started.server.server_close()


def test_the_webhook_is_told_how_the_run_ended(store: Store, gate: Gate, webhook: Webhook) -> None:
    closing.enforce(gate(False), store, RUN, strict=False)
    assert closing.finish(store, Ended(RUN, "FAILED", "distil", "step grpo-pad\n failed")) == []
    (told,) = webhook.told
    assert told["text"].splitlines() == [
        "Arkloom run 7f0c ended: failed.",
        "distil: step grpo-pad failed",
        "Gate: refused, rsft +0.4 [0.3, 0.5].",
    ]
    assert (told["run"], told["state"], told["best_arm"]) == (RUN, "FAILED", "rsft")


def test_a_policy_without_listing_fails_no_run(
    store: Store,
    gate: Gate,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def denied(*_: object) -> None:
        raise BadInputError("the policy allows no listing")

    for name in ("pointers", "leftovers", "runs"):
        monkeypatch.setattr(type(store), name, denied)
    closing.enforce(gate(True), store, RUN, strict=True)
    assert closing.finish(store, Ended(RUN, "SUCCEEDED")) == []
    (told,) = webhook.told
    assert told["gate"]["promote"] is True
    assert store.pointer(RUN, "run") is not None
    assert "clean: the policy allows no listing" in capsys.readouterr().err


def test_the_webhook_is_told_even_where_the_store_is_away(webhook: Webhook, tmp_path: Path) -> None:
    status = SimpleNamespace(state="SUCCEEDED", pipeline_task_name="distil", error_message=None)
    with pytest.raises(SystemExit):
        closing.main_notify(status, "extends: smoke", "ftp://no", "")
    assert [told["state"] for told in webhook.told] == ["SUCCEEDED"]


def test_a_webhook_that_fails_is_told_without_its_address(
    store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARKLOOM_RUN_ID", RUN)
    webhook.status = 500
    status = SimpleNamespace(state="FAILED", pipeline_task_name="distil", error_message="x")
    with pytest.raises(SystemExit) as caught:
        closing.main_notify(status, "extends: smoke", store.root, "")
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert "arkloom notify: notify: the webhook: answers 500" in printed.err
    assert "s3cret" not in printed.err + printed.out
    assert store.pointers(RUN)["run"]["state"] == "FAILED", "the run is closed all the same"


@pytest.mark.parametrize(
    ("url", "kind"), [("ftp://host/s3cret", BadInputError), ("http://127.0.0.1:9/s3cret", ArkloomError)]
)
def test_an_address_that_cannot_be_used_is_no_secret_told(
    url: str, kind: type[ArkloomError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(closing.WEBHOOK, url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(kind) as caught:
        closing.notify({"text": "x"})
    assert "s3cret" not in caught.value.line()


def test_without_a_webhook_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(closing.WEBHOOK, raising=False)
    assert closing.notify({"text": "x"}) is False
