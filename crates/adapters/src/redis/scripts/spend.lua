-- belay spend 1: notes what was taken of a rate limit (GCRA). KEYS: when the next cell is due (µs of store
-- time). ARGV: µs between cells, burst, cost. Answers how far ahead it is now (µs).
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local every, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = tonumber(redis.call('GET', KEYS[1]) or now)
if not due then
  return redis.error_reply('DAMAGED ' .. KEYS[1] .. ' holds no time')
end
-- No bucket is emptier than empty.
local after = math.min(math.max(due, now) + cost * every, now + burst * every)
if cost > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX',
    string.format('%.0f', math.ceil((after - now) / 1000) + 1))
end
return string.format('%.0f', after - now)
