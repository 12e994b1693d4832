"""Steps of a trace: where each ends, and what it computes."""
