"""Stage `label`: says of each step of a trace whether it is right, from evidence or from people."""
