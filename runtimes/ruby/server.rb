# Runs one Ruby function behind HTTP.
#
# The function's file is loaded once. Every call has a process for itself, a fork of
# one that has loaded it: calls are parallel, one that runs past its time is
# really stopped, and one that exits or crashes takes nobody with it. The process
# of a call that has returned makes others after it, so that a call costs no fork.
require 'io/wait'
require 'json'
require 'socket'
require 'webrick'

MODULE = ENV.fetch('MOD_NAME', '')
HANDLER = ENV.fetch('FUNC_HANDLER', '')
FOLDER = ENV.fetch('FUNC_FOLDER', '/kubeless')
TIMEOUT = Float(ENV.fetch('FUNC_TIMEOUT', '180'))
PORT = Integer(ENV.fetch('FUNC_PORT', '8080'))
MAX_BODY = Integer(ENV.fetch('REQ_MB_LIMIT', '16')) << 20
MAX_ANSWER = 64 << 20
TEXT = 'text/plain; charset=utf-8'.freeze
EVENT = 'application/cloudevents+json'.freeze # a CloudEvent in structured mode

# Kubeless's functions read symbols (event[:data]); strings do as well.
def either_key(hash)
  hash.default_proc = proc { |h, key| key.is_a?(String) ? h.fetch(key.to_sym, nil) : nil }
  hash
end

CONTEXT = either_key(
  'function-name': ENV.fetch('FUNC_NAME', HANDLER),
  timeout: ENV.fetch('FUNC_TIMEOUT', ''),
  runtime: ENV.fetch('FUNC_RUNTIME', 'ruby'),
  'memory-limit': ENV.fetch('FUNC_MEMORY_LIMIT', '')
)

# Problem is an answer that is not the function's: a status and a sentence.
class Problem < StandardError
  attr_reader :status

  def initialize(status, message)
    super(message)
    @status = status
  end
end

