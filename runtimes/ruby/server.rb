# Runs one Ruby function behind HTTP.
#
# The function's file is loaded once. Every call has a process for itself, a fork of
# one that has loaded it: calls are parallel, one that runs past its time is
# really stopped, and one that exits or crashes takes nobody with it. The process
# of a call that has returned makes others after it, so that a call costs no fork.
# The server has a thread for each connection.
require 'io/wait'
require 'json'
require 'socket'

MODULE = ENV.fetch('MOD_NAME', '')
HANDLER = ENV.fetch('FUNC_HANDLER', '')
FOLDER = ENV.fetch('FUNC_FOLDER', '/kubeless')
TIMEOUT = Float(ENV.fetch('FUNC_TIMEOUT', '180'))
PORT = Integer(ENV.fetch('FUNC_PORT', '8080'))
MAX_BODY = Integer(ENV.fetch('REQ_MB_LIMIT', '16')) << 20
MAX_ANSWER = 64 << 20
# How much of a body that is too large is read all the same, because who still
# sends does not hear the answer.
MAX_DISCARD = 256 << 20
MAX_HEAD = 64 << 10
MAX_CONNECTIONS = 1024
PATIENCE = 60 # for the rest of a request, in seconds
TEXT = 'text/plain; charset=utf-8'.freeze
EVENT = 'application/cloudevents+json'.freeze # a CloudEvent in structured mode

METHODS = %w[GET POST PUT DELETE PATCH HEAD OPTIONS].freeze
REASONS = { 200 => 'OK', 400 => 'Bad Request', 408 => 'Request Timeout', 413 => 'Content Too Large',
            431 => 'Request Header Fields Too Large', 500 => 'Internal Server Error', 501 => 'Not Implemented' }.freeze

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
  goes_on, own = true, Process.pid
  while goes_on && (head = socket.read(4))
    event = Marshal.load(socket.read(head.unpack1('N'))) # the server has written it
    status, kind, goes_on, body = run(handler, event)
    $stdout.flush
    break if Process.pid != own # a fork that the function has made: its parent answers

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
    pid = order.unpack1('l>')
    if pid.nonzero?
      group { Process.kill(:KILL, pid) } if pid.negative?
      Process.kill(:KILL, pid.abs) # it is this process's until it is waited for
      Process.wait(pid.abs)
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
    group { Process.setpgid(pid, pid) } if pid.positive? # with all that it will start
    # In one message: who can have no more sockets still knows whose that was.
    socket.sendmsg([pid].pack('N'), 0, nil, Socket::AncillaryData.unix_rights(ours))
    [ours, theirs].each(&:close)
  end
ensure
  exit!(0)
end

# group does something to a group of processes, which may have ended.
def group
  yield
rescue SystemCallError
  # Nobody is left.
end

# Worker is a process that makes calls, seen from the server.
class Worker
  attr_reader :pid, :socket, :late

  def initialize(pid, socket)
    @pid, @socket, @late = pid, socket, false
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
        @late = left <= 0 || !@socket.wait_readable(left)
        raise Problem.new(408, "the function did not answer within #{TIMEOUT.to_i} seconds and was stopped") if @late

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
    breeder = fork do
      @breeder.close
      breed(handler, theirs)
    end
    theirs.close
    Thread.new do # whom nobody orders tells nobody that it has ended
      Process.wait(breeder)
      exit!(1)
    end
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
      order(0)
      socket, pid = bred
      return Worker.new(pid, socket) if socket && pid.positive?

      socket&.close
      order(pid) if pid.positive?
      raise Problem.new(500, "the call's process cannot be started: there are too many, or too little memory")
    end
  end

  # bred receives a worker: its socket, nil where this process can have no more,
  # and its pid, 0 where there is none.
  def bred
    pid, _, _, rights = @breeder.recvmsg(4, scm_rights: true)
    [rights&.unix_rights&.first, pid.to_s.unpack1('N') || exit!(1)]
  rescue SystemCallError
    exit!(1)
  end

  # order is for the breeder: 0 to fork a worker, its process to end one, negative with
  # all that it has started. Without it there are no calls: the node starts this anew.
  def order(pid)
    @breeder.send([pid].pack('N'), 0)
  rescue SystemCallError
    exit!(1)
  end

  def give(worker, goes_on)
    @lock.synchronize { goes_on && @idle.size < KEPT ? @idle.push(worker) : finish(worker) }
  end

  def finish(worker)
    order(worker.late ? -worker.pid : worker.pid)
    worker.socket.close
  end
