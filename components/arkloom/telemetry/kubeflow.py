"""A stage as a task of a Kubeflow pipeline: what it is given, and the files its page in the UI is made of.

Kubeflow hands a container its *executor input*, a JSON document with parameters, input artifacts and the
places of outputs, and reads metadata of outputs back from ``outputs.outputFile``. An artifact of ours is,
to Kubeflow, a small file: the manifest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arkloom.errors import ArkloomError, BadInputError
from arkloom.jsonl import parse

# Parameters and outputs of our components.
CONFIG, OVERRIDES, SHARE = "config", "overrides", "share"
STORE, ENDPOINT, CHAIN = "store", "endpoint", "chain"
ARTIFACT, METRICS, SUMMARY, PAGE, CLASSIFICATION = "artifact", "metrics", "summary", "page", "classification"
PLUS = "__"  # how a port's "+" is written where only names of Python are allowed: da__pad
# Where Kubeflow's launcher keeps local copies, by the scheme of the artifact's uri.
_COPIES = {"minio://": "/minio/", "s3://": "/s3/", "gs://": "/gcs/"}
_CARD = "README.md"
_PAGES = ("report.html", "decontamination.html")  # what a stage makes for readers


@dataclass(frozen=True)
class Task:
    """One task of a pipeline.

    Attributes:
        parameters: By name.
        inputs: Port -> local file with a manifest.
        outputs: Name -> the artifact as Kubeflow describes it (``uri``, ``type``, ``metadata``).
        told: Where Kubeflow reads the metadata of outputs.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    told: Path | None = None

    @classmethod
    def read(cls, text: str, parts: str = "") -> Task:
        """The task of an executor input.

        Args:
            text: The JSON document.
            parts: What ports begin with that a list of artifacts stands for: ``share-`` for ``shares``.

        Raises:
            BadInputError: It is no executor input.
        """
        try:
            document = parse(text)
            given, made = document.get("inputs") or {}, document.get("outputs") or {}
            inputs = dict(_ports(given.get("artifacts") or {}, parts))
            outputs = {name: dict(_only(name, one)) for name, one in (made.get("artifacts") or {}).items()}
            parameters = dict(given.get("parameterValues") or {})
            told = made.get("outputFile")
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise BadInputError(
                f"not an executor input of Kubeflow ({type(error).__name__}: {error})",
                where="--executor-input",
                mend="Pass {{$}}, which Kubeflow replaces",
            ) from error
        return cls(parameters, inputs, outputs, None if told is None else Path(told))

    def text(self, name: str) -> str:
        """A parameter that is a text; "" where it is not given.

        Raises:
            BadInputError: It is no text.
        """
        value = self.parameters.get(name)
        if value is not None and not isinstance(value, str):
            raise BadInputError(f"{value!r} is no text", where=f"parameter {name}")
        return value or ""

    def texts(self, name: str) -> list[str]:
        """A parameter that is a list of texts; empty where it is not given.

        Raises:
            BadInputError: It is none.
        """
        value = self.parameters.get(name) or []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise BadInputError(f"{value!r} is no list of texts", where=f"parameter {name}")
        return value

    def write(self, name: str, text: str) -> None:
        """Write the file of an output, where the task has one of this name."""
        if name not in self.outputs:
            return
        _write(local(self.outputs[name]["uri"]), text)

    def tell(self, metadata: Mapping[str, Mapping[str, Any]]) -> None:
        """Give outputs their metadata, by name; a name that the task has no output of is passed over.

        Every output is listed: where Kubeflow runs on one machine, one that is not does not exist.
        """
        if self.told is None:
            return
        artifacts = {
            name: {"artifacts": [{**output, "metadata": dict(metadata.get(name, {}))}]}
            for name, output in self.outputs.items()
        }
        _write(self.told, json.dumps({"artifacts": artifacts}, allow_nan=False))


def _write(path: Path, text: str) -> None:
    """Write a file: Kubeflow reads it after us, so no reader meets a half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ArkloomError(f"cannot write ({error.strerror})", where=str(path)) from error


def several(parts: str) -> str:
    """The name of a list of artifacts that are the ports ``share-0``, ``share-1`` …: ``shares``."""
    return f"{parts.rstrip('-')}s"


def overrides(task: Task) -> list[str]:
    """The ``a.b=c`` assignments that a task's parameters name."""
    texts = {"debate.share": SHARE, "store.root": STORE, "store.endpoint": ENDPOINT}
    given = ((path, task.text(name)) for path, name in texts.items())
    return [*task.texts(OVERRIDES), *(f"{path}={value}" for path, value in given if value)]


def part(task: Task) -> str:
    """What a share's node is named by behind the name of the whole: ``-3`` for share ``3/8``."""
    share = task.text(SHARE)
    return f"-{share.partition('/')[0]}" if share else ""


