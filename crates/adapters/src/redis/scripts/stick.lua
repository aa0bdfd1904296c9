-- belay stick 1: which node an affinity key is at. KEYS: note. ARGV: node, ms it lasts, a node that it may
-- take the place of, or nothing.
-- Answers the node that is noted now.
local noted = redis.call('GET', KEYS[1])
if noted and noted ~= ARGV[1] and noted ~= ARGV[3] then
  return noted
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
