"""The sections of the configuration, with every default: the only place that has any.

``RunConfig`` in ``config.py`` joins them, and reads presets, files and ``--set``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from arkloom.errors import BadInputError
from arkloom.records import Split

_SCHEME = re.compile(r"(?P<scheme>\w{2,}):(?P<slashes>/+)|(?P<bare>[sS]3):")  # one letter is a Windows drive


class Section(BaseModel):
    """Base of every section: immutable; unknown keys, NaN and infinity (no key could hold them) refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Section):
    """A language model: ``tiny`` (shipped with Arkloom), a folder, or a name that endpoints serve."""

    name: str = "tiny"
    revision: str | None = Field(
        default=None,
        description="which weights, where an endpoint alone has them: the commit, or any name for them",
        exclude_if=lambda revision: (
            revision is None
        ),  # a key without it is the key of the same work as before
    )
    adapter: str | None = None
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "auto"


class ModelsConfig(Section):
    """Who debates and who learns; the two are independent and may differ in vocabulary."""

    teacher: ModelConfig = ModelConfig()
    student: ModelConfig = ModelConfig()
    agents: tuple[ModelConfig, ...] = Field(
        default=(), description="in the teacher's place: agent i speaks with agents[i % len]"
    )


class HubConfig(Section):
    """A data set on the Hugging Face hub, for ``problems.source: huggingface``."""

    name: str | None = Field(default=None, description="OWNER/NAME")
    config: str | None = Field(default=None, description="one of its configurations, where it has several")
    revision: str | None = Field(default=None, description="the commit, 40 hex digits: a branch may move")
    split: str = "train"
    test_split: str | None = Field(default=None, description="test split from this one; none = from `split`")
    rows: Literal["jsonl", "gsm8k", "math", "mcq"] = Field(
        default="jsonl", description="the source whose rows its rows are like; jsonl = problems.columns"
    )


USUAL_ANSWERS = {
    "arithmetic": "number",
    "gsm8k": "number",
    "math": "math",
    "mcq": "mcq",
    "qmsum": "summary",
    "jsonl": "short",
    "csv": "short",
    "parquet": "short",
    "debates": "number",
}
"""Source of problems -> how its answers are graded where the configuration does not say."""


def _usual_answers(given: Mapping[str, Any]) -> str:
    """The usual answer type of a source; ``given`` lacks a field that was refused."""
    source = str(given.get("source"))
    return USUAL_ANSWERS.get(given["hub"].rows if source == "huggingface" and "hub" in given else source, "")


class ProblemsConfig(Section):
    """Where problems come from and how many go into each split."""

    source: Literal[
        "arithmetic", "gsm8k", "math", "mcq", "qmsum", "jsonl", "csv", "parquet", "huggingface", "debates"
    ] = "arithmetic"
    path: str | None = Field(
        default=None, description="file or folder; needed by all but arithmetic and huggingface"
    )
    test_path: str | None = Field(default=None, description="test split from a file of its own")
    hub: HubConfig = HubConfig()
    answer_type: str = Field(
        default_factory=_usual_answers,
        description="an entry point of arkloom.answers or module:ATTR; none = the source's usual one",
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="record field -> column, for csv, jsonl and parquet"
    )
    train: int = Field(default=100, ge=0)
    validation: int = Field(default=100, ge=0)
    test: int = Field(default=500, ge=0)
    ood: int = Field(default=0, ge=0, description="problems of each out-of-distribution set")
    ood_path: str | None = Field(default=None, description="another data set, for all but arithmetic")
    robustness: int = Field(default=0, ge=0, description="test problems that are asked again, disturbed")
    low: int = Field(default=0, description="smallest integer of an arithmetic problem")
    high: int = Field(default=9, description="largest integer of an arithmetic problem")
    decontaminate_ngram: int = Field(
        default=13,
        ge=1,
        description="words in a row that nothing learned from shares with an evaluated problem",
    )
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _none_is_not_given(cls, given: Any) -> Any:
        """``answer_type: null`` asks for the source's usual one."""
        if isinstance(given, Mapping) and given.get("answer_type", "") is None:
            return {name: value for name, value in given.items() if name != "answer_type"}
        return given


