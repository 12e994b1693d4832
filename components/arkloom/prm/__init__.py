"""Stage `prm`: trains a process reward model on labelled steps, judges it, and says whether it may reward."""
