<?php
/**
 * Runs one PHP function behind HTTP.
 *
 * One process serves all connections. Every call has a process for itself, a worker,
 * forked from it, which has loaded the function's file: calls are parallel, one that
 * runs past its time is really stopped, and one that exits or crashes takes nobody
 * with it. A worker that has answered makes other calls after it, so that a call
 * costs neither a fork nor the loading: what a call changes, a later one may find.
 */
declare(strict_types=1);

namespace redoubt;

const MAX_HEAD = 64 << 10;
/** Of a chunk's line. */
const MAX_LINE = 1024;
const MAX_ANSWER = 64 << 20;
/**
 * How much of a body that is too large is read all the same, because who still
 * sends does not hear the answer.
 */
const MAX_DISCARD = 256 << 20;
/** Each has two files at most, and select takes 1024. */
const MAX_CONNECTIONS = 480;
/** How many workers wait for calls. */
const KEPT = 8;
const TEXT = 'text/plain; charset=utf-8';
/** A CloudEvent in structured mode. */
const EVENT = 'application/cloudevents+json';

function setting(string $name, string $default): string
{
    $value = getenv($name);
    return $value === false || $value === '' ? $default : $value;
}

/** An answer that is not the function's: a status and a sentence. */
final class Problem extends \Exception
{
    public function __construct(public readonly int $status, string $message)
    {
        parent::__construct($message);
    }
}

/** The function: where it is and how it is called. */
final class Handler
{
    public readonly float $timeout;
    private string $file;
    private string $folder;
    private string $name;
    /** What to call, or why there is nothing; null before it is loaded. */
    private string|Problem|null $function = null;

    public function __construct()
    {
        $this->file = setting('MOD_NAME', '') . '.php';
        $this->folder = setting('FUNC_FOLDER', '/kubeless');
        $this->name = setting('FUNC_HANDLER', '');
        $this->timeout = (float) setting('FUNC_TIMEOUT', '180');
    }

    /** Reads the file and returns the function in it. */
    private function load(): string
    {
        $path = "$this->folder/$this->file";
        if (!is_file($path)) {
            throw new Problem(500, "the function's source $this->file is missing; name its file in the handler, as in FILE.FUNCTION");
        }
        set_include_path($this->folder);
        try {
            (static fn () => require $path)();
        } catch (\Throwable $e) {
            throw new Problem(500, sprintf('%s cannot be loaded: %s in line %d: %s', $this->file, $e::class, $e->getLine(), $e->getMessage()));
        }
        $own = array_map('strtolower', get_defined_functions()['user']);
        if (!in_array(strtolower($this->name), $own, true)) {
            throw new Problem(500, "$this->file has no function $this->name; define it as: function $this->name(\$event, \$context)");
        }
        return $this->name;
    }

    private function function(): string
    {
        try {
            $this->function ??= $this->load();
        } catch (Problem $p) {
            $this->function = $p;
        }
        return $this->function instanceof Problem ? throw $this->function : $this->function;
    }

    /** Makes a call, or without an event only loads the function: [status, content type, body]. */
    public function call(?\stdClass $event): array
    {
        try {
            $function = $this->function();
            return $event === null ? [200, TEXT, 'OK'] : [200, ...self::encode($function($event, self::context()))];
        } catch (Problem $p) {
            return [$p->status, TEXT, $p->getMessage() . "\n"];
        } catch (\Throwable $e) {
            fwrite(STDERR, "$e\n");
            return [500, TEXT, sprintf("the function failed: %s: %s\n", $e::class, $e->getMessage())];
        }
    }

    private static function context(): \stdClass
    {
        return (object) [
            'function-name' => setting('FUNC_NAME', setting('FUNC_HANDLER', '')),
            'timeout' => setting('FUNC_TIMEOUT', ''),
            'runtime' => setting('FUNC_RUNTIME', 'php'),
            'memory-limit' => setting('FUNC_MEMORY_LIMIT', ''),
        ];
    }

