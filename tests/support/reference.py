"""Counters and holds as plainly as they can be said: no speed, no sharing, every rule in sight."""

from firedoor.core.budget import Answer, Balance


class Reference:
    """A store that recomputes every counter from its list of holds; time is a number to set."""

    def __init__(self):
        self.time = 0.0
        self.holds = {}

    def reserve(self, name, lines, lease):
        self._expire()
        hold = self.holds.get(name)
        if hold is not None and hold["state"] != "live":
            return Answer(False, None, self.balances([one.key for one in lines]))
        without = {n: h for n, h in self.holds.items() if n != name}
        for index, one in enumerate(lines):
            already = 0 if hold is None else hold["lines"][index].amount
            settled, held = self._balance(one.key, without)
            used = settled + held + already
            grows = one.amount > already
            full = settled + held + one.amount > one.limit if one.strict else used >= one.limit
            if one.enforce and grows and full:
                return Answer(False, index, self.balances([one.key for one in lines]))
        self.holds[name] = {
            "state": "live",
            "lines": lines,
            "due": self.time + lease,
            "spent": None,
        }
        return Answer(True, None, self.balances([one.key for one in lines]))

    def renew(self, names, lease):
        self._expire()
        found = []
        for name in names:
            live = name in self.holds and self.holds[name]["state"] == "live"
            if live:
                self.holds[name]["due"] = self.time + lease
            found.append(live)
        return tuple(found)

    def settle(self, settlements):
        self._expire()
        found = []
        for name, actual in settlements:
            hold = self.holds.get(name)
            if hold is None:
                found.append(None)
                continue
            if hold["state"] != "settled":
                hold |= {"state": "settled", "spent": list(actual)}
            found.append(self.balances([one.key for one in hold["lines"]]))
        return tuple(found)

    def balances(self, keys):
        self._expire()
        return tuple(Balance(*self._balance(key, self.holds)) for key in keys)

    def _balance(self, key, holds):
        settled = held = 0
        for hold in holds.values():
            for index, one in enumerate(hold["lines"]):
                if one.key != key:
                    continue
                if hold["state"] == "live":
                    held += one.amount
                else:
                    settled += hold["spent"][index]
        return settled, held

    def _expire(self):
        for hold in self.holds.values():
            if hold["state"] == "live" and hold["due"] <= self.time:
                hold |= {"state": "expired", "spent": [one.floor for one in hold["lines"]]}
