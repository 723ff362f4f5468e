-- REFRESH key, end, old, new, ttl: replace the payload `old`, whose life ends at `end`, unless
-- anything has been written since that was read. (The end tells the same bytes, written anew.)
if redis.call('PEXPIRETIME', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
if redis.pcall('GET', KEYS[1]) ~= ARGV[2] then return 0 end
redis.call('SETEX', KEYS[1], ARGV[4], ARGV[3])
return 1
