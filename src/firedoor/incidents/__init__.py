"""From signals to incidents: what is watched, what alerts, what acts, and the record of it."""
