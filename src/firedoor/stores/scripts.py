"""The Lua of the Redis store: one script for each atomic operation.

Every key is declared and carries the same hash tag, so a cluster runs them on one node. Time is the
server's own. Numbers are doubles in Lua, so amounts are exact up to 2^53 (`LARGEST`).

| key | type | holds |
|---|---|---|
| `counters` | hash | `key|s` settled, `key|h` held |
| `holds` | hash | id to state, and key, amount and floor of each line, packed |
| `due` | sorted set | id by when to look at the hold again: its lease's end, then when to forget it |
| `expiring` | sorted set | counter by when it may be forgotten |
| `board` | hash | version and text |
| `members:<space>` | hash | member to text |
| `members-due:<space>` | sorted set | member by when its time is over |
| `claim:<name>` | string | owner; ends by itself |
"""

from __future__ import annotations

from firedoor.core.budget import REMEMBER_EXPIRED, REMEMBER_SETTLED

__all__ = [
    "CLAIM",
    "COUNTERS",
    "MEMBERS",
    "PUBLISH",
    "RELEASE",
    "RENEW",
    "RESERVE",
    "SETTLE",
    "SWAP_BOARD",
    "SWEEP_LIMIT",
]

SWEEP_LIMIT = 200
"""Expired holds that one operation clears up. What is left waits at its full amount, which is safe."""

# L live, S settled, X expired. A hold is {state, key, amount, floor, key, amount, floor, ...}.
_HEAD = f"""
local remember_settled, remember_expired = {REMEMBER_SETTLED * 1000:.0f}, {REMEMBER_EXPIRED * 1000:.0f}
local counters, holds, due, expiring = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# Not when settling: the end of one hold is told as well beside others that have run out.
_SWEEP = f"""
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, {SWEEP_LIMIT})) do
  local packed = redis.call('HGET', holds, id)
  local hold = packed and cmsgpack.unpack(packed)
  if hold and hold[1] == 'L' then
    for i = 2, #hold, 3 do
      if hold[i + 1] > 0 then -- else the counter may be forgotten, and nothing is to be said
        redis.call('HINCRBY', counters, hold[i] .. '|h', -hold[i + 1])
        redis.call('HINCRBY', counters, hold[i] .. '|s', hold[i + 2])
      end
    end
    hold[1] = 'X'
    redis.call('HSET', holds, id, cmsgpack.pack(hold))
    redis.call('ZADD', due, now + remember_expired, id)
  else
    redis.call('HDEL', holds, id)
    redis.call('ZREM', due, id)
  end
end
"""

_FORGET = """
local function forget()
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', expiring, '-inf', now, 'LIMIT', 0, 50)) do
    if tonumber(redis.call('HGET', counters, key .. '|h') or 0) == 0 then
      redis.call('HDEL', counters, key .. '|s', key .. '|h')
      redis.call('ZREM', expiring, key)
    else
      redis.call('ZADD', expiring, now + remember_settled, key)
    end
  end
end
"""

RESERVE = (
    _HEAD
    + _SWEEP
    + _FORGET
    + """
