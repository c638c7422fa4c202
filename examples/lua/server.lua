local socket = require("socket")

local server = assert(socket.bind("*", tonumber(arg[1])))
while true do
    local client = assert(server:accept())
    client:settimeout(10)
    repeat
        local line = client:receive()
    until not line or line == ""
    local body = "hello from " .. _VERSION .. " on " .. socket.dns.gethostname() .. "\n"
    client:send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
    client:close()
end
