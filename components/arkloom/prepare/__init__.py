"""The stage that turns a source of problems into three splits."""
