-- A shop in Redis: every request is one script, so one at a time and whole or not at all.
-- ARGV: what to do, idempotency key, customer, time to live in ms, order, then SKU and units in turn.
-- The answer: code, order, position, repeated, line, found, total, deadline; codes as in shop.sql.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function log(kind, order, deadline, total, lines)
    return redis.call('RPUSH', 'events', string.format('%s %d %d %d %d ', kind, now, order,
        deadline, total) .. table.concat(lines, ' '))
end

local function split(text)
    local words = {}
    for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
    return words
end

-- Moves the units of an order from one bucket to another, and notes its new state.
local function move(kind, id, from, to, state)
    local order = redis.call('HMGET', 'order:' .. id, 'customer', 'lines')
    local lines = split(order[2])
    for at = 1, #lines, 2 do
        redis.call('HINCRBY', 'sku:' .. lines[at], from, -lines[at + 1])
        redis.call('HINCRBY', 'sku:' .. lines[at], to, lines[at + 1])
        if to == 'available' and order[1] ~= '' then
            redis.call('HINCRBY', 'held:' .. lines[at], order[1], -lines[at + 1])
        end
    end
    redis.call('HSET', 'order:' .. id, 'state', state)
    redis.call('ZREM', 'deadlines', id)
    return log(kind, id, 0, 0, lines)
end

local function expire()
    local due = redis.call('ZRANGEBYSCORE', 'deadlines', '-inf', now, 'LIMIT', 0, 100)
    for _, id in ipairs(due) do move('expired', id, 'reserved', 'available', 'expired') end
    return #due
end

local what, key, customer, ttl, id = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if what == 'expire' then return expire() end
if what == 'receive' then
    redis.call('HINCRBY', 'sku:' .. ARGV[6], 'available', ARGV[7])
    return log('received', 0, 0, 0, { ARGV[6], ARGV[7] })
end

local function no(code, line, found)
    return { code, 0, redis.call('LLEN', 'events'), 0, line or 0, found or 0, 0, 0 }
end

local first = redis.call('HGET', 'answers', key)
if first then
    local told = split(first)
    return { 0, tonumber(told[1]), tonumber(told[2]), 1, 0, 0, tonumber(told[3]),
        tonumber(told[4]) }
end
local function yes(order, position, total, deadline)
    redis.call('HSET', 'answers', key,
        string.format('%d %d %d %d', order, position, total, deadline))
    return { 0, order, position, 0, 0, 0, total, deadline }
end

-- What is due gives its units back before anybody is told that there are none.
expire()
if what == 'buy' or what == 'reserve' then
    local lines, total, bucket = {}, 0, what == 'buy' and 'committed' or 'reserved'
    for at = 6, #ARGV, 2 do
        local line, units = (at - 6) / 2, tonumber(ARGV[at + 1])
        local sku = redis.call('HMGET', 'sku:' .. ARGV[at], 'price', 'limit', 'available')
        if not sku[1] then return no(6, line) end
        if tonumber(sku[2]) > 0 and customer ~= '' then
            local held = tonumber(redis.call('HGET', 'held:' .. ARGV[at], customer) or '0')
            if held + units > tonumber(sku[2]) then return no(2, line, sku[2] - held) end
        end
        if tonumber(sku[3]) < units then return no(1, line, tonumber(sku[3])) end
        total = total + sku[1] * units
        lines[#lines + 1] = ARGV[at]
        lines[#lines + 1] = ARGV[at + 1]
    end
    for at = 1, #lines, 2 do
        redis.call('HINCRBY', 'sku:' .. lines[at], 'available', -lines[at + 1])
        redis.call('HINCRBY', 'sku:' .. lines[at], bucket, lines[at + 1])
        if customer ~= '' then
            redis.call('HINCRBY', 'held:' .. lines[at], customer, lines[at + 1])
        end
    end
    local order, deadline = redis.call('LLEN', 'events') + 1, 0
    if what == 'reserve' then
        deadline = now + ttl
        redis.call('ZADD', 'deadlines', deadline, order)
    end
    redis.call('HSET', 'order:' .. order, 'state', what == 'buy' and 'placed' or 'reserved',
        'customer', customer, 'lines', table.concat(lines, ' '), 'total', total)
    local kind = what == 'buy' and 'bought' or 'reserved'
    return yes(order, log(kind, order, deadline, total, lines), total, deadline)
end

local state = redis.call('HGET', 'order:' .. id, 'state')
if not state then return no(3) end
if state == 'expired' and what ~= 'cancel' then return no(4) end
-- More may be due than one look ends.
local due = redis.call('ZSCORE', 'deadlines', id)
if what ~= 'cancel' and due and tonumber(due) <= now then return no(4) end
local order = tonumber(id)
if what == 'place' and state == 'reserved' then
    return yes(order, move('placed', id, 'reserved', 'committed', 'placed'), 0, 0)
elseif what == 'release' and state == 'reserved' then
    return yes(order, move('released', id, 'reserved', 'available', 'released'), 0, 0)
elseif what == 'cancel' and state == 'placed' then
    return yes(order, move('cancelled', id, 'committed', 'available', 'cancelled'), 0, 0)
end
return no(5)
