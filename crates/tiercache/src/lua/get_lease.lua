-- GETLEASE key, lease, px, bad: the payload or marker that is there, or else take the lease.
-- `bad` are bytes that were read and rejected: a poisoned entry is replaced, not served again.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local held = redis.call('GET', KEYS[1])
if held and held ~= 'null' and held ~= ARGV[3] then
  return {held, redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {false, -2}
