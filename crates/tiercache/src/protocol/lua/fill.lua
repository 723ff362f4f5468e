-- FILL key, lease, payload, ttl: stores the payload if the key holds the lease.
-- (pcall: a key of another type holds no lease, which is not an error.)
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SETEX', KEYS[1], ARGV[3], ARGV[2])
return 1
