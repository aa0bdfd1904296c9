-- belay sit 1: a seat of a session is taken. KEYS: record, version, seats.
-- ARGV: principal, the rest of the seat as JSON, how long it stays if there is no record (ms).
-- Answers its generation: above all before, and above those of any copy that was put back.
local record, seats = '0', '0'
local versions = redis.call('GET', KEYS[2])
if versions then
  record, seats = string.match(versions, '^(%d+) (%d+)$')
  if not record then
    return redis.error_reply('DAMAGED ' .. KEYS[2] .. ' holds no versions')
  end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local generation = string.format('%.0f', math.max(tonumber(seats) + 1, now))
redis.call('HSET', KEYS[3], ARGV[1], '{"generation":' .. generation .. ',' .. ARGV[2])
redis.call('SET', KEYS[2], record .. ' ' .. generation)
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
return generation