    /** The content type and body of what a function returned. */
    private static function encode(mixed $result): array
    {
        return match (true) {
            $result === null => [TEXT, ''],
            is_string($result) => [preg_match('//u', $result) === 1 ? TEXT : 'application/octet-stream', $result],
            default => [self::isEvent($result) ? EVENT : 'application/json', json_encode($result, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE)],
        };
    }

    private static function isEvent(mixed $result): bool
    {
        $of = (array) $result;
        $texts = array_filter(['specversion', 'id', 'source', 'type'], static fn ($name) => is_string($of[$name] ?? null));
        return count($texts) === 4;
    }
}

/** A process that makes calls, one after the other, seen from the server. */
final class Worker
{
    public $pipe;
    private int $pid;

    public function __construct(Server $server)
    {
        [$this->pipe, $to] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $this->pid = pcntl_fork();
        if ($this->pid === -1) {
            throw new Problem(500, "the call's process cannot be started");
        }
        if ($this->pid === 0) {
            fclose($this->pipe);
            $server->forsake();
            pcntl_signal(SIGTERM, SIG_DFL);
            self::work($server->handler, $to);
        }
        posix_setpgid($this->pid, $this->pid); // with all that it will start
        fclose($to);
        stream_set_blocking($this->pipe, false);
    }

    private static function work(Handler $handler, $server): never
    {
        stream_set_timeout($server, -1); // or it ends when no call has come for PHP's minute
        $own = getmypid();
        while (($size = self::read($server, 4)) !== '') {
            $event = unserialize(self::read($server, unpack('N', $size)[1])); // the server has written it
            [$status, $kind, $body] = $handler->call($event);
            if (getmypid() !== $own) {
                break; // a fork that the function has made: its parent answers
            }
            self::write($server, json_encode([$status, $kind, strlen($body)]) . "\n" . $body);
        }
        posix_kill(getmypid(), SIGKILL); // without what the function registered for the end
    }

    /** Reads that many bytes; nothing where the server has ended. */
    private static function read($from, int $size): string
    {
        for ($all = ''; strlen($all) < $size; $all .= $part) {
            $part = fread($from, min($size - strlen($all), 1 << 20));
            if ($part === false || $part === '') {
                return '';
            }
        }
        return $all;
    }

    private static function write($to, string $data): void
    {
        for ($at = 0; $at < strlen($data); $at += $n) {
            $n = fwrite($to, substr($data, $at, 1 << 16));
            if ($n === false || $n === 0) {
                return;
            }
        }
    }

    /** Whether it waits for a call: it has not ended, and says nothing. */
    public function waits(): bool
    {
        return @stream_socket_recvfrom($this->pipe, 1, STREAM_PEEK) === false;
    }

    /** Ends it, and after a call that ran past its time all that it has started. */
    public function end(bool $all = false): void
    {
        fclose($this->pipe);
        if ($all) {
            posix_kill(-$this->pid, SIGKILL);
        }
        posix_kill($this->pid, SIGKILL);
        pcntl_waitpid($this->pid, $status);
    }
}

/** One call, which a worker makes. */
final class Call
{
    public readonly float $started;
    public readonly float $deadline;
    public readonly Worker $worker;
    private string $out;
    private string $in = '';
    private bool $over = false;

    /** Begins it; without an event the function is only loaded. */
    public function __construct(private Server $server, ?\stdClass $event)
    {
        $this->started = microtime(true);
        $this->deadline = $this->started + $server->handler->timeout;
        $this->worker = $server->take();
        $event = serialize($event);
        $this->out = pack('N', strlen($event)) . $event;
        $this->write();
    }

    public function wantsWrite(): bool
    {
        return $this->out !== '';
    }

    public function write(): void
    {
        $n = @fwrite($this->worker->pipe, substr($this->out, 0, 1 << 20));
        $this->out = $n === false ? '' : substr($this->out, $n); // that it has ended is read
    }