class PromptsConfig(Section):
    """How a debate is written down for a model."""

    profile: Literal["natural", "tiny"] = "natural"
    layout: Literal["chat", "shared"] = "shared"
    peer_token_cap: int = Field(default=512, ge=1, description="tokens of a peer's answer that others see")


class DebateConfig(Section):
    """The debate protocol (Du et al., arXiv 2305.14325). The last block is set per node by a chain."""

    agents: int = Field(default=5, ge=1)
    rounds: int = Field(default=3, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1)
    personas: tuple[str, ...] = Field(default=(), description="agent i speaks as personas[i % len]")
    stop_on_consensus: bool = False
    peers: Literal["shown", "none", "shuffled"] = Field(
        default="shown", description="ablations: solo_rounds, shuffled_peers"
    )
    recorded: str | None = Field(
        default=None, description="a log: its debates are taken, none is held (votes still are)"
    )

    split: Split = "train"
    protocol: Literal["debate", "vote"] = Field(
        default="debate", description="vote = independent round-0 answers"
    )
    voices: Literal["teacher", "student"] = Field(default="teacher", description="vote: who answers")
    share: str | None = Field(
        default=None,
        pattern=r"^[0-9]{1,6}/[0-9]{1,6}$",
        description="i/k: the problems that process i of k holds, i from 0; see runtime.shards",
    )

    @property
    def from_log(self) -> bool:
        """Whether debates are taken from a log; votes are always held."""
        return self.recorded is not None and self.protocol == "debate"


class FilterConfig(Section):
    """Which traces are worth learning: rejection sampling (Yuan et al., arXiv 2308.01825) and more."""

    split: Split = Field(default="train", description="set per node: the split that was debated")
    label_free: bool = Field(default=False, description="grade against the consensus instead of the gold")
    margin: float = Field(default=0.2, ge=0, le=1, description="label_free: least margin of the consensus")
    corrective_style: Literal["final", "self_correct"] = "final"
    da_traces: int = Field(default=3, ge=1, description="most diverse traces a problem in `da` rows")
    jaccard: float = Field(default=0.85, gt=0, le=1, description="MinHash 5-gram similarity of a duplicate")


class SftConfig(Section):
    """Supervised training on rows (AgentArk, arXiv 2602.03955)."""

    method: Literal["full", "lora"] = "lora"
    learning_rate: float = Field(default=1e-4, gt=0)
    epochs: float = Field(default=2, gt=0)
    batch_size: int = Field(default=64, ge=1)
    max_tokens: int = Field(default=4096, ge=8)
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    answer_weight: float = Field(default=1.0, ge=0, description="lambda: weight of answer tokens")
    lora_rank: int = Field(default=64, ge=1)
    lora_alpha: int = Field(default=128, ge=1)
    checkpoint_steps: int = Field(default=50, ge=1)

    objective: Literal["rsft", "da", "answer"] = Field(
        default="rsft", description="set per node: which rows, under which loss"
    )
    match: bool = Field(default=False, description="set per node: cut rows to the partner's number")


class LabelConfig(Section):
    """Where labels of steps come from: other traces, the outcome alone (ablation), or people."""

    source: Literal["agreement", "outcome", "human"] = "agreement"
    path: str | None = Field(default=None, description="human: a file in the ProcessBench format")


class PrmPhase(Section):
    """One stage of the PRM's training."""

    learning_rate: float = Field(gt=0)
    epochs: float = Field(ge=0)


class PrmGate(Section):
    """What the PRM must reach on validation before it may reward anything."""

    enforce: bool = Field(default=True, description="false: reported, but it rewards all the same")
    f1_margin: float = Field(default=0.05, description="first-error F1 above the best of the four floors")
    auc: float = Field(default=0.70, ge=0, le=1, description="least step AUC")


