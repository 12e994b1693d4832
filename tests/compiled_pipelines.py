"""A compiled Kubeflow pipeline, read as its backend does: tasks of all groups, edges, what runs where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

_REFERENCE = re.compile(r"\$\.inputs\.parameters\['(.+?)'\]")


def documents(text: str) -> list[dict[str, Any]]:
    """YAML documents, read in C where this machine can."""
    return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@dataclass(frozen=True)
class CompiledTask:
    """One task: its specification, the group it stands in, what is started and what Kubernetes is told."""

    name: str
    group: str
    spec: Mapping[str, Any]
    container: Mapping[str, Any]
    kubernetes: Mapping[str, Any]

    @property
    def resources(self) -> dict[str, str]:
        """Resource -> the pipeline's parameter that it comes from, or the value."""
        found = self.container.get("resources", {})
        given = {name: _parameter(value) for name, value in found.items() if name.startswith("resource")}
        return given | {name: _parameter(value) for name, value in found.get("accelerator", {}).items()}


@dataclass(frozen=True)
class CompiledPipeline:
    """The two documents of a compiled pipeline."""

    pipeline: Mapping[str, Any]
    platform: Mapping[str, Any]

    @classmethod
    def read(cls, text: str) -> CompiledPipeline:
        pipeline, platform = documents(text)
        return cls(pipeline, platform)

    @property
    def parameters(self) -> dict[str, Any]:
        """The pipeline's own, by name."""
        return dict(self.pipeline["root"]["inputDefinitions"]["parameters"])

    @cached_property
    def groups(self) -> dict[str, Mapping[str, Any]]:
        """Every group of tasks by the name of its component, ``root`` among them."""
        components = self.pipeline["components"]
        return {"root": self.pipeline["root"]} | {
            name: component for name, component in components.items() if "dag" in component
        }

    @cached_property
    def tasks(self) -> dict[str, CompiledTask]:
        """Every task that starts a container, by name."""
        found = {}
        for group, component in self.groups.items():
            for name, spec in component["dag"]["tasks"].items():
                label = self.pipeline["components"][spec["componentRef"]["name"]].get("executorLabel")
                if label is not None:
                    assert name not in found
                    found[name] = CompiledTask(
                        name, group, spec, self._container(label), self._platform(label)
                    )
        return found

    def edges(self) -> Iterator[tuple[str, str, str]]:
        """(producer, consumer, input), where a loop's list is ``(share's task, consumer, input)``."""
        for task in self.tasks.values():
            for port, source in task.spec.get("inputs", {}).get("artifacts", {}).items():
                yield self._producer(task.group, source), task.name, port

    def dangling(self) -> Iterator[str]:
        """Whatever a task refers to that its group was not given, and no task of its group makes."""
        for group, component in self.groups.items():
            inputs = component.get("inputDefinitions", {})
            tasks = component["dag"]["tasks"]
            for name, spec in tasks.items():
                for kind in ("parameters", "artifacts"):
                    for port, source in spec.get("inputs", {}).get(kind, {}).items():
                        yield from (
                            f"{group}/{name}.{port}: {what}"
                            for what in _missing(source, set(inputs.get(kind, {})), tasks, spec)
                        )
        for task in self.tasks.values():
            known = set(task.spec.get("inputs", {}).get("parameters", {}))
            for reference in _REFERENCE.findall(yaml.safe_dump(dict(task.container), width=10_000)):
                if reference.strip("'") not in known:
                    yield f"{task.name}'s container: {reference}"
            group_inputs = self.groups[task.group].get("inputDefinitions", {}).get("parameters", {})
            for reference in _named(task.kubernetes):
                if reference not in group_inputs:
                    yield f"{task.name}'s pod: {reference}"

    def _producer(self, group: str, source: Mapping[str, Any]) -> str:
        if "componentInputArtifact" in source:  # handed into the group from outside
            outside, spec = self._group_task(group)
            return self._producer(outside, spec["inputs"]["artifacts"][source["componentInputArtifact"]])
        made = source["taskOutputArtifact"]
        inner = self.groups[group]["dag"]["tasks"][made["producerTask"]]["componentRef"]["name"]
        if inner in self.groups:  # a loop's list
            (selector,) = self.groups[inner]["dag"]["outputs"]["artifacts"][made["outputArtifactKey"]][
                "artifactSelectors"
            ]
            return str(selector["producerSubtask"])
        return str(made["producerTask"])

    def _group_task(self, group: str) -> tuple[str, Mapping[str, Any]]:
        """The task that a group is, and the group that this task stands in."""
        return next(
            (outside, spec)
            for outside, component in self.groups.items()
            for spec in component["dag"]["tasks"].values()
            if spec["componentRef"]["name"] == group
        )

    def _container(self, label: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.pipeline["deploymentSpec"]["executors"][label]["container"]
        return found

    def _platform(self, label: str) -> Mapping[str, Any]:
        executors = self.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        found: Mapping[str, Any] = executors.get(label, {})
        return found


def parameter_of(source: Mapping[str, Any]) -> str:
    """The pipeline's parameter behind an input."""
    return str(source["componentInputParameter"]).removeprefix("pipelinechannel--")


def _named(told: Any) -> Iterator[str]:
    """Whatever a part of the platform's document takes from the inputs of the task's group."""
    if isinstance(told, Mapping):
        for name, value in told.items():
            yield from [value] if name == "componentInputParameter" else _named(value)
    elif isinstance(told, list):
        for each in told:
            yield from _named(each)


def _parameter(value: Any) -> str:
    found = _REFERENCE.findall(str(value))
    return str(found[0]).removeprefix("pipelinechannel--") if found else str(value)


def _missing(
    source: Mapping[str, Any], inputs: set[str], tasks: Mapping[str, Any], spec: Mapping[str, Any]
) -> Iterator[str]:
    named = source.get("componentInputParameter") or source.get("componentInputArtifact")
    if named is not None and named not in inputs:
        yield named
    made = source.get("taskOutputArtifact") or source.get("taskOutputParameter")
    if made is not None and made["producerTask"] not in tasks:
        yield made["producerTask"]
    for reference in _REFERENCE.findall(str(source.get("runtimeValue", {}).get("constant", ""))):
        if reference not in spec["inputs"]["parameters"]:
            yield reference
