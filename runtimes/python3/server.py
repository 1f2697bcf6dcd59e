"""Runs one Python function behind HTTP.

The function's module is loaded once. Every call runs in a process of its own,
forked from this one: calls are parallel, one that runs past its time is
really stopped, and one that exits or crashes takes nobody with it. What the
module sets up when it is loaded is shared; what a call changes is not.

Started as a spare, it has no function until it is ordered to load one, once.
"""
import base64
import hmac
import http.server
import importlib.util
import json
import os
import queue
import select
import signal
import site
import socket
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


def child(handler, event, out):
    """Run the call and write its outcome; never returns."""
    status, body, kind = 500, b"", "text/plain; charset=utf-8"
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        body, kind = encode(handler(event, CONTEXT))
        status = 200
    except Exception as e:
        traceback.print_exc()
        body = f"the function failed: {type(e).__name__}: {e}\n".encode()
    except SystemExit:
        body = b"the function ended its process instead of returning\n"
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(out, "wb") as f:
            f.write(json.dumps([status, kind]).encode() + b"\n" + body)
    finally:
        os._exit(0)


def call(handler, event):
    """Run one call in a process of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        child(handler, event, write)
    os.close(write)
    try:
        return outcome(read, time.monotonic() + TIMEOUT)
    finally:
        os.close(read)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)


def outcome(read, deadline):
    chunks, size = [], 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([read], [], [], left)[0]:
            raise Problem(408, f"the function did not answer within {TIMEOUT:g} seconds and was stopped")
        chunk = os.read(read, 1 << 16)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER:
            raise Problem(500, f"the function's answer is larger than {MAX_ANSWER >> 20} MiB")
    head, separator, body = b"".join(chunks).partition(b"\n")
    if not separator:
        raise Problem(500, "the function's process ended without an answer: it exited, crashed or ran out of memory")
    status, kind = json.loads(head)
    return status, kind, body


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
        """Take over what the order says."""
        order = self.orders.get()
        os.environ.update(order["env"])
        for name, data in order["files"].items():
            path = os.path.join(FOLDER, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(base64.b64decode(data))
            os.chmod(path, 0o555)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


class Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    handler = None
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
            status, kind, body = call(self.handler, event)
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
        body = self.body()
        data = body
        try:
            data = body.decode()
            if self.headers.get_content_type() in ("application/json", EVENT) and data:
                data = json.loads(data)
        except UnicodeDecodeError:
            pass  # not text: the function gets the bytes
        except ValueError as e:
            raise Problem(400, f"the body is not the JSON that its content type says: {e}") from e
        def header(name, attribute):  # Kubeless's, or else a CloudEvent's
            return self.headers.get(name) or self.headers.get(attribute, "")

        return {
            "data": data,
            "event-id": header("event-id", "ce-id"),
            "event-type": header("event-type", "ce-type"),
            "event-time": header("event-time", "ce-time"),
            "event-namespace": header("event-namespace", "ce-source"),
            "extensions": {"request": {"method": self.command, "path": self.path, "headers": dict(self.headers)}},
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
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def record(self, status, seconds, body):
        line = {"method": self.command, "path": self.path, "status": status, "seconds": round(seconds, 6),
                "id": self.headers.get("x-request-id", "")}
        if status >= 400:
            line["error"] = body.decode(errors="replace").strip()[:1000]
        os.write(1, (json.dumps(line) + "\n").encode())

    def log_message(self, *args):
        pass


def serve():
    Server(("", PORT), Requests).serve_forever()


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    configure()
    spare = None
    if digest := os.environ.pop("FUNC_SPARE", ""):
        # It listens at once. The function is loaded by this thread, as always:
        # some modules can be loaded in no other.
        Requests.spare = spare = Spare(digest)
        listening = threading.Thread(target=serve)
        listening.start()
        spare.wait()
        configure()
    try:
        Requests.handler = staticmethod(load())
    except Problem as p:
        # The server runs all the same, and tells whoever calls.
        os.write(2, (p.message + "\n").encode())
        Requests.problem = p
    if spare:
        Requests.spare = None
        spare.loaded.set()
        return listening.join()
    serve()


if __name__ == "__main__":
    main()
