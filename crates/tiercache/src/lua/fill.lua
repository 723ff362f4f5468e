-- FILL key, lease, payload, ttl: store the payload if the lease still stands.
-- (pcall: a key of another type holds no lease, which is no error.)
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SETEX', KEYS[1], ARGV[3], ARGV[2])
return 1
