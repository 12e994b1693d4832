"""The two steps that are no stages: ``enforce`` fails a run that the gate refused, ``notify`` ends every run.

kfp copies the body of each function into the pipeline, so a body imports what it needs; the launcher image
holds kfp and this package, and nothing is installed when a step starts. kfp reads the annotations as they
stand, so they must not become texts (no ``from __future__ import annotations`` here).
"""

from kfp import dsl

from arkloom.images import image


@dsl.component(base_image=image("launcher"), install_kfp_package=False)  # type: ignore[untyped-decorator]
def enforce(gate: dsl.Input[dsl.Artifact], config: str, store: str, endpoint: str, strict: bool) -> None:
    """Says what the gate decided; where it refused and `strict` is set, ends with exit code 3.

    Args:
        gate: The gate's artifact.
        config: The configuration as YAML.
        store: Root of the artifact store.
        endpoint: S3 server of the store.
        strict: Whether a refusal fails the run; evaluation and its report are safe by then.
    """
    from arkloom_pipelines import closing  # noqa: PLC0415 - the body alone travels

    closing.main_enforce(gate.path, config, store, endpoint, strict=strict)


@dsl.component(base_image=image("launcher"), install_kfp_package=False)  # type: ignore[untyped-decorator]
def notify(status: dsl.PipelineTaskFinalStatus, config: str, store: str, endpoint: str) -> None:
    """Closes the run in the store, tells the webhook how it ended, discards work that was abandoned.

    Args:
        status: How the run ended.
        config: The configuration as YAML.
        store: Root of the artifact store.
        endpoint: S3 server of the store.
    """
    from arkloom_pipelines import closing  # noqa: PLC0415 - the body alone travels

    closing.main_notify(status, config, store, endpoint)
