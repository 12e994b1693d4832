"""The outcome of the checks, as text to read."""

from __future__ import annotations

from typing import Any

_LIE_NAMES = {
    "slip": "peers agree on a slip as taught",
    "untaught": "peers agree on an offset never taught",
    "uniform": "peers agree on a uniform value",
}


def table(result: dict[str, Any]) -> str:
    """The causal check per layout, the debates and the well-formed share of each kind, as plain text."""
    head = f"{result['problems']} held-out problems at temperature {result['temperature']}"
    lines = [f"{head}; the neutral model alone {result['base']:.3f}"]
    for layout, found in result["layouts"].items():
        lines += ["", f"layout {layout}: one debater  right  follows the answer  follows the products"]
        for name, label in (
            ("alone", "alone"),
            ("right", "right peers"),
            ("society", "society peers"),
            ("other_problems", "peers of other problems"),
        ):
            lines.append(f"  {label:<40} {found[name]:.3f}")
        for how, told in found["lies"].items():
            lines.append(
                f"  {_LIE_NAMES[how]:<40} {told['accuracy']:.3f}  {told['follow_answer']:.3f}"
                f"  {told['follow_products']:.3f}"
            )
        lines.append(f"  {'weighs the products as the rule says':<40} {found['rule_obeyed']:.3f}")
        for who in ("agents", "vote"):
            series = " ".join(f"{share:.3f}" for share in found["debate"][who])
            lines.append(f"  {f'debate of five, {who}, round by round':<40} {series}")
    lines += ["", "well-formed answers"]
    lines += [f"  {kind:<40} {share:.3f}" for kind, share in result["well_formed"].items()]
    return "\n".join(lines)
