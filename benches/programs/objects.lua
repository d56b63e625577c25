-- Tables, closures and strings, made and dropped.
local people, total = {}, 0
for round = 1, 12 do
    people = {}
    for i = 1, 20000 do
        people[i] = {name = "person " .. i, age = i % 90, tags = {"a" .. i % 7, "b" .. i % 11}}
    end
    local by_tag = {}
    for _, person in ipairs(people) do
        for _, tag in ipairs(person.tags) do
            by_tag[tag] = by_tag[tag] or {}
            table.insert(by_tag[tag], function() return person.name end)
        end
    end
    local parts = {}
    for tag, list in pairs(by_tag) do
        parts[#parts + 1] = tag .. ":" .. #list .. ":" .. list[1]():upper()
    end
    table.sort(parts)
    total = total + #table.concat(parts, ";")
end
print(total)
