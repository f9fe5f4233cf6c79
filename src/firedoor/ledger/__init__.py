"""Where incidents are kept: in this process, on this host, or shared by a fleet."""

from firedoor.ledger.base import Ledger
from firedoor.ledger.memory import MemoryLedger
from firedoor.ledger.opening import open_ledger

__all__ = ["Ledger", "MemoryLedger", "open_ledger"]