    /** Reads what has come; the outcome once it is whole, null before. */
    public function read(): ?array
    {
        $this->in .= (string) fread($this->worker->pipe, 1 << 18);
        if (strlen($this->in) > MAX_ANSWER + 1024) {
            throw new Problem(500, sprintf("the function's answer is larger than %d MiB", MAX_ANSWER >> 20));
        }
        $end = strpos($this->in, "\n");
        if ($end !== false) {
            [$status, $kind, $size] = (array) json_decode(substr($this->in, 0, $end), true) + [500, TEXT, 0];
            if ($size > MAX_ANSWER) {
                throw new Problem(500, sprintf("the function's answer is larger than %d MiB", MAX_ANSWER >> 20));
            }
            if (strlen($this->in) >= $end + 1 + $size) {
                $this->over = true;
                return [$status, $kind, substr($this->in, $end + 1, $size)];
            }
        }
        if (feof($this->worker->pipe)) {
            throw new Problem(500, "the function's process ended without an answer: it exited, crashed or ran out of memory");
        }
        return null;
    }

    public function end(): void
    {
        if ($this->over) {
            $this->server->give($this->worker);
        } else {
            $this->worker->end(microtime(true) > $this->deadline);
        }
    }
}

/** One request, as far as it has been read. */
final class Request
{
    public string $method = '';
    public string $path = '';
    /** @var array<string,string> by lower-case name */
    public array $headers = [];
    public string $body = '';
    public bool $keep = true;
    private bool $chunked = false;
    private int $length = 0;
    /** What is still to come of a body that is too large. */
    private int $left = 0;
    private bool $headRead = false;

    /** Takes from the buffer; true when the request is whole. */
    public function take(string &$in, int $maxBody): bool
    {
        if (!$this->headRead && !$this->takeHead($in)) {
            return false;
        }
        if ($this->length > $maxBody) {
            $this->discard($in);
            return $this->left > 0 ? false : throw new Problem(413, sprintf('the body is larger than %d MiB', $maxBody >> 20));
        }
        if ($this->chunked) {
            return $this->takeChunks($in, $maxBody);
        }
        if (strlen($in) < $this->length) {
            return false;
        }
        $this->body = substr($in, 0, $this->length);
        $in = substr($in, $this->length);
        return true;
    }

    private function takeHead(string &$in): bool
    {
        $end = strpos($in, "\r\n\r\n");
        if ($end === false || $end > MAX_HEAD) {
            return strlen($in) <= MAX_HEAD ? false : throw new Problem(431, 'the request has more than 64 KiB of headers');
        }
        $lines = explode("\r\n", substr($in, 0, $end));
        $in = substr($in, $end + 4);
        if (preg_match('#^([A-Z]{1,20}) (\S+) HTTP/1\.([01])$#', array_shift($lines), $m) !== 1) {
            throw new Problem(400, 'the request line cannot be read');
        }
        [, $this->method, $this->path, $minor] = $m;
        foreach ($lines as $line) {
            [$name, $value] = explode(':', $line, 2) + ['', ''];
            $this->headers[strtolower($name)] = trim($value);
        }
        $this->keep = $minor === '1' && strtolower($this->header('connection')) !== 'close';
        $this->chunked = str_contains(strtolower($this->header('transfer-encoding')), 'chunked');
        $length = $this->header('content-length');
        if ($length !== '' && (!ctype_digit($length) || strlen($length) > 12)) {
            throw new Problem(400, 'the content length is not a number');
        }
        $this->length = $this->chunked ? 0 : (int) $length;
        $this->left = min($this->length, MAX_DISCARD);
        return $this->headRead = true;
    }

    private function discard(string &$in): void
    {
        $n = min(strlen($in), $this->left);
        $this->left -= $n;
        $in = substr($in, $n);
    }

    private function takeChunks(string &$in, int $maxBody): bool
    {
        while (($end = strpos($in, "\r\n")) !== false && $end <= MAX_LINE) {
            $size = strtok(substr($in, 0, $end), ';');
            if ($size === false || !ctype_xdigit($size) || strlen($size) > 8) {
                throw self::unreadable();
            }
            $size = (int) hexdec($size);
            if ($size === 0) {
                return $this->takeTrailers($in, $end);
            }
            if (strlen($this->body) + $size > $maxBody) {
                throw new Problem(413, sprintf('the body is larger than %d MiB', $maxBody >> 20));
            }
            if (strlen($in) < $end + 2 + $size + 2) {
                return false;
            }
            if (substr($in, $end + 2 + $size, 2) !== "\r\n") {
                throw self::unreadable();
            }
            $this->body .= substr($in, $end + 2, $size);
            $in = substr($in, $end + 2 + $size + 2);
        }
        return strlen($in) <= MAX_LINE ? false : throw self::unreadable();
    }

