"""Extraction, grading and classes, by the tables in tests/cases."""

from __future__ import annotations

from arkloom.answers import extract, grade


def test_the_two_faults_of_gold_parsing():
    assert extract("She earns #### 1,000", "number") == "1000"
    assert extract("The answer is 3.5", "number") == "3.5"
    assert not grade("000", "1,000", "number")
    assert not grade("5", "3.5", "number")
