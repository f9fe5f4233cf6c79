"""A way into the tables of a ledger, past what it promises."""

import contextlib

from firedoor.ledger.sqlite import SQLiteLedger


@contextlib.contextmanager
def writing(ledger):
    """What runs a statement in a transaction of the ledger's."""
    if isinstance(ledger, SQLiteLedger):
        with ledger._file.writing() as sql:
            yield sql.execute
    else:
        with ledger._transaction() as run:
            yield run
