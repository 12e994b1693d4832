"""One configuration for every stage and every way to run: a frozen pydantic tree.

This file is the only place with defaults. Values come from, later wins: the defaults here, a preset
(a YAML file in ``presets/``), the user's YAML file, ``--set a.b=c``. Unknown keys are refused with
the nearest known name. The sections that a stage declares enter the key of its artifacts;
``engine``, ``store`` and ``runtime`` never do, so a laptop and a cluster share artifacts.
"""

from __future__ import annotations

import difflib
import importlib.resources
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arkloom.canonical import digest
from arkloom.errors import BadInputError
from arkloom.records import Split


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Section):
    """A language model: ``tiny`` (shipped with Arkloom) or a folder; hub names are not resolved yet."""

    name: str = "tiny"
    adapter: str | None = None
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "auto"


class ModelsConfig(Section):
    """Who debates and who learns; the two are independent and may differ in vocabulary."""

    teacher: ModelConfig = ModelConfig()
    student: ModelConfig = ModelConfig()


class ProblemsConfig(Section):
    """Where problems come from and how many go into each split."""

    source: Literal["arithmetic", "gsm8k", "math", "mcq", "jsonl", "csv"] = "arithmetic"
    path: str | None = Field(default=None, description="file or folder; needed by all but arithmetic")
    test_path: str | None = Field(default=None, description="test split from a file of its own")
    answer_type: str = Field(default="number", description="an entry point of arkloom.answers or module:ATTR")
    columns: dict[str, str] = Field(
        default_factory=dict, description="record field -> column, for csv and jsonl"
    )
    train: int = Field(default=100, ge=0)
    validation: int = Field(default=100, ge=0)
    test: int = Field(default=500, ge=0)
    ood: int = Field(default=0, ge=0, description="problems of each out-of-distribution set")
    ood_path: str | None = Field(default=None, description="another data set, for all but arithmetic")
    robustness: int = Field(default=0, ge=0, description="test problems that are asked again, disturbed")
    low: int = Field(default=0, description="smallest integer of an arithmetic problem")
    high: int = Field(default=9, description="largest integer of an arithmetic problem")
    seed: int = 0


class PromptsConfig(Section):
    """How a debate is written down for a model."""

    profile: Literal["natural", "tiny"] = "natural"
    layout: Literal["chat", "shared"] = "chat"
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

    split: Split = "train"
    protocol: Literal["debate", "vote"] = Field(
        default="debate", description="vote = independent round-0 answers"
    )
    voices: Literal["teacher", "student"] = Field(default="teacher", description="vote: who answers")


class FilterConfig(Section):
    """Which traces are worth learning: rejection sampling (Yuan et al., arXiv 2308.01825) and more."""

    split: Split = Field(default="train", description="set per node: the split that was debated")
    label_free: bool = Field(default=False, description="grade against the consensus instead of the gold")
    margin: float = Field(default=0.2, ge=0, le=1, description="label_free: least margin of the consensus")
    corrective_style: Literal["final", "self_correct"] = "final"
    da_traces: int = Field(default=3, ge=1, description="most diverse traces a problem in `da` rows")
    jaccard: float = Field(default=0.85, gt=0, le=1, description="MinHash 5-gram similarity of a duplicate")
    decontaminate_ngram: int = Field(default=13, ge=1)


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


class StoreConfig(Section):
    """Where artifacts live."""

    root: str = Field(default="runs/store", description="a folder, file:///folder or s3://bucket/prefix")


class RuntimeConfig(Section):
    """This machine. Nothing here changes what is computed, so nothing here enters a key."""

    slots: int = Field(default=256, ge=1, description="requests in the engine at once")
    batch: int = Field(default=128, ge=1, description="transformers engine: sequences a forward pass")
    device: str = "cpu"
    threads: int = Field(default=0, ge=0, description="torch threads a process; 0 = cores / parallel")
    parallel: int = Field(default=1, ge=1, description="stages that `arkloom run` works on at once")
    python: dict[str, str] = Field(
        default_factory=dict, description="stage -> interpreter (serve and train differ)"
    )
    scripted: str | None = Field(default=None, description="scripted engine: JSON file of answers (tests)")
    shard_size: int = Field(default=256, ge=1, description="records a shard of a debate log")


