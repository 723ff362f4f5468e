-- GETLEASE key, lease, px, bad: returns the payload or marker of the key, or else stores the
-- lease. `bad` is a payload that was read and rejected: an invalid entry is replaced.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local held = redis.call('GET', KEYS[1])
if held and held ~= 'null' and held ~= ARGV[3] then
  return {held, redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {false, -2}
