"""Runs one Python function behind HTTP.

The function's module is loaded once, in a process that does nothing else but fork.
Every call has a process for itself, a fork of that one: calls are parallel, one
that runs past its time is really stopped, and one that exits or crashes takes
nobody with it. The process of a call that has returned makes others after it, so
that a call costs no fork: what a call changes in the module, a later one may find
or not.

Started as a spare, it has no function until it is ordered to load one, once.
"""
import base64
import hmac
import http.server
import importlib.util
import json
import marshal
import os
import queue
import signal
import site
import socket
import struct
import sys
import threading
import time
import traceback

PORT = int(os.environ.get("FUNC_PORT") or 8080)
FOLDER = os.environ.get("FUNC_FOLDER", "/kubeless")
DEPENDENCIES = "/dependencies"
MAX_ANSWER = 64 << 20
EVENT = "application/cloudevents+json"  # a CloudEvent in structured mode
# How much of a body that is too large is read all the same, because who still
# sends does not hear the answer.
MAX_DISCARD = 256 << 20


def configure():
    """Read what the environment says of the function."""
    global MODULE, HANDLER, TIMEOUT, MAX_BODY, CONTEXT
    env = os.environ.get
    MODULE, HANDLER = env("MOD_NAME", ""), env("FUNC_HANDLER", "")
    TIMEOUT = float(env("FUNC_TIMEOUT") or 180)
    MAX_BODY = int(env("REQ_MB_LIMIT") or 16) << 20
    CONTEXT = {
        "function-name": env("FUNC_NAME", HANDLER),
        "timeout": env("FUNC_TIMEOUT", ""),
        "runtime": env("FUNC_RUNTIME", "python3"),
        "memory-limit": env("FUNC_MEMORY_LIMIT", ""),
    }


class Problem(Exception):
    """An answer that is not the function's: a status and a sentence."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
        self.message = message


def load():
    """Return the handler; a Problem says why there is none, and what to do."""
    path = os.path.join(FOLDER, MODULE + ".py")
    if not os.path.exists(path):
        raise Problem(500, f"the function's source {MODULE}.py is missing; name its file in the handler, as in FILE.FUNCTION")
    sys.path.insert(0, FOLDER)
    site.addsitedir(DEPENDENCIES)
    spec = importlib.util.spec_from_file_location(MODULE, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as e:
        raise Problem(500, f"{MODULE}.py, line {e.lineno}: {e.msg}{hint(e)}") from e
    except BaseException as e:
        traceback.print_exc()
        raise Problem(500, f"{MODULE}.py cannot be loaded: {type(e).__name__}: {e}") from e
    handler = getattr(module, HANDLER, None)
    if not callable(handler):
        raise Problem(500, f"{MODULE}.py has no function {HANDLER}; define it as: def {HANDLER}(event, context):")
    return handler


def hint(error):
    """What to do about a line that Python 2 understood."""
    if "Missing parentheses in call to 'print'" in (error.msg or ""):
        code = (error.text or "").strip()
        fixed = "print(" + code[len("print"):].strip() + ")"
        return f" (this is Python {sys.version_info[0]}, where print is a function: write {fixed})"
    return f" (this is Python {sys.version_info[0]}.{sys.version_info[1]})"


class Metrics:
    """Counts calls by method, in Kubeless's names."""

    def __init__(self):
        self.lock = threading.Lock()
        self.calls, self.failures, self.seconds = {}, {}, {}

    def record(self, method, seconds, failed):
        with self.lock:
            self.calls[method] = self.calls.get(method, 0) + 1
            self.failures[method] = self.failures.get(method, 0) + failed
            self.seconds[method] = self.seconds.get(method, 0.0) + seconds

    def text(self):
        with self.lock:
            lines = []
            for name, kind, values in (
                ("function_calls_total", "counter", self.calls),
                ("function_failures_total", "counter", self.failures),
                ("function_duration_seconds_sum", "counter", self.seconds),
                ("function_duration_seconds_count", "counter", self.calls),
            ):
                lines.append(f"# TYPE {name} {kind}")
                lines += [f'{name}{{method="{m}"}} {v}' for m, v in sorted(values.items())]
            return ("\n".join(lines) + "\n").encode()


