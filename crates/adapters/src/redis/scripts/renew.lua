-- belay renew 1: the lease of a node's life. KEYS: nodes. ARGV: node, ms it lasts, ms that ended ones stay.
-- Answers the time (ms), then who is alive.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - tonumber(ARGV[3])))
local alive = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
table.insert(alive, 1, string.format('%.0f', now))
return alive
