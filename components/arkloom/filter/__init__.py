"""Stage ``filter``: which traces of a debate log are worth learning."""
