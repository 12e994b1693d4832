"""What happens behind the chain: the verdict is enforced, the run is closed, and somebody is told.

The steps of ``endings.py`` call this in the launcher image.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from arkloom import config as configs
from arkloom.chains.graph import RUN_DOCUMENT
from arkloom.errors import EXIT_FAILURE, ArkloomError, BadInputError, RefusedError
from arkloom.secret import secret
from arkloom.stage import RUN_ID
from arkloom.store import Manifest, Store, open_store

WEBHOOK = "ARKLOOM_WEBHOOK_URL"
ABANDONED_S = 14 * 24 * 3600.0  # work that nobody touched for so long is nobody's to resume
_ANSWER_S, _PATIENCE_S = 20.0, 60.0
_SUCCEEDED = "SUCCEEDED"
_KEPT = ("best_arm", "gain_recovered", "token_ratio", "deliberation_gain")
_ACCURACY = "accuracy_"


@dataclass(frozen=True)
class Ended:
    """How a run ended, as Kubeflow tells its exit handler.

    Attributes:
        run: Its id.
        state: ``SUCCEEDED``, ``FAILED`` or ``CANCELED``.
        failed: Name of the step that failed, or "".
        message: What Kubeflow says of it.
    """

    run: str
    state: str
    failed: str = ""
    message: str = ""


def enforce(gate: Path, store: Store, run: str, *, strict: bool) -> str:
    """What the gate decided, in a line; recorded under the run, whose own steps may all have been cached.

    Args:
        gate: File with the manifest of the gate's artifact.
        store: Where runs are recorded.
        run: Id of the run; "" records nothing.
        strict: A refusal is an error.

    Raises:
        RefusedError: ``strict``, and the gate promotes no arm.
    """
    verdict = Manifest.model_validate_json(gate.read_text(encoding="utf-8"))
    made = {"gate": verdict}
    if (uri := verdict.parent_uris.get("report")) is not None:
        made["evaluate"] = store.manifest(uri)
    for node, manifest in made.items() if run else ():
        store.point(run, node, manifest.model_dump(mode="json", by_alias=True))
    reason = verdict.metrics["reason"]
    if verdict.metrics["promote"]:
        return f"promoted: {reason}"
    if strict:
        raise RefusedError(f"refused: {reason}", where="gate", mend=f"Evaluation: {uri}")
    return f"refused: {reason}"


def close(store: Store, ended: Ended) -> dict[str, Any]:
    """Write the run's own document, by which ``arkloom runs`` lists it; returns it. Needs no listing."""
    document: dict[str, Any] = {"out": "kubeflow", "state": ended.state, "ended": time.time()}
    if (evaluated := store.pointer(ended.run, "evaluate")) is not None:
        figures = evaluated["metrics"]
        document |= {name: figures.get(name) for name in _KEPT}
        document["accuracy"] = {
            name.removeprefix(_ACCURACY): value
            for name, value in figures.items()
            if name.startswith(_ACCURACY)
        }
    if (verdict := store.pointer(ended.run, "gate")) is not None:
        document["gate"] = {name: verdict["metrics"][name] for name in ("promote", "reason")}
    store.point(ended.run, RUN_DOCUMENT, document)
    return document


def clean(store: Store, older_than: float = ABANDONED_S) -> int:
    """Discard work in progress that nobody has touched for long; returns the bytes.

    A run that failed today is left alone: its next try goes on there.
    """
    left = [leftover for leftover in store.leftovers() if leftover.age >= older_than]
    for leftover in left:
        store.discard(leftover)
    return sum(leftover.size for leftover in left)