def publish(
    task: Task,
    manifest: Mapping[str, Any],
    read: Callable[[str], str],
    draw: Callable[[str, str, Mapping[str, Any]], str],
) -> None:
    """Tell Kubeflow of an artifact: its manifest, its figures, and what a reader looks at.

    Args:
        task: Whose outputs are written; one without outputs is told nothing.
        manifest: As JSON holds it.
        read: Gives the text of one of the artifact's files.
        draw: Makes a page of a title, a sentence and figures, for artifacts without a page of their own.

    Raises:
        ArkloomError: A file cannot be written, or the store cannot be read.
    """
    if not task.outputs:
        return
    stage, files = manifest["stage"], {entry["path"] for entry in manifest["files"]}
    about = {"store_uri": manifest["uri"], **{name: manifest[name] for name in ("stage", "kind", "key")}}
    lead = f"Absent: {manifest['reason']}" if manifest["reason"] is not None else f"Made: {manifest['kind']}"
    facts = {**manifest["metrics"], "seconds": manifest["seconds"], **about}
    told: dict[str, Mapping[str, Any]] = {ARTIFACT: about, METRICS: figures(manifest["metrics"])}
    if CLASSIFICATION in task.outputs and "report.json" in files:
        told[CLASSIFICATION] = classification(json.loads(read("report.json")).get("reliability") or [])
    task.write(ARTIFACT, json.dumps(manifest, indent=1))
    task.write(SUMMARY, markdown(stage, lead, facts) + (_body(read(_CARD)) if _CARD in files else ""))
    if PAGE in task.outputs:
        page = next((name for name in _PAGES if name in files), None)
        task.write(PAGE, read(page) if page else draw(stage, lead, facts))
    task.tell(told)


def _body(card: str) -> str:
    """A model card without its head, which is for hubs."""
    return "\n" + card.partition("\n---\n")[2].lstrip()


def local(uri: str) -> Path:
    """The local file of an artifact, as Kubeflow's launcher places it; a plain path is itself."""
    for scheme, folder in _COPIES.items():
        if uri.startswith(scheme):
            return Path(folder + uri.removeprefix(scheme))
    return Path(uri.removeprefix("file://"))


def figures(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among a manifest's metrics, flat (``ood.larger``); Kubeflow shows numbers only."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found |= figures(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float) and math.isfinite(value):
            found[f"{prefix}{name}"] = float(value) if isinstance(value, float) else int(value)
    return found


def classification(bins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``system.ClassificationMetrics`` of a score that says whether a step is right.

    Args:
        bins: Of equal width from 0 up: ``low``, ``n`` steps, the share ``right`` of them (None where n is 0).

    Returns:
        A point of the ROC curve a bin's edge and the confusion matrix at a score of one half; nothing
        where all steps are right, or all wrong: there is no curve then.
    """
    right = [each["n"] * (each["right"] or 0.0) for each in bins]
    wrong = [each["n"] - count for each, count in zip(bins, right, strict=True)]
    if not sum(right) or not sum(wrong):
        return {}
    points = [
        {
            "confidenceThreshold": each["low"],
            "recall": sum(right[number:]) / sum(right),
            "falsePositiveRate": sum(wrong[number:]) / sum(wrong),
        }
        for number, each in enumerate(bins)
    ]
    points.append({"confidenceThreshold": 1.0, "recall": 0.0, "falsePositiveRate": 0.0})
    half = next((number for number, each in enumerate(bins) if each["low"] >= 0.5), len(bins))
    rows = [[sum(part[half:]), sum(part[:half])] for part in (right, wrong)]
    names = ("right", "wrong")
    return {
        "confidenceMetrics": points[::-1],
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": name} for name in names],
            "rows": [{"row": [round(count) for count in row]} for row in rows],
        },
    }


def markdown(title: str, lead: str, facts: Mapping[str, Any]) -> str:
    """A heading, a sentence, and a table of names and values."""
    rows = [f"| {_cell(name)} | {_cell(value)} |" for name, value in facts.items()]
    return "\n".join([f"## {title}", "", _cell(lead), "", "| | |", "|---|---|", *rows, ""])


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _ports(given: Mapping[str, Any], parts: str) -> Iterator[tuple[str, Path]]:
    """Ports with the local files of their manifests; an input that is not connected has no artifacts."""
    for name, group in given.items():
        artifacts = group.get("artifacts") or []
        if parts and name == several(parts):
            yield from ((f"{parts}{number}", local(one["uri"])) for number, one in enumerate(artifacts))
        elif artifacts:
            yield name.replace(PLUS, "+"), local(_only(name, group)["uri"])


def _only(name: str, group: Mapping[str, Any]) -> Mapping[str, Any]:
    (one,) = group["artifacts"]
    if not isinstance(one["uri"], str):
        raise TypeError(f"the uri of {name} is no text")
    found: Mapping[str, Any] = one
    return found
