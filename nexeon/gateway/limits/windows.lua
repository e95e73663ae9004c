-- Sliding windows that several gateways share, as `windows.py` has them in memory. The clock is this server's.
--
-- take:   KEYS: the counters. ARGV: "take", id, lease, slots, then for each counter: seconds, limit, amount.
--         Answers {0, slot, left, reset, slot, left, reset, …}, or, with nothing taken, {place, wait, left, reset}.
-- settle: KEYS: the counters. ARGV: "settle", id, slots, then for each counter: seconds, slot, claimed, used.
-- renew:  KEYS: the counters. ARGV: "renew", lease, then for each counter: id.
-- Numbers with a fraction travel as text. A counter of 0 seconds counts what is held, until it runs out.

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local verb = ARGV[1]

local function read(key, seconds, slots)
  -- The amounts by slot, their sum, and the newest slot that has any.
  local width = seconds / slots
  local last = math.floor(now / width)
  local amounts, total, newest, old = {}, 0, nil, {}
  local found = redis.call('HGETALL', key)
  for place = 1, #found, 2 do
    local slot, amount = tonumber(found[place]), tonumber(found[place + 1])
    if slot < last - slots then
      old[#old + 1] = found[place]
    else
      amounts[#amounts + 1] = {slot, amount}
      total = total + amount
      if amount > 0 and (newest == nil or slot > newest) then newest = slot end
    end
  end
  if #old > 0 then redis.call('HDEL', key, unpack(old)) end
  return {amounts = amounts, total = total, newest = newest, last = last, width = width}
end

local function level(window, limit, seconds, slots)
  local reset = 0
  if window.newest ~= nil then
    reset = math.min(math.max((window.newest + 1 + slots) * window.width - now, 0), seconds)
  end
  return math.max(limit - window.total, 0), tostring(reset)
end

local function wait(window, limit, amount, slots)
  if limit <= 0 then return window.width * (slots + 1) end
  -- A claim larger than its limit is let in once nothing else counts.
  local wanted = window.total + math.min(amount, limit) - limit
  if wanted <= 0 then return 0 end
  table.sort(window.amounts, function(one, other) return one[1] < other[1] end)
  for _, slot in ipairs(window.amounts) do
    wanted = wanted - slot[2]
    if wanted <= 0 then return math.max((slot[1] + 1 + slots) * window.width - now, 0.001) end
  end
  return window.width * (slots + 1)
end

if verb == 'take' then
  local id, lease, slots = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
  local windows, worst, longest = {}, 0, 0
  for place, key in ipairs(KEYS) do
    local seconds, limit, amount =
      tonumber(ARGV[2 + 3 * place]), tonumber(ARGV[3 + 3 * place]), tonumber(ARGV[4 + 3 * place])
    local window, pause
    if seconds == 0 then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
      window = {total = redis.call('ZCARD', key)}
      pause = window.total + amount > limit and 1 or 0
    else
      window = read(key, seconds, slots)
      pause = wait(window, limit, amount, slots)
    end
    window.seconds, window.limit, window.amount = seconds, limit, amount
    windows[place] = window
    if pause > longest then worst, longest = place, pause end
  end
  if worst > 0 then
    local window = windows[worst]
    return {worst, tostring(longest), level(window, window.limit, window.seconds, slots)}
  end
  local answer = {0}
  for place, key in ipairs(KEYS) do
    local window = windows[place]
    window.total = window.total + window.amount
    if window.seconds == 0 then
      for part = 1, window.amount do redis.call('ZADD', key, now + lease, id .. ':' .. part) end
      redis.call('PEXPIRE', key, math.ceil(lease * 1000))
      window.last = 0
    else
      if window.amount > 0 then
        redis.call('HINCRBY', key, window.last, window.amount)
        window.newest = window.last
      end
      redis.call('PEXPIRE', key, math.ceil((window.seconds + 2 * window.width) * 1000))
    end
    local left, reset = level(window, window.limit, window.seconds, slots)
    answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = window.last, left, reset
  end
  return answer
end

if verb == 'settle' then
  local id, slots = ARGV[2], tonumber(ARGV[3])
  for place, key in ipairs(KEYS) do
    local seconds, slot, claimed, used =
      tonumber(ARGV[4 * place]), tonumber(ARGV[1 + 4 * place]), tonumber(ARGV[2 + 4 * place]),
      tonumber(ARGV[3 + 4 * place])
    if seconds == 0 then
      for part = 1, claimed do redis.call('ZREM', key, id .. ':' .. part) end
    elseif used ~= claimed then
      local width = seconds / slots
      local last = math.floor(now / width)
      if used > claimed then
        redis.call('HINCRBY', key, last, used - claimed)
        redis.call('PEXPIRE', key, math.ceil((seconds + 2 * width) * 1000))
      elseif slot >= last - slots then
        local there = tonumber(redis.call('HGET', key, slot) or '0')
        redis.call('HINCRBY', key, slot, math.max(used - claimed, -there))
      end
    end
  end
  return 1
end

local lease = tonumber(ARGV[2])
for place, key in ipairs(KEYS) do
  redis.call('ZADD', key, 'XX', now + lease, ARGV[2 + place])
  redis.call('PEXPIRE', key, math.ceil(lease * 1000))
end
return 1
