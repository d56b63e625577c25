local scale = tonumber(arg[1])
local state = 11
local function rnd(limit)
  state = (state * 1103515245 + 12345) & 0x7fffffff
  return (state >> 8) % limit
end

local function tree(depth)
  if depth == 0 then return {} end
  return { tree(depth - 1), tree(depth - 1), name = "n" .. depth }
end
local function count(node)
  local n = 1
  for _, child in ipairs(node) do n = n + count(child) end
  return n
end

for _, mode in ipairs { "incremental", "generational" } do
  collectgarbage(mode)
  local sum = 0
  for n = 1, 8 * scale do sum = sum + count(tree(10 + n % 4)) end
  local words, parts = {}, {}
  for n = 1, 60000 * scale do
    local word = string.char(97 + rnd(26), 97 + rnd(26), 97 + rnd(26)) .. rnd(20)
    words[word] = (words[word] or 0) + 1
    if n % 10 == 0 then parts[#parts + 1] = word:rep(rnd(8)):upper() end
  end
  local names = {}
  for word in pairs(words) do names[#names + 1] = word end
  table.sort(names)
  local text = table.concat(parts, " ")
  local turned, times = text:gsub("(%a+)(%d+)", "%2%1")
  local makers = {}
  for n = 1, 2000 do
    makers[n] = coroutine.wrap(function() local own = {} for i = 1, 20 do own[i] = ("c"):rep(i * n % 100); coroutine.yield(#own[i]) end end)
  end
  local yielded = 0
  for _ = 1, 20 do for _, maker in ipairs(makers) do yielded = yielded + maker() end end
  local weak = setmetatable({}, { __mode = "k" })
  for n = 1, 5000 do weak[{ n }] = n end
  collectgarbage()
  local left = 0
  for _ in pairs(weak) do left = left + 1 end
  print(mode, sum, #names, names[1], #text, #turned, times, yielded, left)
end
local long = {}
for n = 1, 3000 do long[n] = ("X"):rep(n % 70) end
local _, found = table.concat(long, "."):gsub("X", "X")
print("long", found)
print(pcall(string.rep, "x", 1 << 40))
print(#string.pack("s4z", ("p"):rep(70000), "end"))
