"""What a stage's Kubeflow component is made of: ports in, a manifest and pages for the UI out.

A component is thin: it runs ``python3 -m arkloom.<stage>`` and hands it Kubeflow's executor input, from
which the stage reads the rest (see ``telemetry/kubeflow.py``). Needs the extra ``orchestrate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

from kfp import dsl
from kfp.dsl import ContainerSpec, Input, Output
from kfp.dsl.container_component_class import ContainerComponent

from arkloom.images import Environment, image
from arkloom.telemetry.kubeflow import (
    ARTIFACT,
    CHAIN,
    CLASSIFICATION,
    CONFIG,
    ENDPOINT,
    METRICS,
    OVERRIDES,
    PAGE,
    PLUS,
    SHARE,
    STORE,
    SUMMARY,
    several,
)

_ABOUT = {
    CONFIG: "The configuration as YAML; it may begin with `extends: PRESET`.",
    OVERRIDES: "Assignments `a.b=c` on top of the configuration, which make this node differ from others.",
    STORE: "Root of the artifact store; empty takes the one of the configuration.",
    ENDPOINT: "S3 server of the store; empty takes the one of the configuration.",
    CHAIN: "Digest of the chain that the pipeline was compiled for; empty is any.",
    SHARE: "`i/k`: the problems that process i of k holds; empty for all.",
    ARTIFACT: "The manifest of what was made (JSON): uri, files with sha256, lineage, metrics.",
    METRICS: "The headline figures.",
    SUMMARY: "The same in Markdown.",
    PAGE: "The stage's report.",
    CLASSIFICATION: "ROC curve and confusion matrix.",
}


@dataclass(frozen=True)
class Declaration:
    """The component of a stage.

    Attributes:
        stage: Its name; also the module that is run.
        environment: The image that holds what it needs.
        about: What it does, in a sentence.
        ports: What it reads, as ``Stage.inputs`` has it: ``name?`` may be missing, ``name-*`` stands for a
            list, ``*`` for any number of students.
        made: Type of the artifact that it makes; None for what is looked at and not kept.
        students: Arms that ``*`` stands for where a pipeline names none.
        parameters: Further texts, besides configuration and overrides.
        classification: Whether it has a ROC curve to show.
    """

    stage: str
    environment: Environment
    about: str
    ports: Sequence[str] = ()
    made: type[dsl.Artifact] | None = dsl.Artifact
    students: Sequence[str] = ()
    parameters: Sequence[str] = ()
    classification: bool = False

    def component(
        self, node: str = "", students: Sequence[str] | None = None, task: str = ""
    ) -> ContainerComponent:
        """The component, for a node of a chain.

        Args:
            node: Name under which a run records the artifact, a DNS label; the stage's own where not given.
            students: Arms whose artifacts are read.
            task: Name of the task in a pipeline; that of the node where not given.
        """
        node = node or self.stage
        command = ["python3", "-m", f"arkloom.{self.stage}"]
        arguments = ["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER, "--node", node]

        def function(*_: Any) -> ContainerSpec:
            return ContainerSpec(image=image(self.environment), command=command, args=arguments)

        signature = self._signature(self.students if students is None else students)
        function.__name__ = (task or node).replace("-", "_")
        function.__doc__ = self._documentation(signature)
        vars(function)["__signature__"] = signature
        return dsl.container_component(function)

    def _signature(self, students: Sequence[str]) -> Signature:
        needed = [port for port in self.ports if not port.endswith(("?", "*"))]
        optional = [port.rstrip("?") for port in self.ports if port.endswith("?")]
        lists = [several(port.rstrip("*")) for port in self.ports if port.endswith("-*")]
        found = [_parameter(name, Input[dsl.Artifact]) for name in needed]
        found += [_parameter(name.replace("+", PLUS), Input[dsl.Artifact]) for name in students]
        outputs = {SUMMARY: dsl.Markdown, PAGE: dsl.HTML}
        if self.made is not None:
            outputs = {ARTIFACT: self.made, METRICS: dsl.Metrics} | outputs
        if self.classification:
            outputs[CLASSIFICATION] = dsl.ClassificationMetrics
        found += [_parameter(name, Output[kind]) for name, kind in outputs.items()]
        found += [_parameter(name, Input[dsl.Artifact], None) for name in optional]
        found += [_parameter(name, Input[list[dsl.Artifact]], None) for name in lists]
        found += [_parameter(CONFIG, str, ""), _parameter(OVERRIDES, list[str], [])]
        found += [_parameter(name, str, "") for name in (STORE, ENDPOINT, *self.parameters)]
        return Signature(found)

    def _documentation(self, signature: Signature) -> str:
        ports = {name: f"The artifact of port `{name.replace(PLUS, '+')}`." for name in signature.parameters}
        told: Mapping[str, str] = ports | _ABOUT
        lines = [f"    {name}: {told[name]}" for name in signature.parameters]
        return "\n".join([self.about, "", "Args:", *lines])


def _parameter(name: str, annotation: Any, default: Any = Parameter.empty) -> Parameter:
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
