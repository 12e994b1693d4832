"""Stage `register`: a promoted model gets its card and its number."""
