-- belay save 2: the next version of a record, by compare-and-set.
-- KEYS: record, version, seats, that it was removed. ARGV: known format, version before, version now, record, its devices.
-- Answers what was done (0 conflict, 1 saved, 2 this very save was done before), and the change of devices.
local stored = redis.call('GET', KEYS[1])
local record, seats = '0', '0'
local versions = redis.call('GET', KEYS[2])
if versions then
  record, seats = string.match(versions, '^(%d+) (%d+)$')
  if not record then
    return redis.error_reply('DAMAGED ' .. KEYS[2] .. ' holds no versions')
  end
end
local devices = 0
if stored then
  local format = string.match(stored, '^{"v":(%d+)[,}]')
  if not format then
    return redis.error_reply('DAMAGED ' .. KEYS[1] .. ' holds no record')
  end
  if tonumber(format) > tonumber(ARGV[1]) then
    return redis.error_reply('NEWER ' .. format)
  end
  if stored == ARGV[4] then
    return {2, 0}
  end
  if record == '0' then
    -- Its version key was lost, so the record itself has to say.
    local ok, whole = pcall(cjson.decode, stored)
    if not ok or type(whole.record) ~= 'table' or type(whole.record.version) ~= 'number' then
      return redis.error_reply('DAMAGED ' .. KEYS[1] .. ' holds no record')
    end
    record = string.format('%.0f', whole.record.version)
  end
  devices = tonumber(string.match(stored, '^{"v":%d+,"save":"[^"]*","devices":(%d+)')) or 0
else
  record = '0'
end
if record ~= ARGV[2] then
  return {0, 0}
end
-- What was removed comes back as a session of its own only, and not as one that was lost.
if not stored and ARGV[3] ~= '1' and redis.call('EXISTS', KEYS[4]) == 1 then
  return {0, 0}
end
redis.call('SET', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[3] .. ' ' .. seats)
redis.call('PERSIST', KEYS[3])
if not stored then
  redis.call('DEL', KEYS[4])
end
return {1, tonumber(ARGV[5]) - devices}
