"""Stage ``evaluate``: what every arm answers on held-out problems, at what cost, with intervals."""