def message(ended: Ended, document: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a run's end: ``text`` for people (chat systems show it), the rest for programs."""
    outcome = "ended well" if ended.state == _SUCCEEDED else f"ended: {ended.state.lower()}"
    lines = [f"Arkloom run {ended.run or 'without an id'} {outcome}."]
    if ended.state != _SUCCEEDED and (ended.failed or ended.message):
        lines.append(" ".join(f"{ended.failed}: {ended.message}".strip(": ").split()))
    if (gate := document.get("gate")) is not None:
        lines.append(f"Gate: {'promoted' if gate['promote'] else 'refused'}, {gate['reason']}.")
    told = {name: document[name] for name in (*_KEPT, "accuracy", "gate") if name in document}
    return {"text": "\n".join(lines), "run": ended.run, "state": ended.state, **told}


def notify(told: Mapping[str, Any]) -> bool:
    """Send a message to the webhook whose address is a secret; False where there is none.

    Raises:
        ArkloomError: It cannot be reached, or refuses. The address is never part of a message.
    """
    url = secret(WEBHOOK)
    if not url:
        return False
    if not url.startswith(("https://", "http://")):
        raise BadInputError("no web address", where="the webhook", mend="Write https://...")
    body = json.dumps(told, allow_nan=False).encode()
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
        with urllib.request.urlopen(request, timeout=_ANSWER_S):  # noqa: S310 - the same
            return True
    except urllib.request.HTTPError as error:
        raise ArkloomError(f"answers {error.code}", where="the webhook") from None
    except (OSError, HTTPException, ValueError) as error:
        raise ArkloomError(f"cannot be reached ({type(error).__name__})", where="the webhook") from None


def finish(store: Store, ended: Ended) -> list[str]:
    """Close the run, tell of its end, discard what is abandoned; returns what of it failed, a line each.

    One does not need the other: a store that is away must not keep anybody from being told. What cannot be
    discarded, by a policy without listing or deletion, is printed and no fault: a second try would tell
    everybody once more, for nothing.
    """
    document: dict[str, Any] = {}
    faults = []
    try:
        document = close(store, ended) if ended.run else {}
    except ArkloomError as error:
        faults.append(f"close: {error.line()}")
    try:
        notify(message(ended, document))
    except ArkloomError as error:
        faults.append(f"notify: {error.line()}")
    try:
        clean(store)
    except ArkloomError as error:
        print(f"arkloom notify: clean: {error.line()}", file=sys.stderr)
    return faults


def main_enforce(gate: str, config: str, store: str, endpoint: str, *, strict: bool) -> None:
    """The step ``enforce``; ends the process with the code of what went wrong."""
    try:
        print(enforce(Path(gate), _store(config, store, endpoint), os.environ.get(RUN_ID, ""), strict=strict))
    except ArkloomError as error:
        print(f"arkloom enforce: {error.line()}", file=sys.stderr)
        sys.exit(error.exit_code)


def main_notify(status: Any, config: str, store: str, endpoint: str) -> None:
    """The step ``notify``: ends with 1 where something of it failed, which changes no artifact.

    Args:
        status: kfp's ``PipelineTaskFinalStatus``.
        config: The configuration as YAML.
        store: Root of the artifact store.
        endpoint: S3 server of the store.
    """
    failed = "" if status.state == _SUCCEEDED else status.pipeline_task_name or ""
    ended = Ended(os.environ.get(RUN_ID, ""), status.state, failed, status.error_message or "")
    try:
        # The run is over: a server that is away is not waited for as long as work would wait.
        faults = finish(_store(config, store, endpoint, _PATIENCE_S), ended)
    except ArkloomError as error:  # no such store: somebody is told all the same
        faults = [error.line()]
        with suppress(ArkloomError):
            notify(message(ended, {}))
    for fault in faults:
        print(f"arkloom notify: {fault}", file=sys.stderr)
    if faults:
        sys.exit(EXIT_FAILURE)


def _store(config: str, root: str, endpoint: str, patience: float = math.inf) -> Store:
    places = {"store.root": root, "store.endpoint": endpoint}
    given = [f"{path}={place}" for path, place in places.items() if place]
    settings = configs.load(text=config, overrides=given).store
    return open_store(settings.model_copy(update={"patience": min(settings.patience, patience)}))
