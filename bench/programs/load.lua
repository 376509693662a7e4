-- The load: `connections` keep-alive connections, prepared requests in rotation, every answer compared with what it must be.
--
-- Two ways: closed (each connection asks again as soon as it is answered) and open (`rate` calls a second at random instants, a Poisson
-- process; a call's time then counts from the instant at which it was due, so that a server that stalls cannot hide its queue).
-- One thread, epoll, no parsing beyond what finds the end of an answer. It runs in the LuaJIT that the package lupa brings.

local ffi = require("ffi")
local C = ffi.C

ffi.cdef [[
typedef struct { int64_t s; int64_t ns; } gb_time;
typedef struct { uint16_t family; uint16_t port; uint32_t address; char zero[8]; } gb_address;
int socket(int, int, int);
int connect(int, const void *, unsigned int);
int setsockopt(int, int, int, const void *, unsigned int);
int fcntl(int, int, ...);
int close(int);
long read(int, void *, size_t);
long write(int, const void *, size_t);
int epoll_create1(int);
int epoll_ctl(int, int, int, void *);
long syscall(long, ...);
int clock_gettime(int, gb_time *);
int prctl(int, ...);
int memcmp(const void *, const void *, size_t);
void *memmem(const void *, size_t, const void *, size_t);
void *memmove(void *, const void *, size_t);
char *strerror(int);
]]
if ffi.arch == "x64" then
  ffi.cdef [[typedef struct __attribute__((packed)) { uint32_t events; uint32_t slot; uint32_t unused; } gb_event;]]
else
  ffi.cdef [[typedef struct { uint32_t events; uint32_t padding; uint32_t slot; uint32_t unused; } gb_event;]]
end

local EPOLL_PWAIT2 = 441 -- the same number on every architecture; Linux 5.11
local EINTR, EAGAIN = 4, 11
local MONOTONIC = 1

local tick = ffi.new("gb_time")
local function now()
  C.clock_gettime(MONOTONIC, tick)
  return tonumber(tick.s) + tonumber(tick.ns) * 1e-9
end

local function fail(what) error(what .. ": " .. ffi.string(C.strerror(ffi.errno())), 0) end

-- TLS, where it is asked for: the system's OpenSSL, chain and name verified.
local tls
local function open_tls(ca_file)
  ffi.cdef [[
  void *TLS_client_method(void);
  void *SSL_CTX_new(void *);
  int SSL_CTX_load_verify_locations(void *, const char *, const char *);
  void SSL_CTX_set_verify(void *, int, void *);
  void *SSL_new(void *);
  int SSL_set1_host(void *, const char *);
  int SSL_set_fd(void *, int);
  int SSL_connect(void *);
  int SSL_read(void *, void *, int);
  int SSL_write(void *, const void *, int);
  int SSL_get_error(void *, int);
  const char *SSL_get_version(void *);
  const char *SSL_CIPHER_get_name(void *);
  void *SSL_get_current_cipher(void *);
  void SSL_free(void *);
  ]]
  local lib = ffi.load("libssl.so.3")
  local context = lib.SSL_CTX_new(lib.TLS_client_method())
  assert(lib.SSL_CTX_load_verify_locations(context, ca_file, nil) == 1, "the CA file cannot be read")
  lib.SSL_CTX_set_verify(context, 1, nil)
  return { lib = lib, context = context }
end

return function(config)
  local connections = config.connections
  local requests, expected = config.requests, config.expected -- request i is answered by expected[classes[i]]
  local classes, order, order_count = config.classes, config.order, #config.order -- the order in which requests are sent, again and again
  local buffer_bytes = config.buffer_bytes
  local buffers, filled, fds, which, started, sessions = {}, {}, {}, {}, {}, {}
  local by_contents = config.by_contents
  local description

  if config.ca_file then tls = open_tls(config.ca_file) end
  C.prctl(29, ffi.cast("unsigned long", 1)) -- timer slack 1 ns: arrivals at the instants they are due

  local epoll = C.epoll_create1(0)
  if epoll < 0 then fail("epoll") end

  local function connect(slot)
    local fd = C.socket(2, 1, 0)
    if fd < 0 then fail("socket") end
    local address = ffi.new("gb_address")
    address.family = 2
    address.port = bit.bor(bit.lshift(bit.band(config.port, 255), 8), bit.rshift(config.port, 8))
    address.address = 0x0100007f -- 127.0.0.1, and nowhere else
    if C.connect(fd, address, 16) ~= 0 then fail("connect") end
    local one = ffi.new("int[1]", 1)
    C.setsockopt(fd, 6, 1, one, 4)
    if tls then
      local session = tls.lib.SSL_new(tls.context)
      tls.lib.SSL_set1_host(session, "127.0.0.1")
      tls.lib.SSL_set_fd(session, fd)
      if tls.lib.SSL_connect(session) ~= 1 then error("the TLS handshake failed", 0) end
      sessions[slot] = session
      description = ffi.string(tls.lib.SSL_get_version(session)) .. " "
        .. ffi.string(tls.lib.SSL_CIPHER_get_name(tls.lib.SSL_get_current_cipher(session)))
    end
    C.fcntl(fd, 4, ffi.cast("int", 0x800))
    local event = ffi.new("gb_event")
    event.events, event.slot = 1, slot
    if C.epoll_ctl(epoll, 1, fd, event) ~= 0 then fail("epoll_ctl") end
    fds[slot], filled[slot], which[slot], started[slot] = fd, 0, 0, 0
    buffers[slot] = ffi.new("uint8_t[?]", buffer_bytes)
  end
  for slot = 1, connections do connect(slot) end

  local sent, answers, counted, counted_bytes, wrong, first_wrong = 0, 0, 0, 0, 0, nil
  local due_max_behind = 0
  local fine, coarse = ffi.new("double[?]", 100001), ffi.new("double[?]", 100001) -- 1 µs up to 100 ms; 1 ms up to 100 s
  local total_us, worst_us = 0, 0
  local turn = 0

  local function complain(slot, words)
    wrong = wrong + 1
    if not first_wrong then
      first_wrong = words .. "\n" .. ffi.string(buffers[slot], math.min(filled[slot], 1500))
    end
  end

  local function send(slot, at)
    turn = turn + 1
    if turn > order_count then turn = 1 end
    local request = order[turn]
    local text = requests[request]
    which[slot], started[slot], filled[slot] = request, at, 0
    local done
    if tls then done = tls.lib.SSL_write(sessions[slot], text, #text)
    else done = tonumber(C.write(fds[slot], text, #text)) end
    if done ~= #text then fail("a request was not taken whole") end
    sent = sent + 1
  end

  -- Bytes of the answer in the buffer: nil while it is not whole; else where its body begins and how long it is.
  local CRLF2, LENGTH, CHUNKED = "\r\n\r\n", "ontent-", "chunked"
  local function number_at(buffer, at, base)
    local value, any = 0, false
    while true do
      local digit = buffer[at]
      if digit >= 48 and digit <= 57 then digit = digit - 48
      elseif base == 16 and digit >= 97 and digit <= 102 then digit = digit - 87
      elseif base == 16 and digit >= 65 and digit <= 70 then digit = digit - 55
      else return any and value or nil, at end
      value, any, at = value * base + digit, true, at + 1
    end
  end

  local function content_length(buffer, head)
    local from = ffi.cast("uint8_t *", buffer)
    local left = head
    while true do
      local found = ffi.cast("uint8_t *", C.memmem(from, left, "ength: ", 7))
      if found == nil then return nil end
      if found[-1] == 76 or found[-1] == 108 then
        if C.memcmp(found - 8, LENGTH, 7) == 0 then return (number_at(buffer, tonumber(found - buffer) + 7, 10)) end
      end
      left = left - tonumber(found + 7 - from)
      from = found + 7
    end
  end

  local function whole(slot)
    local buffer, size = buffers[slot], filled[slot]
    local found = ffi.cast("uint8_t *", C.memmem(buffer, size, CRLF2, 4))
    if found == nil then return nil end
    local head = tonumber(found - buffer) + 4
    local length = content_length(buffer, head)
    if length then
      if size < head + length then return nil end
      return head, length
    end
    if C.memmem(buffer, head, CHUNKED, 7) == nil then error("an answer without an end:\n" .. ffi.string(buffer, head), 0) end
    if size < head + 5 or C.memcmp(buffer + size - 5, "0\r\n\r\n", 5) ~= 0 then return nil end
    local at, to = head, head
    while true do
      local chunk, after = number_at(buffer, at, 16)
      if not chunk then error("a chunk without a size", 0) end
      if chunk == 0 then break end
      C.memmove(buffer + to, buffer + after + 2, chunk)
      to, at = to + chunk, after + 2 + chunk + 2
    end
    return head, to - head
  end

  local function judge(slot, head, length)
    local buffer, wanted = buffers[slot], expected[classes[which[slot]]]
    if buffer[9] ~= 50 or buffer[10] ~= 48 or buffer[11] ~= 48 then return complain(slot, "not 200") end
    if by_contents then
      if C.memmem(buffer + head, length, wanted, #wanted) == nil then complain(slot, "the answer lacks what it must hold") end
      return
    end
    if length ~= #wanted or C.memcmp(buffer + head, wanted, length) ~= 0 then complain(slot, "not the bytes that were expected") end
  end

  local function receive(slot)
    local got
    if tls then
      got = tls.lib.SSL_read(sessions[slot], buffers[slot] + filled[slot], buffer_bytes - filled[slot])
      if got <= 0 then
        local why = tls.lib.SSL_get_error(sessions[slot], got)
        if why == 2 then return nil end
        error("the server closed a connection (TLS " .. why .. ")", 0)
      end
    else
      got = tonumber(C.read(fds[slot], buffers[slot] + filled[slot], buffer_bytes - filled[slot]))
      if got < 0 and (ffi.errno() == EAGAIN or ffi.errno() == EINTR) then return nil end
      if got <= 0 then error("the server closed a connection", 0) end
    end
    filled[slot] = filled[slot] + got
    if filled[slot] >= buffer_bytes then error("an answer that is larger than expected", 0) end
    return whole(slot)
  end

  local begin = now()
  local opens, ends = begin + config.warm_s, begin + config.warm_s + config.seconds
  local last = begin -- when the last answer of a counted load came: where the load ends by a count, its length
  local most = config.most_requests or math.huge

  local function note(slot, at)
    answers = answers + 1
    last = at
    if at < opens or at > ends then return end
    local us = (at - started[slot]) * 1e6
    counted = counted + 1
    total_us = total_us + us
    if us > worst_us then worst_us = us end
    if us < 100000 then
      local bucket = math.floor(us)
      fine[bucket] = fine[bucket] + 1
    else
      local bucket = math.min(math.floor(us / 1000), 100000)
      coarse[bucket] = coarse[bucket] + 1
    end
  end

  local events = ffi.new("gb_event[?]", 512)
  local wait = ffi.new("gb_time")
  local rate = config.rate
  local idle, idle_count, waiting, waiting_first, waiting_last = {}, 0, {}, 1, 0
  local next_due, unsent = begin, 0
  if rate then
    math.randomseed(config.seed)
    for slot = 1, connections do idle[slot] = slot end
    idle_count = connections
  else
    for slot = 1, connections do if sent < most then send(slot, now()) end end
  end

  local outstanding = rate and 0 or sent
  while true do
    local at = now()
    local sending = at < ends and sent < most
    if rate then
      while next_due <= at and next_due < ends do
        waiting_last = waiting_last + 1
        waiting[waiting_last] = next_due
        next_due = next_due - math.log(1 - math.random()) / rate
      end
      while waiting_first <= waiting_last and idle_count > 0 do
        local slot = idle[idle_count]
        idle_count = idle_count - 1
        if at - waiting[waiting_first] > due_max_behind then due_max_behind = at - waiting[waiting_first] end
        send(slot, waiting[waiting_first])
        waiting[waiting_first] = nil
        waiting_first = waiting_first + 1
        outstanding = outstanding + 1
      end
      if at >= ends and waiting_first <= waiting_last then -- what was due and could not be sent is not sent any more
        unsent = waiting_last - waiting_first + 1
        waiting_first = waiting_last + 1
      end
      sending = next_due < ends or waiting_first <= waiting_last
    end
    if outstanding == 0 and not sending then break end
    if at > ends + config.patience_s then error(outstanding .. " calls were not answered", 0) end
    local pause = 0.1
    if rate and next_due < ends then pause = math.max(0, math.min(pause, next_due - at)) end
    wait.s, wait.ns = 0, math.floor(pause * 1e9)
    local ready = tonumber(C.syscall(EPOLL_PWAIT2, ffi.cast("int", epoll), ffi.cast("void *", events),
      ffi.cast("int", 512), ffi.cast("void *", wait), ffi.cast("void *", nil), ffi.cast("long", 0)))
    if ready < 0 and ffi.errno() ~= EINTR then fail("epoll_pwait2") end
    for i = 0, ready - 1 do
      local slot = events[i].slot
      local head, length = receive(slot)
      if tls then -- what OpenSSL has read ahead does not wake epoll again
        while not head and filled[slot] > 0 do
          local before = filled[slot]
          head, length = receive(slot)
          if not head and filled[slot] == before then break end
        end
      end
      if head then
        at = now()
        note(slot, at)
        judge(slot, head, length)
        counted_bytes = counted_bytes + length
        outstanding = outstanding - 1
        if rate then
          idle_count = idle_count + 1
          idle[idle_count] = slot
        elseif at < ends and sent < most then
          send(slot, at)
          outstanding = outstanding + 1
        end
      end
    end
  end
  for slot = 1, connections do C.close(fds[slot]) end
  C.close(epoll)

  local function quantile(part)
    local rank, seen = math.ceil(counted * part), 0
    if counted == 0 then return 0 end
    for us = 0, 99999 do
      seen = seen + fine[us]
      if seen >= rank then return us + 0.5 end
    end
    for ms = 0, 100000 do
      seen = seen + coarse[ms]
      if seen >= rank then return ms * 1000 + 500 end
    end
    return worst_us
  end
  return {
    unsent = unsent, began = begin, lasted = last - begin, sent = sent, answers = answers, counted = counted, wrong = wrong, first_wrong = first_wrong,
    seconds = math.min(ends, last) - opens, p50_us = quantile(0.5), p99_us = quantile(0.99), p999_us = quantile(0.999),
    mean_us = counted > 0 and total_us / counted or 0, worst_us = worst_us, behind_us = due_max_behind * 1e6,
    body_bytes = answers > 0 and counted_bytes / answers or 0, tls = description,
  }
end