    /** Takes what follows the last chunk's line: up to an empty one, or it would be read as a request. */
    private function takeTrailers(string &$in, int $at): bool
    {
        $end = strpos($in, "\r\n\r\n", $at);
        if ($end === false || $end > MAX_HEAD) {
            return strlen($in) <= MAX_HEAD ? false : throw self::unreadable();
        }
        $in = substr($in, $end + 4);
        return true;
    }

    private static function unreadable(): Problem
    {
        return new Problem(400, "the body's chunks cannot be read");
    }

    public function header(string $name): string
    {
        return $this->headers[$name] ?? '';
    }

    public function event(): \stdClass
    {
        $data = $this->body;
        if (in_array(trim(explode(';', $this->header('content-type'))[0]), ['application/json', EVENT], true) && $data !== '') {
            try {
                $data = json_decode($data, false, 512, JSON_THROW_ON_ERROR);
            } catch (\JsonException $e) {
                throw new Problem(400, 'the body is not the JSON that its content type says: ' . $e->getMessage());
            }
        }
        $event = ['data' => $data];
        // Kubeless's, or else a CloudEvent's.
        foreach (['event-id' => 'ce-id', 'event-type' => 'ce-type', 'event-time' => 'ce-time', 'event-namespace' => 'ce-source'] as $name => $attribute) {
            $value = $this->header($name);
            $event[$name] = $value !== '' ? $value : $this->header($attribute); // "0" is one, too
        }
        $request = (object) ['method' => $this->method, 'path' => $this->path, 'headers' => $this->headers];
        return (object) ($event + ['extensions' => (object) ['request' => $request]]);
    }
}

/** Counts calls by method, in Kubeless's names. */
final class Counters
{
    private const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'];
    private array $calls = [];

    public function record(string $method, float $seconds, bool $failed): void
    {
        $method = in_array($method, self::METHODS, true) ? $method : 'OTHER'; // callers may invent some
        $of = $this->calls[$method] ?? [0, 0, 0.0];
        $this->calls[$method] = [$of[0] + 1, $of[1] + (int) $failed, $of[2] + $seconds];
    }

    public function text(): string
    {
        $text = '';
        foreach (['function_calls_total' => 0, 'function_failures_total' => 1, 'function_duration_seconds_sum' => 2, 'function_duration_seconds_count' => 0] as $name => $at) {
            $text .= "# TYPE $name counter\n";
            foreach ($this->calls as $method => $of) {
                $text .= "{$name}{method=\"$method\"} {$of[$at]}\n";
            }
        }
        return $text;
    }
}

/** One connection: reads a request, runs it, writes the answer, and again. */
final class Connection
{
    private string $in = '';
    private string $out = '';
    private Request $request;
    public ?Call $call = null;
    public bool $done = false;
    private bool $closing = false;

    public function __construct(public $socket, private Server $server)
    {
        stream_set_blocking($socket, false);
        $this->request = new Request();
    }

    public function wantsRead(): bool
    {
        return $this->call === null && $this->out === '';
    }

    public function wantsWrite(): bool
    {
        return $this->out !== '';
    }

    /** Whether it waits for a request of which nothing has come. */
    public function idle(): bool
    {
        return $this->wantsRead() && $this->in === '' && $this->request->method === '';
    }

    public function read(): void
    {
        $part = fread($this->socket, 1 << 18);
        if ($part === false || $part === '') {
            $this->done = $part === false || feof($this->socket);
            return;
        }
        $this->in .= $part;
        $this->advance();
    }

