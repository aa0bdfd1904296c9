-- belay check 1: a write that needs room, and its reading. KEYS: any of ours. ARGV: value, ms it stays.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('GET', KEYS[1])
