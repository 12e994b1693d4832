"""What a debate log shows: trajectories and their classes, deliberation gain, importers of foreign logs."""
