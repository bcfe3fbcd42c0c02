"""How a job reaches its things: pure decisions, given the clock; `rollouts.py` carries them out."""