    private function advance(): void
    {
        try {
            if ($this->request->take($this->in, $this->server->maxBody)) {
                $this->dispatch();
            }
        } catch (Problem $p) {
            $this->closing = $p->status !== 500; // what follows in the connection is not a request
            $this->finish($p->status, TEXT, $p->getMessage() . "\n", microtime(true));
        }
    }

    private function dispatch(): void
    {
        // A function that cannot be loaded still answers its callers, with
        // the reason: it is healthy, and whoever deploys it is told.
        match ($this->request->path) {
            '/healthz' => $this->answer(200, TEXT, $this->server->health),
            '/metrics' => $this->answer(200, 'text/plain; version=0.0.4', $this->server->counters->text()),
            default => $this->call = new Call($this->server, $this->request->event()),
        };
    }


    /** Goes on with the call: its worker writes or reads, or its time is over. */
    public function poll(bool $readable, bool $writable): void
    {
        $call = $this->call;
        try {
            if ($writable) {
                $call->write();
            }
            if ($readable && ($outcome = $call->read()) !== null) {
                $this->finish(...[...$outcome, $call->started]);
            } elseif (microtime(true) > $call->deadline) {
                throw new Problem(408, sprintf('the function did not answer within %g seconds and was stopped', $this->server->handler->timeout));
            }
        } catch (Problem $p) {
            $this->finish($p->status, TEXT, $p->getMessage() . "\n", $call->started);
        }
    }

