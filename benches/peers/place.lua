-- One order, all or nothing: duplicate check, stock, limit per customer, record.
-- KEYS[1] stock, KEYS[2] hash of units by customer, KEYS[3] the order.
-- ARGV[1] customer, ARGV[2] limit, ARGV[3] SKU.
if redis.call('EXISTS', KEYS[3]) == 1 then return 2 end
local stock = tonumber(redis.call('GET', KEYS[1]) or '0')
if stock < 1 then return 0 end
local had = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
if had + 1 > tonumber(ARGV[2]) then return 3 end
redis.call('DECR', KEYS[1])
redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
redis.call('HSET', KEYS[3], 'c', ARGV[1], 's', ARGV[3], 'q', '1', 't', '1299')
return 1
