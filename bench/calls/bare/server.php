<?php
$listener = stream_socket_server('tcp://0.0.0.0:' . $argv[1]);
$connections = [];
while (true) {
    $read = [$listener, ...$connections];
    stream_select($read, $none, $none, null);
    foreach ($read as $c) {
        if ($c === $listener) {
            $c = stream_socket_accept($listener);
            stream_set_blocking($c, false);
            $connections[(int) $c] = $c;
            continue;
        }
        $part = fread($c, 1 << 16);
        if ($part === '' || $part === false) {
            unset($connections[(int) $c]);
        } elseif (str_ends_with($part, "\r\n\r\n")) {
            fwrite($c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
        }
    }
}
