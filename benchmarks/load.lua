-- The load that wrk makes: `wrk ... -s load.lua URL -- BYTES` posts BYTES bytes, without BYTES it gets.
-- The result is one line that load.py reads; wrk's own report is rounded for people.

function init(args)
  if args[1] then
    wrk.method = "POST"
    wrk.body = string.rep("x", tonumber(args[1]))
    wrk.headers["Content-Type"] = "application/octet-stream"
  end
  request_bytes = wrk.format()
end

function request()
  return request_bytes
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write, errors.timeout))
end
