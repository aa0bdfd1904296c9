-- belay hold 1: a lease on work. KEYS: holder, fence. ARGV: node, ms it lasts.
-- Answers its fencing number, or nothing if somebody else has it.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  local fence = redis.call('GET', KEYS[2])
  if fence then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return fence
  end
elseif holder then
  return false
end
-- Not only one more than before: a store that went back must not give a number again.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
if not before then
  return redis.error_reply('DAMAGED ' .. KEYS[2] .. ' holds no number')
end
local fence = string.format('%.0f', math.max(before + 1, now))
redis.call('SET', KEYS[2], fence)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return fence
