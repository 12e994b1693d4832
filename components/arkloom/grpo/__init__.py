"""Stage `grpo`: reinforcement of one student by step scores and a verifier (PAD and its control)."""
