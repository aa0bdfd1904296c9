-- belay remove 2: all that is kept of a session. KEYS: record, version, seats, that it was removed.
-- ARGV: known format, how long the last is remembered (ms).
-- Answers how many devices it had.
local stored = redis.pcall('GET', KEYS[1])
local devices = 0
if type(stored) == 'string' then
  local format = string.match(stored, '^{"v":(%d+)[,}]')
  if format and tonumber(format) > tonumber(ARGV[1]) then
    return redis.error_reply('NEWER ' .. format)
  end
  devices = tonumber(string.match(stored, '^{"v":%d+,"save":"[^"]*","devices":(%d+)')) or 0
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('SET', KEYS[4], '1', 'PX', ARGV[2])
return devices