end

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

# Request is one, as far as its header.
class Request
  attr_reader :verb, :path, :headers # by lower-case name
  attr_accessor :keeps # whether another may follow

  def initialize(head)
    head = head.force_encoding(Encoding::UTF_8).scrub
    first, *lines = head.delete_suffix("\r\n\r\n").split("\r\n")
    @verb, @path, version, more = first.to_s.split(' ')
    raise Problem.new(400, "the request's first line cannot be read") if version.nil? || more

    @headers = {}
    lines.each { |line| add(line) }
    @keeps = version == 'HTTP/1.1' && self['connection'].downcase != 'close'
  end

  def [](name) = @headers.fetch(name, '')

  private

  def add(line)
    name, value = line.split(':', 2)
    raise Problem.new(400, "the request's header cannot be read") if value.nil? || name.match?(/\A\z|\A[ \t]|[ \t]\z/)

    name, value = name.downcase, value.strip
    @headers[name] = @headers.key?(name) ? "#{@headers[name]}, #{value}" : value
  end
end

# Connection reads requests and writes answers.
class Connection
  def initialize(socket)
    @socket, @began, @idle = socket, nil, true
    socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
  end

  # request waits for the next one, nil where none comes.
  def request
    @idle = true
    return if @socket.eof?

    @idle = false
    @began = now
    head = @socket.gets("\r\n\r\n", MAX_HEAD + 1)
    return Request.new(head) if head.end_with?("\r\n\r\n")
    raise Problem.new(431, "the request's header is larger than #{MAX_HEAD >> 10} KiB") if head.bytesize > MAX_HEAD
  end

  # body reads a request's body; after a Problem, the connection has no other.
  def body(request)
    @socket.write("HTTP/1.1 100 Continue\r\n\r\n") if request['expect'].downcase == '100-continue'
    keeps, request.keeps = request.keeps, false
    if request.headers.key?('transfer-encoding')
      raise Problem.new(400, 'the transfer encoding is not chunked') unless request['transfer-encoding'].downcase.include?('chunked')

      body = chunks
      keeps &&= !request.headers.key?('content-length') # who counts otherwise sees other requests
    else
      body = counted(request.headers.fetch('content-length', '0'))
    end
    request.keeps = keeps
    @began = nil
    body
  end

  def answer(status, kind, body, keeps, empty)
    head = "HTTP/1.1 #{status} #{REASONS[status]}\r\nContent-Type: #{kind}\r\nContent-Length: #{body.bytesize}\r\n#{"Connection: close\r\n" unless keeps}\r\n"
    @socket.write(empty ? head : head.b << body.b)
  end

  # late? says whether the rest of a request is overdue.
  def late? = (began = @began) && now - began > PATIENCE

  # idle? says whether it waits for a request of which nothing has come.
  def idle? = @idle

  # leave ends it before the next request; one that has come is answered.
  def leave = @socket.shutdown(Socket::SHUT_RD)

  # shut lets who reads or writes go on without the other side.
  def shut = @socket.shutdown

  private

  def counted(length)
    raise Problem.new(400, 'the content length is not a number') unless length.match?(/\A\d{1,18}\z/)

    length = length.to_i
    return take(length) if length <= MAX_BODY

    left = [length, MAX_DISCARD].min
    left -= take([left, 1 << 20].min).bytesize while left.positive?
    raise TOO_LARGE
  end

  def chunks
    all = String.new(encoding: Encoding::BINARY)
    loop do
      size = line[/\A\h{1,8}(?=\s*(;|\z))/]&.hex
      raise Problem.new(400, "the body's chunks cannot be read") unless size
      raise TOO_LARGE if all.bytesize + size > MAX_BODY

      if size.zero?
        nil until line.strip.empty?
        return all
      end
      all << take(size)
      line
    end
  end

  def line
    line = @socket.gets("\n", 1024) or raise EOFError
    line.end_with?("\n") ? line : raise(Problem.new(400, "the body's chunks cannot be read"))
  end

  def take(size)
    return ''.b if size.zero?

    data = @socket.read(size)
    data&.bytesize == size ? data : raise(EOFError)
  end
end

TOO_LARGE = Problem.new(413, "the body is larger than #{MAX_BODY >> 20} MiB")