    private function finish(int $status, string $kind, string $body, float $started): void
    {
        $this->call?->end();
        $this->call = null;
        $seconds = microtime(true) - $started;
        $this->server->counters->record($this->request->method, $seconds, $status >= 400);
        $line = ['method' => $this->request->method, 'path' => $this->request->path, 'status' => $status,
            'seconds' => round($seconds, 6), 'id' => $this->request->header('x-request-id')];
        if ($status >= 400) {
            $line['error'] = substr(trim($body), 0, 1000);
        }
        fwrite(STDOUT, json_encode($line, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
        $this->answer($status, $kind, $body);
    }

    private function answer(int $status, string $kind, string $body): void
    {
        $this->closing = $this->closing || !$this->request->keep || $this->server->crowded();
        $this->out .= "HTTP/1.1 $status \r\nContent-Type: $kind\r\nContent-Length: " . strlen($body) . "\r\n"
            . ($this->closing ? "Connection: close\r\n" : '') . "\r\n"
            . ($this->request->method === 'HEAD' ? '' : $body);
        $this->write();
    }

    public function write(): void
    {
        $n = @fwrite($this->socket, substr($this->out, 0, 1 << 20));
        if ($n === false) {
            $this->done = true;
            return;
        }
        $this->out = substr($this->out, $n);
        if ($this->out !== '') {
            return;
        }
        $this->done = $this->closing;
        $this->request = new Request();
        if (!$this->done && $this->in !== '') {
            $this->advance();
        }
    }

    public function close(): void
    {
        $this->call?->end();
        fclose($this->socket);
    }
}

/** Serves the function on its port. */
final class Server
{
    public readonly int $maxBody;
    public readonly string $health;
    public readonly Handler $handler;
    public readonly Counters $counters;
    /** @var array<int,Connection> by socket */
    private array $connections = [];
    /** @var array<int,Worker> those that wait */
    private array $idle = [];
    /** @var \WeakMap<Worker,bool> all */
    private \WeakMap $workers;
    private $listener = null;

    public function __construct()
    {
        $this->maxBody = (int) setting('REQ_MB_LIMIT', '16') << 20;
        $this->counters = new Counters();
        $this->handler = new Handler();
        $this->workers = new \WeakMap();
        $this->health = $this->check();
    }

    /** A worker for a call. */
    public function take(): Worker
    {
        while (($worker = array_pop($this->idle)) !== null) {
            if ($worker->waits()) {
                return $worker;
            }
            $worker->end();
        }
        $worker = new Worker($this);
        $this->workers[$worker] = true;
        return $worker;
    }

    /** Takes back one that has answered. */
    public function give(Worker $worker): void
    {
        if (count($this->idle) < KEPT) {
            $this->idle[] = $worker;
        } else {
            $worker->end();
        }
    }

    /** Closes, in a new worker, what is the server's: others would wait for its end. */
    public function forsake(): void
    {
        foreach ($this->connections as $c) {
            fclose($c->socket);
        }
        foreach ($this->workers as $worker => $_) {
            if (is_resource($worker->pipe)) {
                fclose($worker->pipe);
            }
        }
        if ($this->listener !== null) {
            fclose($this->listener);
        }
    }

    /** Has a worker load the function, which waits for the first call then. */
    private function check(): string
    {
        $call = new Call($this, null);
        stream_set_blocking($call->worker->pipe, true);
        stream_set_timeout($call->worker->pipe, (int) $this->handler->timeout);
        try {
            do {
                $outcome = $call->read();
            } while ($outcome === null && microtime(true) < $call->deadline);
            $problem = $outcome === null ? 'the source does not end when it is loaded' : ($outcome[0] === 200 ? '' : trim($outcome[2]));
        } catch (Problem $p) {
            $limit = setting('FUNC_MEMORY_LIMIT', '');
            $problem = 'the source ends the process that loads it' . ($limit === '' ? '' : ", or needs more memory than its $limit");
        }
        stream_set_blocking($call->worker->pipe, false);
        $call->end();
        if ($problem === '') {
            return 'OK';
        }
        fwrite(STDERR, "$problem\n");
        return "problem: $problem";
    }

    public function run(): never
    {
        $context = stream_context_create(['socket' => ['backlog' => 1024, 'tcp_nodelay' => true]]);
        $listener = stream_socket_server('tcp://0.0.0.0:' . setting('FUNC_PORT', '8080'), $errno, $error, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN, $context);
        if ($listener === false) {
            fwrite(STDERR, "listen: $error\n");
            exit(1);
        }
        $this->listener = $listener;
        while (true) {
            $this->turn($listener);
        }
    }

    /** Whether connections are not kept, because others may need their places. */
    public function crowded(): bool
    {
        return count($this->connections) >= MAX_CONNECTIONS / 2;
    }

    private function full(): bool
    {
        return count($this->connections) >= MAX_CONNECTIONS;
    }

    private function accept($listener): void
    {
        foreach ($this->full() ? $this->connections : [] as $id => $c) {
            if ($c->idle()) { // the oldest
                $c->close();
                unset($this->connections[$id]);
                break;
            }
        }
        if (!$this->full() && ($socket = @stream_socket_accept($listener, 0)) !== false) {
            $this->connections[(int) $socket] = new Connection($socket, $this);
        }
    }

    private function turn($listener): void
    {
        [$read, $write, $wait, $room] = [[], [], 3600.0, !$this->full()];
        foreach ($this->connections as $c) {
            $room = $room || $c->idle();
            if ($c->call !== null) {
                $read[] = $c->call->worker->pipe;
                if ($c->call->wantsWrite()) {
                    $write[] = $c->call->worker->pipe;
                }
                $wait = min($wait, max(0.0, $c->call->deadline - microtime(true)) + 0.001);
            }
            if ($c->wantsRead()) {
                $read[] = $c->socket;
            }
            if ($c->wantsWrite()) {
                $write[] = $c->socket;
            }
        }
        if ($room) {
            $read[] = $listener;
        }
        $none = null;
        if (@stream_select($read, $write, $none, (int) $wait, (int) (fmod($wait, 1) * 1e6)) === false) {
            return; // a signal
        }
        foreach ($this->connections as $id => $c) {
            if (in_array($c->socket, $write, true)) {
                $c->write();
            } elseif ($c->call !== null) {
                $c->poll(in_array($c->call->worker->pipe, $read, true), in_array($c->call->worker->pipe, $write, true));
            } elseif (in_array($c->socket, $read, true)) {
                $c->read();
            }
            if ($c->done) {
                $c->close();
                unset($this->connections[$id]);
            }
        }
        if (in_array($listener, $read, true)) {
            $this->accept($listener);
        }
    }
}

pcntl_async_signals(true);
pcntl_signal(SIGTERM, static fn () => posix_kill(getmypid(), SIGKILL));
(new Server())->run();
