"""Alerts: a rule on a signal, and what to do first. Public as `fd.alerts`."""

from firedoor.incidents.alert import Alert, Journey
from firedoor.incidents.default_alerts import defaults
from firedoor.incidents.watch import SignalSource, Transition, Watch

__all__ = ["Alert", "Journey", "SignalSource", "Transition", "Watch", "defaults"]
