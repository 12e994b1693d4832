"""The chain that distils a debate into one model, with the controls that decide the claim.

Everything a run may need is declared below, as data: the arms that are trained, and the nodes that make
what they learn from. ``distill`` takes what the wanted arms need and leaves the rest out.

``rft`` asks whether the debate teaches more than sampling: per problem, independent answers of the
same teachers up to the tokens of that problem's own debate; same filter, same priority, and both
arms are cut to the same number of rows. ``rft_self`` draws from the student itself instead; what it
misconceives it never gets right, so it has fewer rows, and the report gives them beside the arm.
``rsft_free`` and ``rft_free`` are the same question where no gold exists: the filter grades against the
consensus, and each keeps all its rows, since how many problems a consensus can label is part of the answer.
``verifier_grpo`` is ``pad`` without the process reward model, which learns from the debate's traces and,
since it will judge the student, from the student's own. ``X+Y`` is arm Y trained from arm X's model. An
``_uncut`` arm is trained on all rows of the arm that the cut shortened.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from arkloom.chains.graph import Chain, Node, ordered
from arkloom.config import RunConfig
from arkloom.errors import BadInputError

PLAYED = ("base", "vote", "debate")  # arms that evaluation plays itself: nothing is trained for them
UNCUT = "_uncut"
_ALWAYS = ("prepare", "debate", "filter")


@dataclass(frozen=True)
class Arm:
    """How the model of an arm is trained.

    Attributes:
        stage: ``sft`` or ``grpo``.
        rows: Node of the filter whose rows (``grpo``: prompts) it learns from.
        settings: What makes it differ from other arms of the stage.
        match: Filter node of the arm it is compared with: both are cut to the smaller number of rows.
        against: That arm, where the cut is made only if it is wanted too; empty: the cut is always made.
        rewards: Nodes that a ``grpo`` arm reads beside its prompts, by port.
    """

    stage: str
    rows: str
    settings: tuple[str, ...] = ()
    match: str = ""
    against: str = ""
    rewards: tuple[tuple[str, str], ...] = ()


_RSFT, _VERIFIER = ("sft.objective=rsft",), ("grpo.prm_weight=0", "grpo.verifier_weight=1")
TRAINED = {
    "rsft": Arm("sft", "filter", _RSFT, match="filter-rft", against="rft"),
    "rft": Arm("sft", "filter-rft", _RSFT, match="filter"),
    "rft_self": Arm("sft", "filter-rft-self", _RSFT, match="filter"),
    "rsft_free": Arm("sft", "filter-free", _RSFT),
    "rft_free": Arm("sft", "filter-rft-free", _RSFT),
    "answer_sft": Arm("sft", "filter", ("sft.objective=answer",), match="filter-rft", against="rft"),
    "da": Arm("sft", "filter", ("sft.objective=da",)),
    "pad": Arm("grpo", "filter", rewards=(("prm", "prm"),)),
    "verifier_grpo": Arm("grpo", "filter", _VERIFIER),
}

_FILTERED = {"problems": "prepare"}
_SAMPLED = {"problems": "prepare", "budget": "debate"}
_JUDGED = {"steps": "label", "own": "label-own", "validation": "label-validation", "problems": "prepare"}
_VALIDATION = ("filter.split=validation", "filter.label_free=false")
# Where several nodes could start, the first declared does: the longest way to the end comes first.
SOURCES = (
    Node("prepare", "prepare"),
    Node("debate", "debate", {"problems": "prepare"}),
    Node("filter", "filter", {"debates": "debate", **_FILTERED}),
    Node("debate-validation", "debate", {"problems": "prepare"}, ("debate.split=validation",)),
    Node("filter-validation", "filter", {"debates": "debate-validation", **_FILTERED}, _VALIDATION),
    Node("label", "label", {"rows": "filter"}),
    Node("label-validation", "label", {"rows": "filter-validation"}),
    Node("debate-rft-self", "debate", _SAMPLED, ("debate.protocol=vote", "debate.voices=student")),
    Node("filter-rft-self", "filter", {"debates": "debate-rft-self", **_FILTERED}),
    Node("label-own", "label", {"rows": "filter-rft-self"}),
    Node("prm", "prm", _JUDGED),
    Node("debate-rft", "debate", _SAMPLED, ("debate.protocol=vote", "debate.voices=teacher")),
    Node("filter-rft", "filter", {"debates": "debate-rft", **_FILTERED}),
    Node("filter-free", "filter", {"debates": "debate", **_FILTERED}, ("filter.label_free=true",)),
    Node("filter-rft-free", "filter", {"debates": "debate-rft", **_FILTERED}, ("filter.label_free=true",)),
)
_ENDS = (
    Node("gate", "gate", {"report": "evaluate"}),
    Node("register", "register", {"report": "evaluate", "decision": "gate"}),
)


def distill(config: RunConfig) -> Chain:
    """The nodes that ``config.evaluate.arms`` needs, parents first.

    Raises:
        BadInputError: An arm is not known.
    """
    arms = tuple(dict.fromkeys(config.evaluate.arms))
    students = [arm for arm in arms if arm not in PLAYED]
    trained = [stack for arm in students for stack in _stacks(arm)]
    nodes = list({node.name: node for node in (_trained(arm, arms) for arm in trained)}.values())
    starts = {node.inputs.get("start") for node in nodes}
    nodes.sort(key=lambda node: node.stage != "grpo" and node.name not in starts)  # the longest ways first
    inputs = {"problems": "prepare", "debates": "debate", "rows": "filter"}
    inputs |= {arm: node_of(arm) for arm in students}
    if any("prm" in node.inputs for node in nodes):
        inputs["prm"] = "prm"
    ends = [Node("evaluate", "evaluate", inputs), *_ENDS]
    return ordered(_needed([*_sources(config), *nodes, *ends], [*_ALWAYS, "register"]))


def _sources(config: RunConfig) -> Iterable[Node]:
    """Labels by people need no debates; the reward model is then judged on a share of their problems."""
    if config.label.source != "human":
        return SOURCES
    read = {"label": {"problems": "prepare"}, "prm": {"steps": "label", "problems": "prepare"}}
    return [replace(node, inputs=read.get(node.name, node.inputs)) for node in SOURCES]


def node_of(arm: str) -> str:
    """Name of the node that trains an arm, a DNS label: ``sft-rft-self``, ``grpo-da-pad``.

    Raises:
        BadInputError: The arm is not known.
    """
    return f"{_arm(arm.rpartition('+')[2]).stage}-{arm.replace('_', '-').replace('+', '-')}"


def _stacks(arm: str) -> list[str]:
    """The arms that an arm is built on, itself last: ``a+b+c`` needs ``a`` and ``a+b``."""
    parts = arm.split("+")
    return ["+".join(parts[: count + 1]) for count in range(len(parts))]


def _arm(name: str) -> Arm:
    arm = TRAINED.get(name.removesuffix(UNCUT))
    if arm is None or (name.endswith(UNCUT) and not arm.match):
        known = [*PLAYED, *TRAINED]
        near = difflib.get_close_matches(name, known, n=1)
        raise BadInputError(
            f"no arm {name!r}{f'; did you mean {near[0]!r}?' if near else ''}; known: {', '.join(known)}, "
            f"stacks such as da+pad of all but the first three, and rsft{UNCUT}, rft{UNCUT}",
            where="config evaluate.arms",
        )
    return arm


def _trained(stack: str, arms: Iterable[str]) -> Node:
    """The node of an arm, with the arm below it in the stack as its start."""
    start, _, name = stack.rpartition("+")
    arm = _arm(name)
    inputs, settings = {"prompts": arm.rows, "problems": "prepare", **dict(arm.rewards)}, arm.settings
    uncut = UNCUT if name.endswith(UNCUT) else ""  # two uncut arms are no reason to cut a third
    if arm.stage == "sft":
        paired = bool(arm.match) and (not arm.against or arm.against + uncut in arms or arm.against in arms)
        inputs = {"rows": arm.rows} | ({"match": arm.match} if paired else {})
        settings += (f"sft.match={str(paired and not uncut).lower()}",)
    if start:
        inputs["start"] = node_of(start)
    return Node(node_of(stack), arm.stage, inputs, settings)


def _needed(nodes: Iterable[Node], wanted: Iterable[str]) -> list[Node]:
    """The wanted nodes and all that they read, as declared."""
    by_name = {node.name: node for node in nodes}
    found, waiting = set[str](), list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].inputs.values()
    return [node for node in by_name.values() if node.name in found]
