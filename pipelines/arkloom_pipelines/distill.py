"""The distillation of a debate as a Kubeflow pipeline, generated from the chain of its configuration.

One task a node, named as the node; what a node reads is what its task reads. A node whose problems several
processes share becomes a loop over the shares and the task that merges them. In front stands the pre-flight
check; behind it the gate's verdict is enforced, and whatever happens, ``notify`` comes last.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from arkloom.chains.distill import distill
from arkloom.chains.graph import Chain, Node, fingerprint
from arkloom.chains.shares import merges_shares, shared
from arkloom.component import Declaration
from arkloom.config import RunConfig
from arkloom.protocol.shares import PORT
from arkloom.telemetry.kubeflow import (
    ARTIFACT,
    CHAIN,
    CONFIG,
    ENDPOINT,
    OVERRIDES,
    PLUS,
    SHARE,
    STORE,
    several,
)
from arkloom_pipelines.endings import enforce, notify
from arkloom_pipelines.parameters import Parameter, signed
from arkloom_pipelines.placement import Given, place

NAME = "arkloom-distill"
_ABOUT = "Distils a debate of many agents into one model, and shows what the student kept."
_LAST = "gate"
_Tasks = Mapping[str, dsl.PipelineTask]


def distill_pipeline(config: RunConfig, declared: Sequence[Parameter], name: str = NAME) -> GraphComponent:
    """The pipeline of a configuration.

    Args:
        config: Decides which nodes there are; what they compute is decided by the parameter ``config``.
        declared: The pipeline's parameters.
        name: Name of the pipeline.
    """
    chain = shared(distill(config), config)

    def pipeline(*channels: Any) -> None:
        given = {parameter.name: channel for parameter, channel in zip(declared, channels, strict=True)}
        last = place(notify(**_common(given)), "notify", "notify", given)
        with dsl.ExitHandler(last, name="distil"):
            _tasks(chain, given)

    signed(pipeline, name.replace("-", "_"), _ABOUT, declared)
    return dsl.pipeline(pipeline, name=name, description=_ABOUT)


def _tasks(chain: Chain, given: Given) -> None:
    check = _declared("preflight").component()
    first = place(check(**_common(given), **{CHAIN: fingerprint(chain)}), "preflight", "preflight", given)
    nodes = {node.name: node for node in chain}
    parts = {name for node in chain for name in _parts(node)}
    tasks: dict[str, dsl.PipelineTask] = {}
    for node in chain:
        if node.name in parts:
            continue  # stands in the loop in front of its merge
        shares = _loop(node, [nodes[name] for name in _parts(node)], tasks, given) if _parts(node) else None
        tasks[node.name] = _task(node, tasks, given, shares)
        if not node.inputs:
            tasks[node.name].after(first)
    verdict = enforce(gate=tasks[_LAST].outputs[ARTIFACT], strict=given["enforce"], **_common(given))
    place(verdict, "enforce", "enforce", given).after(*_ends(chain, tasks))


def _task(node: Node, tasks: _Tasks, given: Given, shares: Any = None) -> dsl.PipelineTask:
    """The task of a node; ``shares`` are the artifacts that it merges."""
    declared = _declared(node.stage)
    component = declared.component(node.name, students=_students(node, declared))
    inputs = _read(node, tasks)
    if shares is not None:
        inputs[several(PORT)] = shares
    return place(
        component(**inputs, **_common(given), **{OVERRIDES: list(node.overrides)}),
        node.stage,
        node.name,
        given,
        merges=shares is not None,
    )


def _loop(merge: Node, parts: Sequence[Node], tasks: _Tasks, given: Given) -> Any:
    """The tasks of the shares that ``merge`` reads, all at once, and the list of what they make."""
    part = parts[0]
    own, texts = part.overrides[:-1], [node.overrides[-1].partition("=")[2] for node in parts]
    component = _declared(part.stage).component(merge.name, task=f"{merge.name}-share")
    with dsl.ParallelFor(texts, name=f"{merge.name}-shares") as text:
        task = component(**_read(part, tasks), **_common(given), **{OVERRIDES: list(own), SHARE: text})
        place(task, part.stage, merge.name, given)
    return dsl.Collected(task.outputs[ARTIFACT])


def _read(node: Node, tasks: _Tasks) -> dict[str, Any]:
    """What a node reads from its parents, by the input's name."""
    ports = {port: parent for port, parent in node.inputs.items() if not port.startswith(PORT)}
    return {port.replace("+", PLUS): tasks[parent].outputs[ARTIFACT] for port, parent in ports.items()}


def _common(given: Given) -> dict[str, Any]:
    return {CONFIG: given["config"], STORE: given["store"], ENDPOINT: given["s3_endpoint"]}


def _parts(node: Node) -> list[str]:
    if not merges_shares(node):
        return []
    return [parent for port, parent in node.inputs.items() if port.startswith(PORT)]


def _students(node: Node, declared: Declaration) -> list[str]:
    """The ports of a node that its stage does not name: those of the arms."""
    named = {port.rstrip("?*") for port in declared.ports}
    return [port for port in node.inputs if port not in named and not port.startswith(PORT)]


def _ends(chain: Chain, tasks: _Tasks) -> list[dsl.PipelineTask]:
    """Tasks that nobody waits for: the run is over when they are."""
    read = {parent for node in chain for parent in node.inputs.values()}
    return [task for name, task in tasks.items() if name not in read]


def _declared(stage: str) -> Declaration:
    found: Declaration = importlib.import_module(f"arkloom.{stage}.component").COMPONENT
    return found
