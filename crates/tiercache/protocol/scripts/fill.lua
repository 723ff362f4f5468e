-- FILL key, own, payload, px: stores the payload if the key holds the marker `own`: the lease of
-- the reader that loaded it, or the unmarked fence of the writer that committed it.
-- (pcall: a key of another type holds no marker, which is not an error.)
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
