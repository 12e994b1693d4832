"""What a stage that trains settles first: no notices of libraries, and its share of the cores."""

from __future__ import annotations

import torch
from transformers.utils import logging

from arkloom.cgroups import cores
from arkloom.config import RuntimeConfig


def quieten(runtime: RuntimeConfig) -> None:
    """Silence transformers and take this stage's share of the CPU: the configured threads, else by slots."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(runtime.threads or max(1, cores() // runtime.parallel))
