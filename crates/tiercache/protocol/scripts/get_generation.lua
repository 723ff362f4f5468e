-- GETGEN group, generation, px: returns the generation or the fence of a group, or else stores the
-- generation, which no entry has been loaded under yet.
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and #held == 69 and not string.find(held, '[^ \t\n\r]', 6) then
  local kind = string.sub(held, 1, 5)
  if kind == 'null\r' or kind == 'null\n' then return held end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
