"""Answer types: reading answers from texts, grading them, and counting them in a vote."""

from arkloom.answers.grading import check_gold, classes, extract, grade, instruction, score, version
from arkloom.answers.protocol import AnswerType
from arkloom.answers.registry import get, names, register

__all__ = [
    "AnswerType",
    "check_gold",
    "classes",
    "extract",
    "get",
    "grade",
    "instruction",
    "names",
    "register",
    "score",
    "version",
]
