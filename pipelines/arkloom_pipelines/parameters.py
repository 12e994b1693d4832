"""The parameters of the pipeline, declared once: the UI's form, the documentation and the CLI read them here.

What a run computes stands in ``config``; everything else says where and on what it is computed, so that one
compiled pipeline runs on any cluster. Counts of devices are texts: Kubeflow's driver puts parameters into a
pod as texts and takes a number for an empty one.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from arkloom import config as configs
from arkloom.errors import BadInputError
from arkloom.images import image


@dataclass(frozen=True)
class Parameter:
    """One parameter of the pipeline.

    Attributes:
        name: As in the form and on the command line.
        kind: ``str``, ``bool``, ``list`` or ``dict``.
        default: What a run gets that does not say.
        meaning: One sentence.
    """

    name: str
    kind: type[str] | type[bool] | type[list[Any]] | type[dict[str, Any]]
    default: Any
    meaning: str


CONFIG = Parameter(
    "config", str, "", "What the run computes: the configuration as YAML. Its arms are those compiled in."
)
PARAMETERS = (
    CONFIG,
    Parameter(
        "store", str, "s3://arkloom/store", "Root of the artifact store; empty takes the one of the config."
    ),
    Parameter(
        "s3_endpoint", str, "", "S3 server, http(s)://host:port; empty takes the config's, else Amazon's."
    ),
    Parameter(
        "s3_secret", str, "arkloom-s3", "Secret with the keys access-key and secret-key of the S3 server."
    ),
    Parameter("launcher_image", str, image("launcher"), "Image of steps without a model."),
    Parameter("serve_image", str, image("serve"), "Image of steps in which models speak."),
    Parameter("train_image", str, image("train"), "Image of steps in which models learn."),
    Parameter("gpu_type", str, "nvidia.com/gpu", "Name of the GPU resource of the cluster's nodes."),
    Parameter("serve_gpus", str, "0", "GPUs of a step whose models speak: 0, or 1 with runtime.device=cuda."),
    Parameter("train_gpus", str, "0", "GPUs of a step whose models learn: 0, or 1 with runtime.device=cuda."),
    Parameter("serve_cpu", str, "2", "Processors of a step in which models speak."),
    Parameter("serve_memory", str, "6Gi", "Memory of such a step, its shared memory included."),
    Parameter("train_cpu", str, "2", "Processors of a step in which models learn."),
    Parameter("train_memory", str, "6Gi", "Memory of such a step, its shared memory included."),
    Parameter("node_selector", dict, {}, "Labels that the nodes of serve and train steps must have."),
    Parameter("tolerations", list, [], "Taints that the pods of serve and train steps tolerate."),
    Parameter("models_pvc", str, "arkloom-models", "Volume claim with models and problems, seen at /models."),
    Parameter("enforce", bool, True, "Whether a run whose gate refuses ends as failed."),
    Parameter(
        "webhook_secret", str, "arkloom-webhook", "Secret with the key url that is told of the end; may lack."
    ),
)
MODELS_PVC = "models_pvc"


def declared(defaults: Mapping[str, Any], left_out: Iterable[str] = ()) -> tuple[Parameter, ...]:
    """The parameters with other defaults, without those that a pipeline has no use for.

    Raises:
        BadInputError: A default is of no parameter, or of another type.
    """
    known = {parameter.name: parameter for parameter in PARAMETERS}
    for name, value in defaults.items():
        fitting = checked(name, value)
        known[name] = replace(known[name], default=fitting)
    return tuple(parameter for name, parameter in known.items() if name not in set(left_out))


def checked(name: str, value: Any) -> Any:
    """A value of a parameter; where it is a text and the parameter none, it is read as YAML.

    Raises:
        BadInputError: No such parameter, or a value of another type.
    """
    wanted = next((each for each in PARAMETERS if each.name == name), None)
    if wanted is None:
        known = [each.name for each in PARAMETERS]
        near = difflib.get_close_matches(name, known, n=1)
        asked = f"; did you mean {near[0]!r}?" if near else ""
        raise BadInputError(
            f"no parameter {name!r}{asked}", where="pipeline", mend=f"Known: {', '.join(known)}"
        )
    if isinstance(value, str) and wanted.kind is not str:
        value = configs.parse_assignment(f"{name}={value}")[name]
    if not isinstance(value, wanted.kind):
        what = f"{value!r} is no {WORDS[wanted.kind]}"
        raise BadInputError(what, where=f"parameter {name}", mend=wanted.meaning)
    return value


def signed(
    function: Callable[..., None], name: str, about: str, declared: Iterable[Parameter]
) -> Callable[..., None]:
    """``function`` with the signature and the docstring from which kfp makes a pipeline's interface."""
    declared = tuple(declared)
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                each.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=each.default,
                annotation=each.kind,
            )
            for each in declared
        ]
    )
    lines = [f"    {each.name}: {each.meaning}" for each in declared]
    function.__name__, function.__doc__ = name, "\n".join([about, "", "Args:", *lines])
    return function


WORDS = {str: "text", bool: "true or false", list: "list", dict: "mapping"}
