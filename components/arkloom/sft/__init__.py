"""Stage `sft`: supervised training of one student on rows that the filter kept."""