# load_handler returns what to call; a Problem says why there is nothing.
def load_handler
  path = File.join(FOLDER, "#{MODULE}.rb")
  raise Problem.new(500, "the function's source #{MODULE}.rb is missing; name its file in the handler, as in FILE.FUNCTION") unless File.exist?(path)

  $LOAD_PATH.unshift(FOLDER)
  begin
    # In a module of its own it cannot replace what this server calls.
    load(path, own = Module.new)
  rescue SyntaxError => e
    raise Problem.new(500, "#{MODULE}.rb cannot be loaded: SyntaxError: #{e.message.gsub("#{FOLDER}/", '')}")
  rescue Exception => e # an exit while loading must not end the server either
    warn(e.full_message(highlight: false))
    raise Problem.new(500, "#{MODULE}.rb cannot be loaded: #{e.class}: #{e.message}")
  end
  # Every object has Ruby's methods; those are not meant.
  defined = own.private_instance_methods(false) + own.instance_methods(false)
  return Object.new.extend(own).method(HANDLER) if defined.include?(HANDLER.to_sym)

  raise Problem.new(500, "#{MODULE}.rb has no function #{HANDLER}; define it as: def #{HANDLER}(event, context)")
end

# Counters counts calls by method, in Kubeless's names.
class Counters
  def initialize
    @lock = Mutex.new
    @calls = Hash.new { |h, k| h[k] = [0, 0, 0.0] }
  end

  def record(method, seconds, failed)
    @lock.synchronize do
      of = @calls[method]
      of[0] += 1
      of[1] += 1 if failed
      of[2] += seconds
    end
  end

  def text
    columns = [['function_calls_total', 0], ['function_failures_total', 1],
               ['function_duration_seconds_sum', 2], ['function_duration_seconds_count', 0]]
    @lock.synchronize do
      columns.map do |name, at|
        "# TYPE #{name} counter\n" + @calls.sort.map { |method, of| "#{name}{method=\"#{method}\"} #{of[at]}\n" }.join
      end.join
    end
  end
end

# encode makes the body and content type of what a function returned.
def encode(result)
  case result
  when nil then ['', TEXT]
  when String then [result, result.encoding == Encoding::BINARY ? 'application/octet-stream' : TEXT]
  else [JSON.generate(result), event?(result) ? EVENT : 'application/json']
  end
end

def event?(result)
  result.is_a?(Hash) && %w[specversion id source type].all? { |name| (result[name] || result[name.to_sym]).is_a?(String) }
end

# run makes one call; it returns the outcome, and whether another may follow.
def run(handler, event)
  body, kind = encode(handler.call(keyed(event), CONTEXT))
  [200, kind, true, body]
rescue SystemExit
  [500, TEXT, false, "the function ended its process instead of returning: the call is without an answer\n"]
rescue Exception => e # whatever a function raises is its answer
  warn(e.full_message(highlight: false))
  [500, TEXT, true, "the function failed: #{e.class}: #{e.message}\n"]
end

def keyed(event)
  either_key(event[:extensions][:request])
  either_key(event[:extensions])
  either_key(event)
end

# work makes the calls that come, one after the other, and ends this process.
def work(handler, socket)
  goes_on = true
  while goes_on && (head = socket.read(4))
    event = Marshal.load(socket.read(head.unpack1('N'))) # the server has written it
    status, kind, goes_on, body = run(handler, event)
    $stdout.flush
    socket.write([status, goes_on ? 1 : 0, kind.bytesize, body.bytesize].pack(HEAD), kind, body.b)
  end
ensure
  exit!(0)
end

HEAD = 'nCCQ>'.freeze # an outcome: status, whether the worker goes on, lengths of kind and body
HEAD_SIZE = 12

# breed forks and ends workers as the server says, and ends this process. It has
# one thread and no connections, so that workers inherit neither.
def breed(handler, socket)
  while (order = socket.recv(4)) && order.bytesize == 4
    pid = order.unpack1('N')
    if pid.positive?
      Process.kill(:KILL, pid) # it is this process's until it is waited for
      Process.wait(pid)
      next
    end
    ours, theirs = UNIXSocket.pair
    pid = begin
      fork do
        [socket, ours].each(&:close)
        work(handler, theirs)
      end
    rescue SystemCallError
      0 # there are too many, or too little memory
    end
    socket.send_io(ours)
    socket.send([pid].pack('N'), 0)
    [ours, theirs].each(&:close)
  end
ensure
  exit!(0)
end

# Worker is a process that makes calls, seen from the server.
class Worker
  attr_reader :pid, :socket

  def initialize(pid, socket)
    @pid, @socket = pid, socket
  end

  # alive? says whether it has not ended since its last call.
  def alive? = @socket.recv_nonblock(1, Socket::MSG_PEEK, exception: false) == :wait_readable

  # call returns status, kind, whether the worker goes on, and the answer.
  def call(event)
    deadline = now + TIMEOUT
    data = Marshal.dump(event)
    @socket.write([data.bytesize].pack('N'), data)
    status, goes_on, kind, body = read(HEAD_SIZE, deadline).unpack(HEAD)
    raise Problem.new(500, "the function's answer is larger than #{MAX_ANSWER >> 20} MiB") if body > MAX_ANSWER

    rest = read(kind + body, deadline)
    [status, rest.byteslice(0, kind), goes_on == 1, rest.byteslice(kind, body)]
  rescue SystemCallError
    raise ENDED
  end

  private

  def read(size, deadline)
    all = String.new(encoding: Encoding::BINARY)
    while all.bytesize < size
      part = @socket.recv_nonblock([size - all.bytesize, 1 << 20].min, exception: false)
      if part == :wait_readable
        left = deadline - now
        raise Problem.new(408, "the function did not answer within #{TIMEOUT.to_i} seconds and was stopped") if left <= 0 || !@socket.wait_readable(left)

        next
      end
      raise ENDED if part.nil? || part.empty?

      all << part
    end
    all
  end
end

ENDED = Problem.new(500, "the function's process ended without an answer: it exited, crashed or ran out of memory")

# Workers are one for each call that runs, and some that wait for more.
class Workers
  KEPT = 8

  def initialize(handler)
    @lock, @idle = Mutex.new, []
    @breeder, theirs = UNIXSocket.pair
    fork do
      @breeder.close
      breed(handler, theirs)
    end
    theirs.close
  end

  def call(event)
    worker = take
    status, kind, goes_on, body = worker.call(event)
    [status, kind, body]
  ensure
    give(worker, goes_on) if worker
  end

  private

  def take
    @lock.synchronize do
      while (worker = @idle.pop)
        return worker if worker.alive?

        finish(worker)
      end
      @breeder.send([0].pack('N'), 0)
      socket = @breeder.recv_io(UNIXSocket)
      pid = @breeder.recv(4).unpack1('N')
      return Worker.new(pid, socket) if pid.positive?

      socket.close
      raise Problem.new(500, "the call's process cannot be started: there are too many, or too little memory")
    end
  end

  def give(worker, goes_on)
    @lock.synchronize { goes_on && @idle.size < KEPT ? @idle.push(worker) : finish(worker) }
  end

  def finish(worker)
    @breeder.send([worker.pid].pack('N'), 0)
    worker.socket.close
  end
end

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

# Calls answers every path.
class Calls < WEBrick::HTTPServlet::AbstractServlet
  def initialize(server, workers, problem, counters)
    super(server)
    @workers, @problem, @counters = workers, problem, counters
  end

  def service(req, res)
    # A function that cannot be loaded still answers its callers, with the
    # reason: it is healthy, and whoever deploys it is told.
    return answer(res, 200, TEXT, @problem ? "problem: #{@problem.message}" : 'OK') if req.path == '/healthz'
    return answer(res, 200, 'text/plain; version=0.0.4', @counters.text) if req.path == '/metrics'

    started = now
    status, kind, body = run(req)
    seconds = now - started
    @counters.record(req.request_method, seconds, status >= 400)
    record(req, status, seconds, body)
    answer(res, status, kind, body)
  end

  private

  def run(req)
    raise @problem if @problem

    @workers.call(event(req))
  rescue Problem => e
    [e.status, TEXT, "#{e.message}\n"]
  end

  def event(req)
    data = body(req)
    text = data.dup.force_encoding(Encoding::UTF_8)
    data = text if text.valid_encoding? # otherwise the function gets the bytes
    if ['application/json', EVENT].include?(req.content_type.to_s.split(';').first.to_s.strip) && !data.empty?
      begin
        data = JSON.parse(data)
      rescue JSON::ParserError
        raise Problem.new(400, 'the body is not the JSON that its content type says')
      end
    end
    headers = req.header.transform_values { |values| values.join(', ') }
    request = { method: req.request_method, path: req.unparsed_uri, headers: headers }
    header = ->(name, attribute) { (req[name] || req[attribute]).to_s } # Kubeless's, or else a CloudEvent's
    { data: data, 'event-id': header.('event-id', 'ce-id'), 'event-type': header.('event-type', 'ce-type'),
      'event-time': header.('event-time', 'ce-time'), 'event-namespace': header.('event-namespace', 'ce-source'),
      extensions: { request: request } }
  end

  def body(req)
    all = String.new(encoding: Encoding::BINARY)
    req.body do |part|
      all << part
      if all.bytesize > MAX_BODY
        req.keep_alive = false if req.respond_to?(:keep_alive=)
        raise Problem.new(413, "the body is larger than #{MAX_BODY >> 20} MiB")
      end
    end
    all
  end

  def answer(res, status, kind, body)
    res.status = status
    res['Content-Type'] = kind
    res.body = body
  end

  def record(req, status, seconds, body)
    line = { method: req.request_method, path: req.unparsed_uri, status: status, seconds: seconds.round(6), id: req['x-request-id'].to_s }
    line[:error] = body.dup.force_encoding(Encoding::UTF_8).scrub.strip[0, 1000] if status >= 400
    $stdout.syswrite("#{JSON.generate(line)}\n")
  end
end

def main
  begin
    workers = Workers.new(load_handler)
  rescue Problem => problem # the server runs all the same, and tells whoever calls
    warn(problem.message)
  end
  server = WEBrick::HTTPServer.new(Port: PORT, BindAddress: '0.0.0.0', MaxClients: 1024, DoNotReverseLookup: true,
                                   Logger: WEBrick::Log.new(File::NULL), AccessLog: [],
                                   # It writes an answer in parts, none of which is to wait for the client.
                                   AcceptCallback: ->(socket) { socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) })
  server.mount('/', Calls, workers, problem, Counters.new)
  trap(:TERM) { exit!(0) }
  server.start
end

main
