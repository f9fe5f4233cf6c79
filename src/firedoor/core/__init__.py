"""Pure machines: they are told the time and what happened, and answer with values."""
