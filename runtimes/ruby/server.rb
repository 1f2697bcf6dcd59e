# Runs one Ruby function behind HTTP.
#
# The function's file is loaded once. Every call runs in a process of its own,
# forked from this one: calls are parallel, one that runs past its time is
# really stopped, and one that exits or crashes takes nobody with it.
require 'json'
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

# child runs the call, writes its outcome and ends this process.
def child(handler, event, out)
  status = 500
  begin
    body, kind = encode(handler.call(event, CONTEXT))
    status = 200
  rescue SystemExit
    body, kind = "the function ended its process instead of returning: the call is without an answer\n", TEXT
  rescue Exception => e # whatever a function raises is its answer
    warn(e.full_message(highlight: false))
    body, kind = "the function failed: #{e.class}: #{e.message}\n", TEXT
  end
  $stdout.flush
  out.binmode
  out.write(JSON.generate([status, kind]), "\n", body)
  out.close
ensure
  exit!(0)
end

# call runs one call in a process of its own.
def call(handler, event)
  deadline = now + TIMEOUT
  from, to = IO.pipe(binmode: true)
  pid = fork do
    from.close
    child(handler, event, to)
  end
  to.close
  outcome(from, deadline)
ensure
  from&.close
  if pid
    begin
      Process.kill(:KILL, pid)
    rescue Errno::ESRCH
      nil # it has ended
    end
    Process.wait(pid)
  end
end

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

def outcome(from, deadline)
  all = String.new(encoding: Encoding::BINARY)
  loop do
    left = deadline - now
    raise Problem.new(408, "the function did not answer within #{TIMEOUT.to_i} seconds and was stopped") if left <= 0 || !from.wait_readable(left)

    part = from.read_nonblock(1 << 16, exception: false)
    break if part.nil?
    next if part == :wait_readable

    all << part
    raise Problem.new(500, "the function's answer is larger than #{MAX_ANSWER >> 20} MiB") if all.bytesize > MAX_ANSWER
  end
  head, separator, body = all.partition("\n")
  raise Problem.new(500, "the function's process ended without an answer: it exited, crashed or ran out of memory") if separator.empty?

  [*JSON.parse(head), body]
end

# Calls answers every path.
class Calls < WEBrick::HTTPServlet::AbstractServlet
  def initialize(server, handler, problem, counters)
    super(server)
    @handler, @problem, @counters = handler, problem, counters
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

    call(@handler, event(req))
  rescue Problem => e
    [e.status, TEXT, "#{e.message}\n"]
  rescue SystemCallError => e
    [500, TEXT, "the call's process cannot be started: #{e.message}\n"]
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
    request = either_key(method: req.request_method, path: req.unparsed_uri, headers: headers)
    header = ->(name, attribute) { (req[name] || req[attribute]).to_s } # Kubeless's, or else a CloudEvent's
    either_key(data: data, 'event-id': header.('event-id', 'ce-id'), 'event-type': header.('event-type', 'ce-type'),
               'event-time': header.('event-time', 'ce-time'), 'event-namespace': header.('event-namespace', 'ce-source'),
               extensions: either_key(request: request))
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
    handler = load_handler
  rescue Problem => problem # the server runs all the same, and tells whoever calls
    warn(problem.message)
  end
  server = WEBrick::HTTPServer.new(Port: PORT, BindAddress: '0.0.0.0', MaxClients: 1024, DoNotReverseLookup: true,
                                   Logger: WEBrick::Log.new(File::NULL), AccessLog: [],
                                   # It writes an answer in parts, none of which is to wait for the client.
                                   AcceptCallback: ->(socket) { socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) })
  server.mount('/', Calls, handler, problem, Counters.new)
  trap(:TERM) { exit!(0) }
  server.start
end

main
