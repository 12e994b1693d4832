"""Chains: each DAG of stages, declared once as data, and the ways to run it."""
