"""The drill: a small real copilot, made to fail on purpose, and what firedoor records of it."""
