-- belay take 1: a rate limit (GCRA). KEYS: when the next cell is due (µs of store time).
-- ARGV: µs between cells, burst, cost. Answers 0, or how long to wait (µs).
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local every, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = tonumber(redis.call('GET', KEYS[1]) or now)
if not due then
  return redis.error_reply('DAMAGED ' .. KEYS[1] .. ' holds no time')
end
-- No bucket is emptier than empty: a clock that went back locks nobody out.
due = math.min(math.max(due, now), now + burst * every)
local after = due + cost * every
local wait = after - burst * every - now
if wait > 0 then
  return string.format('%.0f', wait)
end
local text = string.format('%.0f', after)
redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', math.ceil((after - now) / 1000) + 1))
return '0'
