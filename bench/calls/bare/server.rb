require 'webrick'

server = WEBrick::HTTPServer.new(Port: Integer(ARGV[0]), BindAddress: '0.0.0.0', MaxClients: 1024, DoNotReverseLookup: true,
                                 Logger: WEBrick::Log.new(File::NULL), AccessLog: [])
server.config[:AcceptCallback] = ->(socket) { socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) }
server.mount_proc('/') do |_, res|
  res['Content-Type'] = 'text/plain'
  res.body = 'hello'
end
server.start
