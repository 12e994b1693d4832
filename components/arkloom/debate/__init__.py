"""Stage ``debate``: problems in, recorded debates (or independent votes) out."""
