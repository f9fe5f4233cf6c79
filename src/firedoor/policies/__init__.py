"""Content policies: what may go in, what may come out, and what is done about the rest.

```python
chain = Chain([Regex("zeta-[0-9]{6}", on="input"), JsonSchema(Answer, on="output")])
screening = chain.screen_content(messages, "input")
if screening.blocked_by is None:
    send(screening.value)
```
"""

from firedoor.policies.base import Action, Context, Finding, Policy, SpanPolicy, Stage, Strictness
from firedoor.policies.chain import Chain
from firedoor.policies.detected import PersonalData, Secrets
from firedoor.policies.functions import Function, policy
from firedoor.policies.registry import from_config, register
from firedoor.policies.rules import JsonSchema, MaxLength, Regex
from firedoor.policies.screening import ContentScreening, Screening
from firedoor.policies.streaming import StreamFilter

__all__ = [
    "Action",
    "Chain",
    "ContentScreening",
    "Context",
    "Finding",
    "Function",
    "JsonSchema",
    "MaxLength",
    "PersonalData",
    "Policy",
    "Regex",
    "Screening",
    "Secrets",
    "SpanPolicy",
    "Stage",
    "StreamFilter",
    "Strictness",
    "from_config",
    "policy",
    "register",
]