def encode(result):
    """The body and content type of what a function returned."""
    if result is None:
        return b"", "text/plain; charset=utf-8"
    if isinstance(result, (bytes, bytearray)):
        return bytes(result), "application/octet-stream"
    if isinstance(result, str):
        return result.encode(), "text/plain; charset=utf-8"
    if isinstance(result, (dict, list, tuple, int, float, bool)):
        return json.dumps(result).encode(), EVENT if is_event(result) else "application/json"
    return str(result).encode(), "text/plain; charset=utf-8"


def is_event(result):
    return isinstance(result, dict) and all(isinstance(result.get(name), str) for name in ("specversion", "id", "source", "type"))


KINDS = ["text/plain; charset=utf-8", "application/octet-stream", "application/json", EVENT]
HEAD = struct.Struct("!HBBQ")  # an outcome: status, kind, whether the worker goes on, length


def work(handler, sock):
    """Make the calls that come, one after the other; never returns."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        goes_on = True
        while goes_on and (head := receive(sock, 4)):
            event = marshal.loads(receive(sock, int.from_bytes(head, "big")))
            status, body, kind, goes_on = run(handler, event)
            sys.stdout.flush()
            sys.stderr.flush()
            sock.sendall(HEAD.pack(status, KINDS.index(kind), goes_on, len(body)) + body)
    finally:
        os._exit(0)


def run(handler, event):
    """Make one call; return its outcome, and whether another may follow."""
    try:
        return 200, *encode(handler(event, CONTEXT)), True
    except Exception as e:
        traceback.print_exc()
        return 500, f"the function failed: {type(e).__name__}: {e}\n".encode(), KINDS[0], True
    except SystemExit:
        return 500, b"the function ended its process instead of returning\n", KINDS[0], False


def receive(sock, size):
    """Read that many bytes; nothing where the other side has gone."""
    data = b""
    while len(data) < size:
        part = sock.recv(min(size - len(data), 1 << 20))
        if not part:
            return b""
        data = data + part if data else part
    return data


def breed(sock):
    """Load the function, and fork and end workers, as the server says; never returns.

    This process has one thread and no connections, so that workers inherit
    neither: nothing that others hold is held in them.
    """
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ.update(marshal.loads(receive(sock, int.from_bytes(receive(sock, 4), "big"))))
        configure()
        problem = handler = None
        try:
            handler = load()
        except Problem as p:
            problem = [p.status, p.message]
        data = marshal.dumps(problem)
        sock.sendall(len(data).to_bytes(4, "big") + data)
        while handler and (order := receive(sock, 4)):
            if pid := int.from_bytes(order, "big"):
                os.kill(pid, signal.SIGKILL)  # it is this process's until it is waited for
                os.waitpid(pid, 0)
                continue
            ours, theirs = socket.socketpair()
            try:
                pid = os.fork()
            except OSError:
                pid = -1
            if pid == 0:
                sock.close()
                ours.close()
                work(handler, theirs)
            socket.send_fds(sock, [pid.to_bytes(4, "big", signed=True)], [ours.fileno()])
            ours.close()
            theirs.close()
    finally:
        os._exit(0)


class Worker:
    """A process that makes calls, seen from the server."""

    def __init__(self, pid, sock):
        self.pid, self.sock = pid, sock
        # The longest that it is waited for, by the kernel.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(TIMEOUT), int(TIMEOUT % 1 * 1e6)))

    def alive(self):
        """Whether it has not ended since its last call."""
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            return False  # nothing is to be read but the end
        except BlockingIOError:
            return True

    def call(self, event):
        """Return status, kind, whether it goes on, and the answer."""
        data = marshal.dumps(event)
        deadline = time.monotonic() + TIMEOUT
        ended = Problem(500, "the function's process ended without an answer: it exited, crashed or ran out of memory")
        try:
            self.sock.sendall(len(data).to_bytes(4, "big") + data)
            parts, size, wanted = [], 0, HEAD.size
            while size < wanted:
                part = self.sock.recv(1 << 20)
                if not part:
                    raise ended
                if not parts and len(part) < HEAD.size:
                    part += receive(self.sock, HEAD.size - len(part))
                if not parts:
                    status, kind, goes_on, length = HEAD.unpack_from(part)
                    wanted += length
                    if length > MAX_ANSWER:
                        raise Problem(500, f"the function's answer is larger than {MAX_ANSWER >> 20} MiB")
                parts.append(part)
                size += len(part)
                if size < wanted and time.monotonic() > deadline:
                    raise BlockingIOError
        except BlockingIOError:
            raise Problem(408, f"the function did not answer within {TIMEOUT:g} seconds and was stopped") from None
        except (ConnectionError, struct.error):
            raise ended from None
        return status, KINDS[kind], goes_on, b"".join(parts)[HEAD.size:]


class Workers:
    """The workers: one for each call that runs, and some that wait for more."""

    KEPT = 8

    def __init__(self):
        self.lock, self.idle = threading.Lock(), []
        self.breeder, theirs = socket.socketpair()
        if os.fork() == 0:
            self.breeder.close()
            breed(theirs)
        theirs.close()

    def load(self, env):
        """Load the function, with more in its environment; a Problem says why it cannot be."""
        data = marshal.dumps(env)
        self.breeder.sendall(len(data).to_bytes(4, "big") + data)
        head = receive(self.breeder, 4)
        if not head:
            raise Problem(500, f"{MODULE}.py ends the process that loads it")
        if problem := marshal.loads(receive(self.breeder, int.from_bytes(head, "big"))):
            raise Problem(*problem)

    def prepare(self):
        """Have a worker ready for the first call."""
        try:
            self.give(self.take(), True)
        except Problem:
            pass  # which the call is told

    def call(self, event):
        worker = self.take()
        goes_on = False
        try:
            status, kind, goes_on, body = worker.call(event)
            return status, kind, body
        finally:
            self.give(worker, goes_on)

    def take(self):
        with self.lock:
            while self.idle:
                worker = self.idle.pop()
                if worker.alive():
                    return worker
                self.end(worker)
            self.breeder.sendall(bytes(4))
            data, fds, _, _ = socket.recv_fds(self.breeder, 4, 1)
        if len(data) < 4 or not fds:
            os._exit(1)  # without the breeder there are no calls: the node starts this anew
        sock = socket.socket(fileno=fds[0])
        pid = int.from_bytes(data, "big", signed=True)
        if pid < 0:
            sock.close()
            raise Problem(500, "the call's process cannot be started: there are too many, or too little memory")
        return Worker(pid, sock)

    def give(self, worker, goes_on):
        with self.lock:
            if goes_on and len(self.idle) < self.KEPT:
                return self.idle.append(worker)
            self.end(worker)

    def end(self, worker):
        self.breeder.sendall(worker.pid.to_bytes(4, "big"))
        worker.sock.close()


class Spare:
    """Waits, without a function, for the one order to load one."""

    def __init__(self, digest):
        import hashlib  # which takes a while, and only spares need it
        self.sha256, self.digest = hashlib.sha256, digest
        self.lock, self.taken = threading.Lock(), False
        self.orders, self.loaded = queue.SimpleQueue(), threading.Event()

    def order(self, token, body):
        """Return the status of an order, once its function is loaded."""
        if not hmac.compare_digest(self.sha256(token.encode()).hexdigest(), self.digest):
            return 403
        with self.lock:
            if self.taken:
                return 409
            self.taken = True
        self.orders.put(json.loads(body))
        self.loaded.wait()
        return 200

    def wait(self):
        """Put the order's files in place, and return its environment."""
        order = self.orders.get()
        os.environ.update(order["env"])
        for name, data in order["files"].items():
            path = os.path.join(FOLDER, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(base64.b64decode(data))
            os.chmod(path, 0o555)
        return order["env"]


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


class Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    workers = None
    problem = None
    spare = None
    metrics = Metrics()

    def setup(self):
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_any(self):
        if self.spare:
            return self.ordered()
        if self.path == "/healthz":
            # A function that cannot be loaded still answers its callers, with
            # the reason: it is healthy, and whoever deploys it is told.
            return self.answer(200, "text/plain", f"problem: {self.problem}".encode() if self.problem else b"OK")
        if self.path == "/metrics":
            return self.answer(200, "text/plain; version=0.0.4", self.metrics.text())
        started = time.monotonic()
        try:
            event = self.event()  # in any case, or the next request begins with its body
            if self.problem:
                raise self.problem
            status, kind, body = self.workers.call(event)
        except Problem as p:
            status, kind, body = p.status, "text/plain; charset=utf-8", (p.message + "\n").encode()
        seconds = time.monotonic() - started
        self.metrics.record(self.command, seconds, status >= 400)
        self.record(status, seconds, body)
        self.answer(status, kind, body)

    def ordered(self):
        try:
            body = self.body()
        except Problem as p:
            return self.answer(p.status, "text/plain", b"")
        status = 404
        if self.path == "/redoubt/order":
            status = self.spare.order(self.headers.get("authorization", "").removeprefix("Bearer "), body)
        self.answer(status, "text/plain", b"")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_any

    def event(self):
        headers = dict(self.headers)
        lower = {name.lower(): value for name, value in headers.items()}
        body = self.body()
        data = body
        try:
            data = body.decode()
            if data and lower.get("content-type", "").split(";")[0].strip().lower() in ("application/json", EVENT):
                data = json.loads(data)
        except UnicodeDecodeError:
            pass  # not text: the function gets the bytes
        except ValueError as e:
            raise Problem(400, f"the body is not the JSON that its content type says: {e}") from e

        def header(name, attribute):  # Kubeless's, or else a CloudEvent's
            return lower.get(name) or lower.get(attribute, "")

        return {
            "data": data,
            "event-id": header("event-id", "ce-id"),
            "event-type": header("event-type", "ce-type"),
            "event-time": header("event-time", "ce-time"),
            "event-namespace": header("event-namespace", "ce-source"),
            "extensions": {"request": {"method": self.command, "path": self.path, "headers": headers}},
        }

    def body(self):
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self.chunks()
        try:
            length = int(self.headers.get("content-length") or 0)
        except ValueError:
            length = -1
        if length < 0:
            self.close_connection = True
            raise Problem(400, "the content length is not a number")
        if length > MAX_BODY:
            self.close_connection = length > MAX_DISCARD
            self.discard(min(length, MAX_DISCARD))
            raise Problem(413, f"the body is larger than {MAX_BODY >> 20} MiB")
        return self.rfile.read(length)

    def discard(self, length):
        while length > 0 and (part := self.rfile.read(min(length, 1 << 20))):
            length -= len(part)

    def chunks(self):
        parts, total = [], 0
        while True:
            try:
                size = int(self.rfile.readline(1024).split(b";")[0], 16)
            except ValueError:
                self.close_connection = True
                raise Problem(400, "the body's chunks cannot be read") from None
            total += size
            if size < 0 or total > MAX_BODY:
                self.close_connection = True
                raise Problem(413, f"the body is larger than {MAX_BODY >> 20} MiB")
            if size == 0:
                while self.rfile.readline(1024).strip():
                    pass
                return b"".join(parts)
            parts.append(self.rfile.read(size))
            self.rfile.readline(16)

    def answer(self, status, kind, body):
        head = f"HTTP/1.1 {status} {self.responses[status][0]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.wfile.write(head if self.command == "HEAD" else head + body)

    def record(self, status, seconds, body):
        line = {"method": self.command, "path": self.path, "status": status, "seconds": round(seconds, 6),
                "id": self.headers.get("x-request-id", "")}
        if status >= 400:
            line["error"] = body.decode(errors="replace").strip()[:1000]
        os.write(1, (json.dumps(line) + "\n").encode())

    def log_message(self, *args):
        pass


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    digest = os.environ.pop("FUNC_SPARE", "")
    configure()
    workers, spare, env = Workers(), None, {}
    if digest:  # it listens at once
        Requests.spare = spare = Spare(digest)
        listening = threading.Thread(target=Server(("", PORT), Requests).serve_forever)
        listening.start()
        env = spare.wait()
        configure()
    try:
        workers.load(env)
        Requests.workers = workers
    except Problem as p:
        # The server runs all the same, and tells whoever calls.
        os.write(2, (p.message + "\n").encode())
        Requests.problem = p
    if spare:
        Requests.spare = None
        spare.loaded.set()
    if not Requests.problem:
        workers.prepare()
    if spare:
        return listening.join()
    Server(("", PORT), Requests).serve_forever()


if __name__ == "__main__":
    main()
