-- wrk -s bench/wrk.lua URL -- FILE FIRST STATUS: sends the requests of a file, in order, over and over, beginning with the one
-- at FIRST (from 0), and prints how many were answered, in how many microseconds, how many answers did not have the status
-- or did not come, and which request is next. In the file each request stands behind a line with its length.
local requests = {}
local running

function setup(thread)
  running = thread
end

function init(arguments)
  local file = assert(io.open(arguments[1], 'rb'))
  for length in file:lines() do
    requests[#requests + 1] = file:read(tonumber(length))
  end
  file:close()
  position = tonumber(arguments[2])
  unexpected = 0
  local expected = tonumber(arguments[3])
  -- wrk itself counts every status from 400 on, which costs less than asking for every answer.
  asking = expected >= 400
  if asking then
    response = function(status)
      if status ~= expected then unexpected = unexpected + 1 end
    end
  end
end

function request()
  local next_request = requests[position % #requests + 1]
  position = position + 1
  return next_request
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  local unwanted = running:get('asking') and running:get('unexpected') or errors.status
  print(string.format('RESULT %d %d %d %d', summary.requests, summary.duration, failed + unwanted, running:get('position')))
end
