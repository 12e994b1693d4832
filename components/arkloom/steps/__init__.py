"""Steps of a trace: where each ends, what it computes, and how well its first error is found."""

from arkloom.steps.first_error import first_error_f1

__all__ = ["first_error_f1"]
