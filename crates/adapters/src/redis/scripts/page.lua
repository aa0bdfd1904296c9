-- belay page 1: sessions after one of them, oldest first. KEYS: sessions by age. ARGV: after (or empty), how many.
local from = 0
if ARGV[1] ~= '' then
  local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
  if not rank then
    return {}
  end
  from = rank + 1
end
return redis.call('ZRANGE', KEYS[1], from, from + tonumber(ARGV[2]) - 1)
