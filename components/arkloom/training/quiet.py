"""What a stage that trains settles first: no notices of libraries, and its share of the cores."""

from __future__ import annotations

import os

import torch
from transformers.utils import logging

from arkloom.config import RuntimeConfig


def quieten(runtime: RuntimeConfig) -> None:
    """Silence transformers and take this stage's share of the CPU: the configured threads, else by slots."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    cores = os.cpu_count() or 1
    torch.set_num_threads(runtime.threads or max(1, cores // runtime.parallel))
