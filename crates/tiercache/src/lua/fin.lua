-- FIN key, own: a write is over. Invalidate, unless another writer's fence stands, which its
-- own FIN will take away. `own` is the caller's fence if it was acknowledged, or else empty.
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[1] and #held == 69
    and string.sub(held, 1, 5) == 'null\n' and not string.find(held, '[^ \t\n\r]', 6) then
  return 0
end
-- A server that is out of memory refuses SETEX but not DEL, and an invalidation must not fail.
local set = redis.pcall('SETEX', KEYS[1], 1, 'null')
if type(set) == 'table' and set.err then redis.call('DEL', KEYS[1]) end
return 1
