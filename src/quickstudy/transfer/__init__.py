"""From known tasks to one global policy, and from there to a new task."""
