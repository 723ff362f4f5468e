-- REFRESH key, expiry, old, new, px: replaces the payload `old`, which expires at `expiry`,
-- unless the key was written since. (The expiry detects a write of the same bytes.)
if redis.call('PEXPIRETIME', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
if redis.pcall('GET', KEYS[1]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