-- ARGV: id, lease in ms, then of each line: key, limit, amount, floor, expires in ms, flags
-- (1 strict, 2 enforced). Answers 0 held, -1 over, or the number of the refusing line; the time;
-- settled and held of each line. An answer of -2 alone: the hold is there with other counters.
local id, lease = ARGV[1], tonumber(ARGV[2])
local fields = {}
for i = 3, #ARGV, 6 do
  fields[#fields + 1] = ARGV[i] .. '|s'
  fields[#fields + 1] = ARGV[i] .. '|h'
end
local found = redis.call('HMGET', counters, unpack(fields))
local packed = redis.call('HGET', holds, id)
local before = packed and cmsgpack.unpack(packed)
if before then
  if #before - 1 ~= (#ARGV - 2) / 2 then
    return {-2}
  end
  for i = 3, #ARGV, 6 do
    if before[(i + 1) / 2] ~= ARGV[i] then
      return {-2}
    end
  end
end
local verdict = 0
if before and before[1] ~= 'L' then
  verdict = -1
else
  local line = 0
  for i = 3, #ARGV, 6 do
    line = line + 1
    local grows = tonumber(ARGV[i + 2]) - (before and before[3 * line] or 0)
    local left = tonumber(ARGV[i + 1]) - (tonumber(found[2 * line - 1] or 0))
      - (tonumber(found[2 * line] or 0))
    local flags = tonumber(ARGV[i + 5])
    if flags >= 2 and grows > 0 and ((flags == 3 and grows > left) or left <= 0) then
      verdict = line
      break
    end
  end
end
local answer = {verdict, now}
if verdict == 0 then
  local hold, line = {'L'}, 0
  for i = 3, #ARGV, 6 do
    line = line + 1
    local key, amount = ARGV[i], tonumber(ARGV[i + 2])
    local grows = amount - (before and before[3 * line] or 0)
    hold[#hold + 1] = key
    hold[#hold + 1] = amount
    hold[#hold + 1] = tonumber(ARGV[i + 3])
    answer[2 * line + 1] = tonumber(found[2 * line - 1] or 0)
    answer[2 * line + 2] = redis.call('HINCRBY', counters, key .. '|h', grows)
    if not found[2 * line] then
      redis.call('ZADD', expiring, ARGV[i + 4], key)
      forget()
    end
  end
  redis.call('HSET', holds, id, cmsgpack.pack(hold))
  redis.call('ZADD', due, now + lease, id)
else
  for i = 1, #fields do
    answer[i + 2] = tonumber(found[i] or 0)
  end
end
return answer
"""
)

SETTLE = (
    _HEAD
    + """
-- ARGV: of each settlement: id, number of lines, what was spent on each. Answers the time, then of
-- each settlement -1 if it is not known, or the number of lines and settled and held of each. An
-- answer of -2 alone: the numbers of lines do not agree, and nothing was settled.
local known, i = {}, 1
while i <= #ARGV do
  local id, count = ARGV[i], tonumber(ARGV[i + 1])
  local packed = not known[id] and redis.call('HGET', holds, id)
  if packed then
    known[id] = cmsgpack.unpack(packed)
  end
  if known[id] and #known[id] ~= 3 * count + 1 then
    return {-2}
  end
  i = i + 2 + count
end
local answer = {now}
i = 1
while i <= #ARGV do
  local id, count = ARGV[i], tonumber(ARGV[i + 1])
  local hold = known[id]
  if not hold then
    answer[#answer + 1] = -1
  else
    local state = hold[1]
    answer[#answer + 1] = count
    for line = 1, count do
      local key, amount, floor = hold[3 * line - 1], hold[3 * line], hold[3 * line + 1]
      local settled, held = key .. '|s', key .. '|h'
      if state == 'S' then
        answer[#answer + 1] = tonumber(redis.call('HGET', counters, settled) or 0)
        answer[#answer + 1] = tonumber(redis.call('HGET', counters, held) or 0)
      else
        local live, spent = state == 'L', ARGV[i + 1 + line]
        answer[#answer + 1] = redis.call('HINCRBY', counters, settled, live and spent or spent - floor)
        answer[#answer + 1] = redis.call('HINCRBY', counters, held, live and -amount or 0)
        if not live or amount == 0 then
          -- It may have been forgotten meanwhile, and is to be forgotten again.
          redis.call('ZADD', expiring, 'NX', now, key)
        end
      end
    end
    if state ~= 'S' then
      hold[1] = 'S'
      redis.call('HSET', holds, id, cmsgpack.pack(hold))
      redis.call('ZADD', due, now + remember_settled, id)
    end
  end
  i = i + 2 + count
end
return answer
"""
)

RENEW = (
    _HEAD
    + _SWEEP
    + """
-- ARGV: lease in ms, ids. Answers the time, then 1 or 0 for each.
local answer = {now}
for i = 2, #ARGV do
  local packed = redis.call('HGET', holds, ARGV[i])
  if packed and cmsgpack.unpack(packed)[1] == 'L' then
    redis.call('ZADD', due, now + tonumber(ARGV[1]), ARGV[i])
    answer[i] = 1
  else
    answer[i] = 0
  end
end
return answer
"""
)

COUNTERS = (
    _HEAD
    + _SWEEP
    + """
-- ARGV: keys. Answers the time, then settled and held of each; without keys, every field and value.
local answer = {now}
if #ARGV == 0 then
  return {now, redis.call('HGETALL', counters)}
end
for _, key in ipairs(ARGV) do
  answer[#answer + 1] = tonumber(redis.call('HGET', counters, key .. '|s') or 0)
  answer[#answer + 1] = tonumber(redis.call('HGET', counters, key .. '|h') or 0)
end
return answer
"""
)

SWAP_BOARD = """
-- KEYS: board. ARGV: expected version, text, channel. Answers the new version, or -1.
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
local expected = tonumber(ARGV[1])
if version == expected + 1 and redis.call('HGET', KEYS[1], 'text') == ARGV[2] then
  return version -- the answer to the first asking was lost
end
if version ~= expected then
  return -1
end
redis.call('HSET', KEYS[1], 'version', expected + 1, 'text', ARGV[2])
redis.call('PUBLISH', ARGV[3], expected + 1)
return expected + 1
"""

_MEMBERS = """
-- KEYS: texts and ends of a space.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('HDEL', KEYS[1], member)
  redis.call('ZREM', KEYS[2], member)
end
"""

PUBLISH = (
    _MEMBERS
    + """
-- ARGV: member, text, time to live in ms.
local due = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], due, ARGV[1])
-- A space that nobody looks at any more ends with the last of its members.
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], last)
redis.call('PEXPIREAT', KEYS[2], last)
return due
"""
)

MEMBERS = (
    _MEMBERS
    + """
return redis.call('HGETALL', KEYS[1])
"""
)

CLAIM = """
-- KEYS: claim. ARGV: owner, time to live in ms. Answers 1 if the owner holds it now.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

RELEASE = """
-- KEYS: claim. ARGV: owner.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
"""