class PrmConfig(Section):
    """Process reward model: contrastive over the steps of a problem, plus cross-entropy (AgentArk)."""

    init: ModelConfig | None = Field(default=None, description="weights to begin from; none = the student's")
    head: PrmPhase = Field(default=PrmPhase(learning_rate=1e-4, epochs=3), description="last block and head")
    full: PrmPhase = Field(default=PrmPhase(learning_rate=1e-6, epochs=1), description="then everything")
    temperature: float = Field(default=0.1, gt=0, description="tau of the contrastive loss")
    negatives: int = Field(default=15, ge=1, description="most negatives a positive is set against")
    bce_weight: float = Field(default=0.5, ge=0, description="0 = the paper's loss")
    weight_decay: float = Field(default=0.1, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    batch_problems: int = Field(default=16, ge=1, description="problems an optimiser step, each whole")
    max_tokens: int = Field(default=4096, ge=8)
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    best_of: int = Field(default=8, ge=1, description="answers among which the PRM chooses, when judged")
    checkpoint_steps: int = Field(default=50, ge=1)
    gate: PrmGate = PrmGate()


class GrpoConfig(Section):
    """Group-relative policy optimisation with step rewards (PAD; DeepSeekMath, arXiv 2402.03300)."""

    method: Literal["full", "lora"] = "lora"
    learning_rate: float = Field(default=1e-5, gt=0)
    steps: int = Field(default=200, ge=1, description="optimiser steps")
    prompts: int = Field(default=8, ge=1, description="problems an optimiser step")
    completions: int = Field(default=8, ge=2, description="rollouts a problem: the group")
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1, description="new tokens of a rollout")
    prm_weight: float = Field(default=0.5, ge=0, description="verifier_grpo: 0")
    verifier_weight: float = Field(default=0.5, ge=0, description="verifier_grpo: 1")
    advantage: Literal["step", "sequence"] = Field(default="step", description="sequence = the paper's")
    step_credit: Literal["mean", "sum"] = "mean"
    aggregate: Literal["softmin", "mean", "min", "last"] = "softmin"
    softmin_temperature: float = Field(default=0.1, gt=0)
    beta: float = Field(default=0.001, ge=0, description="weight of the KL to the merged start")
    clip: float = Field(default=0.2, gt=0)
    max_kl: float = Field(default=0.1, gt=0, description="per token; training stops above it")
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora_rank: int = Field(default=64, ge=1)
    lora_alpha: int = Field(default=128, ge=1)
    validate_every: int = Field(default=10, ge=1, description="steps between greedy checks on validation")
    checkpoint_steps: int = Field(default=20, ge=1)


class EvaluateConfig(Section):
    """What is compared, and how sure the comparison has to be."""

    arms: tuple[str, ...] = ("base", "vote", "debate", "rsft", "rft", "rft_self")
    seeds: int = Field(default=3, ge=0, description="sampled runs a model arm, at `temperature`")
    temperature: float = Field(default=0.7, ge=0)
    max_tokens: int = Field(default=1024, ge=1)
    vote_cap: int = Field(default=64, ge=1)
    bootstrap: int = Field(default=10_000, ge=100)
    latency_problems: int = Field(default=50, ge=0)


class GateConfig(Section):
    """When the best arm is promoted: surely better than the champion, at a bounded cost."""

    margin: float = Field(default=0.0, description="least lower end of the paired interval")
    max_token_ratio: float = Field(default=0.2, gt=0, description="student's tokens over the full debate's")


class RegistryConfig(Section):
    """Under which name a promoted model is registered."""

    model: str = Field(
        default="student", pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$", description="counts versions"
    )
    license: str | None = Field(
        default=None, description="of the base model, as hubs name it; the model card repeats it"
    )


