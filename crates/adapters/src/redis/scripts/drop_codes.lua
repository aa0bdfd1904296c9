-- belay drop_codes 1: entries that lead nowhere. KEYS: sessions by when they were noted (ms).
-- ARGV: ms that an entry is spared, for its record may be written right after it; then sessions.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local dropped = 0
for n = 2, #ARGV do
  local noted = redis.call('ZSCORE', KEYS[1], ARGV[n])
  if noted and tonumber(noted) < now - tonumber(ARGV[1]) then
    dropped = dropped + redis.call('ZREM', KEYS[1], ARGV[n])
  end
end
return dropped