# Calls answers every path.
class Calls
  def initialize(workers, problem)
    @workers, @problem, @counters = workers, problem, Counters.new
  end

  # serve answers a connection's requests until it ends, or is no longer to be kept.
  def serve(connection, &kept)
    nil while one(connection, &kept)
  rescue SystemCallError, IOError
    # The other side has gone.
  end

  private

  # one answers a request; it says whether another may follow.
  def one(connection)
    begin
      request = connection.request or return false
      status, kind, body = respond(connection, request)
    rescue Problem => e
      status, kind, body = e.status, TEXT, "#{e.message}\n"
    end
    keeps = request ? request.keeps && yield : false
    connection.answer(status, kind, body, keeps, request&.verb == 'HEAD')
    keeps
  end

  def respond(connection, request)
    unless METHODS.include?(request.verb)
      request.keeps = false
      raise Problem.new(501, 'the method is none that functions are called with')
    end
    if %w[/healthz /metrics].include?(request.path)
      connection.body(request)
      return about(request)
    end
    started = now
    status, kind, body = run(connection, request)
    seconds = now - started
    @counters.record(request.verb, seconds, status >= 400)
    record(request, status, seconds, body)
    [status, kind, body]
  end

  # A function that cannot be loaded still answers its callers, with the
  # reason: it is healthy, and whoever deploys it is told.
  def about(request)
    return [200, 'text/plain; version=0.0.4', @counters.text] if request.path == '/metrics'

    [200, TEXT, @problem ? "problem: #{@problem.message}" : 'OK']
  end

  def run(connection, request)
    event = event(request, connection.body(request)) # in any case, or the next request begins with its body
    raise @problem if @problem

    @workers.call(event)
  rescue Problem => e
    [e.status, TEXT, "#{e.message}\n"]
  end

  def event(req, data)
    text = data.dup.force_encoding(Encoding::UTF_8)
    data = text if text.valid_encoding? # otherwise the function gets the bytes
    if ['application/json', EVENT].include?(req['content-type'].split(';').first.to_s.strip) && !data.empty?
      begin
        data = JSON.parse(data)
      rescue JSON::ParserError
        raise Problem.new(400, 'the body is not the JSON that its content type says')
      end
    end
    request = { method: req.verb, path: req.path, headers: req.headers }
    header = ->(name, attribute) { req.headers[name] || req[attribute] } # Kubeless's, or else a CloudEvent's
    { data: data, 'event-id': header.('event-id', 'ce-id'), 'event-type': header.('event-type', 'ce-type'),
      'event-time': header.('event-time', 'ce-time'), 'event-namespace': header.('event-namespace', 'ce-source'),
      extensions: { request: request } }
  end

  def record(req, status, seconds, body)
    line = { method: req.verb, path: req.path, status: status, seconds: seconds.round(6), id: req['x-request-id'] }
    line[:error] = body.dup.force_encoding(Encoding::UTF_8).scrub.strip[0, 1000] if status >= 400
    $stdout.syswrite("#{JSON.generate(line)}\n")
  end
end

# Server has a thread for each connection.
class Server
  def initialize(calls)
    @calls, @connections = calls, {} # by thread
  end

  def run
    listener = TCPServer.new('0.0.0.0', PORT)
    listener.listen(1024)
    Thread.new { leave_late }
    loop do
      make_room while @connections.size >= MAX_CONNECTIONS
      accept(listener.accept)
    rescue SystemCallError, ThreadError
      sleep(0.01) # there are too many, or it has gone
    end
  end

  private

  def accept(socket)
    Thread.new do
      @connections[Thread.current] = connection = Connection.new(socket)
      @calls.serve(connection) { @connections.size < MAX_CONNECTIONS / 2 } # others may need its place
    rescue SystemCallError
      # The other side has gone already.
    ensure
      @connections.delete(Thread.current)
      socket.close
    end
  rescue ThreadError # there are too many, or too little memory
    socket.close
    raise
  end

  # make_room ends a connection that has no request, if there is one.
  def make_room
    @connections.values.find(&:idle?)&.leave
  rescue SystemCallError, IOError
    # It has ended meanwhile.
  ensure
    sleep(0.01)
  end

  # leave_late ends connections whose other side does not send on.
  def leave_late
    loop do
      sleep(PATIENCE / 4)
      @connections.values.select(&:late?).each do |connection|
        connection.shut
      rescue SystemCallError, IOError
        # It has ended meanwhile.
      end
    end
  end
end

def main
  begin
    workers = Workers.new(load_handler)
  rescue Problem => problem # the server runs all the same, and tells whoever calls
    warn(problem.message)
  end
  trap(:TERM) { exit!(0) }
  Server.new(Calls.new(workers, problem)).run
end

main