class RunConfig(Section):
    """Everything a run depends on."""

    seed: int = 0
    models: ModelsConfig = ModelsConfig()
    problems: ProblemsConfig = ProblemsConfig()
    prompts: PromptsConfig = PromptsConfig()
    debate: DebateConfig = DebateConfig()
    filter: FilterConfig = FilterConfig()
    sft: SftConfig = SftConfig()
    label: LabelConfig = LabelConfig()
    prm: PrmConfig = PrmConfig()
    grpo: GrpoConfig = GrpoConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    engine: Literal["transformers", "scripted"] = "transformers"
    store: StoreConfig = StoreConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    def override(self, overrides: Iterable[str]) -> RunConfig:
        """This configuration with ``a.b=c`` assignments applied (values are YAML)."""
        return build(_merge(self.model_dump(mode="json"), *map(parse_assignment, overrides)))

    def with_store(self, root: str) -> RunConfig:
        """This configuration with another store."""
        return self.model_copy(update={"store": StoreConfig(root=root)})

    def digest(self, sections: Sequence[str]) -> str:
        """Digest of the named parts (``debate``, ``models.teacher``), for artifact keys."""
        return digest({name: self.part(name) for name in sorted(sections)})

    def part(self, path: str) -> Any:
        """The value at a dotted path, as plain JSON."""
        value: Any = self.model_dump(mode="json")
        for name in path.split("."):
            value = value[name]
        return value


def presets() -> list[str]:
    """Names of the presets that ship with Arkloom."""
    files = importlib.resources.files("arkloom.presets").iterdir()
    return sorted(Path(str(f)).stem for f in files if str(f).endswith(".yaml"))


def load(preset: str | None = None, file: Path | None = None, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a configuration: defaults, then ``preset``, then ``file``, then ``a.b=c`` overrides.

    A preset or a file may begin with ``extends: PRESET``: that preset comes before it.

    Raises:
        BadInputError: Unknown preset or key, unreadable file, wrong type; names the nearest key.
    """
    layers = [] if preset is None else _preset(preset)
    if file is not None:
        try:
            layers += _layers(_read(file.read_bytes(), str(file)), str(file))
        except OSError as error:
            raise BadInputError(f"cannot read the config ({error.strerror})", where=str(file)) from error
    layers += map(parse_assignment, overrides)
    return build(_merge({}, *layers))


def build(tree: Mapping[str, Any]) -> RunConfig:
    """Validate a plain tree; one clear line for the first thing wrong."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        where = f"config {'.'.join(path)}"
        if first["type"] == "extra_forbidden":
            raise BadInputError(f"unknown key{_nearest(path[-1], _known(path[:-1]))}", where=where) from error
        raise BadInputError(f"{first['msg']} (got {first['input']!r})", where=where) from error


def parse_assignment(text: str) -> dict[str, Any]:
    """``a.b=c`` as a nested dict; the value is YAML (``3``, ``true``, ``[a, b]``)."""
    path, sign, value = text.partition("=")
    if not sign or not path:
        raise BadInputError(f"{text!r} is no assignment", mend="Write --set section.key=value")
    try:
        tree: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise BadInputError(f"{value!r} is not YAML", where=f"--set {path}") from error
    for name in reversed(path.strip().split(".")):
        tree = {name: tree}
    return dict(tree)


def _preset(name: Any, where: str = "") -> list[Mapping[str, Any]]:
    if name not in presets():
        near, known = _nearest(str(name), presets()), f"Known: {', '.join(presets())}"
        raise BadInputError(f"no preset {name!r}{near}", where=where, mend=known)
    content = importlib.resources.files("arkloom.presets").joinpath(f"{name}.yaml").read_bytes()
    return _layers(_read(content, name), name)


def _layers(tree: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """A file's own layer, after those of the preset that it extends."""
    own = {name: value for name, value in tree.items() if name != "extends"}
    return [*(_preset(tree["extends"], f"{where}, extends") if "extends" in tree else []), own]


def _read(content: bytes, where: str) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(content.decode())
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"not UTF-8 (byte {error.start})", where=where, mend="Save it as UTF-8"
        ) from error
    except yaml.YAMLError as error:
        raise BadInputError(f"not YAML: {error}", where=where) from error
    if not isinstance(tree, Mapping):
        raise BadInputError("the config is not a mapping of sections", where=where)
    return tree


def _merge(base: Mapping[str, Any], *layers: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for layer in layers:
        for name, value in layer.items():
            old = merged.get(name)
            nested = isinstance(old, Mapping) and isinstance(value, Mapping)
            merged[name] = _merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged


def _known(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for name in path:
        annotation = model.model_fields[name].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else (f"; known: {', '.join(known)}" if known else "")
