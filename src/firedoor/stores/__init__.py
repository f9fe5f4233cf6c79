"""Where counters and switches live: in this process, on this host, or shared by a fleet."""

from firedoor.stores.base import Answer, Balance, Line, Store
from firedoor.stores.memory import MemoryStore
from firedoor.stores.opening import open_store

__all__ = ["Answer", "Balance", "Line", "MemoryStore", "Store", "open_store"]