class StoreConfig(Section):
    """Where artifacts live. Secrets never stand here: see ``arkloom.store.credentials``."""

    root: str = Field(default="runs/store", description="a folder, file:///folder or s3://bucket/prefix")
    endpoint: str | None = Field(
        default=None, description="S3 server, http(s)://host:port; none = ARKLOOM_S3_ENDPOINT, else Amazon's"
    )
    region: str = Field(default="us-east-1", description="S3: signed with, never asked for")
    path_style: bool | None = Field(
        default=None, description="S3: bucket in the path; none = as the server needs it"
    )
    ca_file: str | None = Field(default=None, description="S3: PEM file of the authority that signed its TLS")
    cache: str | None = Field(
        default=None, description="S3: folder of local copies; none = ARKLOOM_CACHE, else ~/.cache/arkloom"
    )
    transfers: int = Field(default=8, ge=1, description="S3: files on their way at once")
    patience: float = Field(
        default=600, ge=0, description="S3: seconds to go on trying where the server fails or is away"
    )

    @field_validator("root")
    @classmethod
    def _is_no_slip(cls, root: str) -> str:
        """A uri with one slash, or in capitals, must not silently become a folder.

        Raises:
            BadInputError: It is such a one.
        """
        found = _SCHEME.match(root)
        if found is None or ((found["slashes"] or "").startswith("//") and found["scheme"] in {"s3", "file"}):
            return root
        scheme, rest = (found["scheme"] or found["bare"]).lower(), root[found.end() :]
        if scheme == "file" and root.startswith("file:/"):
            return f"file:///{rest}"  # a legal way to write it
        known = scheme in {"s3", "file"}
        mend = (
            f"Did you mean {scheme}://{'/' * (scheme == 'file')}{rest}?"
            if known
            else "Use a folder, file:// or s3://"
        )
        raise BadInputError(
            "neither a folder nor a uri" if known else f"no store for {scheme}://",
            where=f"store.root {root}",
            mend=mend,
        )


class RuntimeConfig(Section):
    """This machine. Nothing here changes what is computed, so nothing here enters a key."""

    slots: int = Field(default=256, ge=1, description="requests in the engine at once")
    batch: int = Field(default=128, ge=1, description="transformers engine: sequences a forward pass")
    device: str = "cpu"
    threads: int = Field(default=0, ge=0, description="torch threads of a stage; 0 = its share of the cores")
    parallel: int = Field(default=1, ge=1, description="stages that `arkloom run` works on at once")
    python: dict[str, str] = Field(
        default_factory=dict, description="stage -> interpreter (serve and train differ)"
    )
    scripted: str | None = Field(default=None, description="scripted engine: JSON file of answers (tests)")
    endpoints: tuple[str, ...] | dict[str, tuple[str, ...]] = Field(
        default=(), description="openai: urls, http(s)://host:port/v1; or model name -> those that serve it"
    )
    context_tokens: int | None = Field(
        default=None, ge=16, description="tokens of prompt and completion; none = as model or endpoint say"
    )
    request_seconds: float = Field(default=900, gt=0, description="openai: time for one answer")
    patience: float = Field(default=600, ge=0, description="openai: seconds without any endpoint, at most")
    shard_size: int = Field(default=256, ge=1, description="records a shard of a debate log")
    shards: int = Field(
        default=1, ge=1, le=4096, description="processes that share a problem set; a last one merges"
    )
    turn_seconds: float | None = Field(
        default=3600,
        gt=0,
        description="time for a turn in the engine; it is asked twice, then its debate fails",
    )
    max_tokens_total: int | None = Field(
        default=None,
        ge=0,
        description="tokens that debates may cost; raise it to go on",
    )
    max_hours: float | None = Field(default=None, gt=0, description="hours until a run stops, to be resumed")
    metrics_port: int = Field(
        default=9464, ge=0, le=65535, description="Prometheus metrics of a stage at work; 0 = off"
    )
