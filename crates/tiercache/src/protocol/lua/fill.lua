-- FILL key, lease, payload, px: stores the payload if the key holds the lease.
-- (pcall: a key of another type holds no lease, which is not an error.)
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
