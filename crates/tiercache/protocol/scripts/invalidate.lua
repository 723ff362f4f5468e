-- INVALIDATE key, own: ends a write. Stores a tombstone, unless the key holds another writer's
-- fence, which that writer removes. `own` is the caller's fence if it was confirmed, else empty.
-- The other writer's value, if it stores one, may be older than this write: its fence is marked
-- by its last character, so that its FILL is refused.
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and #held == 69 and string.sub(held, 1, 5) == 'null\n'
    and not string.find(held, '[^ \t\n\r]', 6) then
  local fence = string.sub(held, 1, 68)
  if fence ~= string.sub(ARGV[1], 1, 68) then
    local set = redis.pcall('SET', KEYS[1], fence .. '\t', 'KEEPTTL')
    if type(set) == 'table' and set.err then redis.call('DEL', KEYS[1]) end
    return 0
  end
end
-- Out of memory, a server refuses SETEX but not DEL; an invalidation must not fail.
local set = redis.pcall('SETEX', KEYS[1], 1, 'null')
if type(set) == 'table' and set.err then redis.call('DEL', KEYS[1]) end
return 1
