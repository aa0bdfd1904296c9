-- belay leave 1: a seat is given up, unless a newer connection has it. KEYS: version, seats.
-- ARGV: principal, generation. Answers whether it was.
local seat = redis.call('HGET', KEYS[2], ARGV[1])
if not seat or string.match(seat, '^{"generation":(%d+),') ~= ARGV[2] then
  return 0
end
local record, seats = '0', '0'
local versions = redis.call('GET', KEYS[1])
if versions then
  record, seats = string.match(versions, '^(%d+) (%d+)$')
  if not record then
    return redis.error_reply('DAMAGED ' .. KEYS[1] .. ' holds no versions')
  end
end
redis.call('SET', KEYS[1], record .. ' ' .. string.format('%.0f', tonumber(seats) + 1), 'KEEPTTL')
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
