"""The chain that distils a debate into one model, with the controls that decide the claim.

``rft`` asks whether the debate teaches more than sampling: per problem, independent answers of the
same teachers up to the tokens of that problem's own debate; same filter, same priority, and both
arms are cut to the same number of rows. ``rft_self`` draws from the student itself instead; what it
misconceives it never gets right, so it has fewer rows, and the report gives them beside the arm.
An ``_uncut`` arm is trained on all rows of the arm that the cut shortened.
"""

from __future__ import annotations

from arkloom.chains.graph import Chain, Node, ordered
from arkloom.config import RunConfig
from arkloom.errors import BadInputError

STUDENTS = ("rsft", "rft", "rft_self", "rsft_uncut", "rft_uncut")
PLAYED = ("base", "vote", "debate")  # arms that evaluation plays itself: nothing is trained for them

_CONTROL_VOICES = {"rft": "teacher", "rft_self": "student"}


def distill(config: RunConfig) -> Chain:
    """The nodes that ``config.evaluate.arms`` needs, parents first.

    Raises:
        BadInputError: An arm is not known.
    """
    arms = config.evaluate.arms
    for arm in arms:
        if arm not in STUDENTS + PLAYED:
            raise BadInputError(
                f"no arm {arm!r}; known: {', '.join(PLAYED + STUDENTS)}", where="config evaluate.arms"
            )
    nodes = [
        Node("prepare", "prepare"),
        Node("debate", "debate", {"problems": "prepare"}),
        Node("filter", "filter", {"debates": "debate", "problems": "prepare"}),
    ]
    controls = [c for c in _CONTROL_VOICES if c in arms or (c == "rft" and _pairs_with_rft(arms))]
    for control in controls:
        nodes += _control_rows(control)
    students = [arm for arm in arms if arm in STUDENTS]
    nodes += [_student(arm, paired=_pairs_with_rft(arms)) for arm in students]
    inputs = {"problems": "prepare", "debates": "debate", "rows": "filter"}
    nodes.append(Node("evaluate", "evaluate", inputs | {arm: _name("sft", arm) for arm in students}))
    return ordered(nodes)


def _pairs_with_rft(arms: tuple[str, ...]) -> bool:
    return bool({"rft", "rft_uncut"} & set(arms))


def _control_rows(control: str) -> list[Node]:
    debate, rows = _name("debate", control), _name("filter", control)
    voices = _CONTROL_VOICES[control]
    return [
        Node(
            debate,
            "debate",
            {"problems": "prepare", "budget": "debate"},
            ("debate.protocol=vote", f"debate.voices={voices}"),
        ),
        Node(rows, "filter", {"debates": debate, "problems": "prepare"}),
    ]


def _student(arm: str, paired: bool) -> Node:
    source = arm.removesuffix("_uncut")
    own = "filter" if source == "rsft" else _name("filter", source)
    partner = _name("filter", "rft") if source == "rsft" else "filter"
    inputs = {"rows": own}
    if source != "rsft" or paired:
        inputs["match"] = partner
    cut = "match" in inputs and not arm.endswith("_uncut")
    return Node(_name("sft", arm), "sft", inputs, (f"sft.match={str(cut).lower()}",))


def _name(stage: str, arm: str) -> str:
    return f"{stage}-{arm.replace('_', '-')}"
