"""Compiles the pipeline: a file for Kubeflow's API, or ``Pipeline`` and ``PipelineVersion`` for kubectl."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from kfp.compiler import Compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from arkloom import __version__
from arkloom_pipelines.distill import NAME, distill_pipeline
from arkloom_pipelines.plan import Plan

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where there is one: six times as fast


def compiled(asked: Plan, name: str = NAME, *, caching: bool = True) -> str:
    """The pipeline as Kubeflow's API takes it: two YAML documents, the second for Kubernetes alone.

    Args:
        asked: What to compile.
        name: Name of the pipeline.
        caching: Whether any step may be taken from an earlier run. kfp's client (2.17) can switch caches off
            as well, but for steps that stand in no group; all of ours stand in the exit handler's.
    """
    version = _documents(asked, KubernetesManifestOptions(pipeline_name=name))[-1]["spec"]
    if not caching:
        for component in version["pipelineSpec"]["components"].values():
            for task in component.get("dag", {}).get("tasks", {}).values():
                task["cachingOptions"] = {}
    return _text([version["pipelineSpec"], version["platformSpec"]])


def manifests(asked: Plan, name: str = NAME, version: str = __version__, namespace: str = "") -> str:
    """The pipeline as a ``Pipeline`` and a ``PipelineVersion``, for ``kubectl apply``.

    Kubeflow accepts no change of a version: another content needs another version's name.

    Args:
        asked: What to compile.
        name: Name of the pipeline.
        version: Becomes part of the version's name.
        namespace: Where Kubeflow keeps its pipelines; "" leaves it to kubectl.
    """
    options = KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_version_name=f"{name}-{version}",
        namespace=namespace or None,
        include_pipeline_manifest=True,
    )
    return _text(_documents(asked, options))


def _documents(asked: Plan, options: KubernetesManifestOptions) -> list[dict[str, Any]]:
    """What kfp compiles, as Kubernetes objects.

    kfp's other format begins with a comment that repeats the defaults: a default of several lines, such as
    a configuration, breaks out of it and the file is no YAML any more (kfp 2.17).
    """
    pipeline = distill_pipeline(asked.config, asked.parameters, options.pipeline_name)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kfp's own deprecations
        file = Path(folder) / "pipeline.yaml"
        Compiler().compile(
            pipeline, str(file), kubernetes_manifest_format=True, kubernetes_manifest_options=options
        )
        return list(yaml.load_all(file.read_text(encoding="utf-8"), _LOADER))


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as such, and nothing as a reference to something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """No document refers to itself."""
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def _text(documents: Iterable[dict[str, Any]]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, width=110, allow_unicode=True)
