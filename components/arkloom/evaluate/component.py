"""Kubeflow component of the stage ``evaluate``."""

from __future__ import annotations

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="evaluate",
    environment="serve",
    about="Lets every arm answer the test problems, and reports what the students keep of the debate.",
    ports=("problems", "debates?", "rows?", "prm?", "*"),
    students=("rsft", "rft", "rft_self"),
)
evaluate = COMPONENT.component()
