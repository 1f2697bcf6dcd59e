"""Runs one Python function behind HTTP.

The function's module is loaded once, in a process that does nothing else but fork.
Every call has a process for itself, a fork of that one, a worker: calls are parallel,
one that runs past its time is really stopped, and one that exits or crashes takes
nobody with it. A worker that has answered makes other calls after it, so that a call
costs no fork: what a call changes in the module, a later one may find or not.

The server accepts connections, and waits for those that are idle. One on which a
request begins it lends to a worker, which reads requests from it and answers them
for as long as they come without a pause. What a worker is at stands in memory that
both see, so that the server can stop it, and answer for it.

Started as a spare, the server has no function until it is ordered to load one, once.
"""
import base64
import importlib.util
import json
import marshal
import mmap
import os
import select
import signal
import site
import socket
import struct
import sys
import time
import traceback

sys.dont_write_bytecode = True  # what is loaded is loaded once, and mostly from where nobody may write

PORT = int(os.environ.get("FUNC_PORT") or 8080)
FOLDER = os.environ.get("FUNC_FOLDER", "/kubeless")
DEPENDENCIES = "/dependencies"
MAX_ANSWER = 64 << 20
EVENT = "application/cloudevents+json"  # a CloudEvent in structured mode
# How much of a body that is too large is read all the same, because who still
# sends does not hear the answer.
MAX_DISCARD = 256 << 20
MAX_HEAD = 64 << 10
TEXT = "text/plain; charset=utf-8"
# How long a worker waits for another request, and anybody for the rest of one, in
# seconds.
PAUSE, PATIENCE = 0.005, 60
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout", 409: "Conflict",
           413: "Content Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented"}
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
ENDED = "the function's process ended without an answer: it exited, crashed or ran out of memory"


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


class Slot:
    """What one worker is at, and what it has counted, in memory that all processes see."""

    SIZE, NUMBER, NOTE = 4096, 1024, 512  # bytes of a slot, slots, and where its note begins
    WAITS, READS, CALLS, ANSWERS, SENDS = 0.0, 1.0, 2.0, 3.0, 4.0
    memory = mmap.mmap(-1, SIZE * NUMBER)
    cells = memoryview(memory).cast("d")

    def __init__(self, number):
        self.first, self.note = number * self.SIZE // 8, number * self.SIZE + self.NOTE

    def begin(self, method, note):
        """Note a request that has been read; note is what is logged of it."""
        note = note[:self.SIZE - self.NOTE]
        self.memory[self.note:self.note + len(note)] = note
        self.cells[self.first + 2], self.cells[self.first + 3] = METHODS.index(method), len(note)

    def enter(self, phase):
        """Say what is done now, since when."""
        self.cells[self.first + 1] = time.monotonic()
        self.cells[self.first] = phase

    def phase(self):
        return self.cells[self.first]

    def since(self):
        return self.cells[self.first + 1]

    def end(self, status, seconds, body):
        """Count and log the request."""
        at = self.first + 4 + 3 * int(self.cells[self.first + 2])
        self.cells[at] += 1
        self.cells[at + 1] += status >= 400
        self.cells[at + 2] += seconds
        line = self.memory[self.note:self.note + int(self.cells[self.first + 3])] + b', "status": %d, "seconds": %.6f' % (status, seconds)
        if status >= 400:
            line += b', "error": ' + json.dumps(body.decode(errors="replace").strip()[:1000]).encode()
        os.write(1, line + b"}\n")

    @classmethod
    def metrics(cls):
        """Count the calls of all by method, in Kubeless's names."""
        lines = []
        for name, of in (("calls_total", 0), ("failures_total", 1), ("duration_seconds_sum", 2), ("duration_seconds_count", 0)):
            lines.append(f"# TYPE function_{name} counter")
            for n, method in enumerate(METHODS):
                at = [slot * cls.SIZE // 8 + 4 + 3 * n for slot in range(cls.used())]
                if sum(cls.cells[i] for i in at):
                    total = sum(cls.cells[i + of] for i in at)
                    lines.append(f'function_{name}{{method="{method}"}} {total if of == 2 else int(total)}')
        return ("\n".join(lines) + "\n").encode()

    # How many slots have ever been in use is in the last one, which is never.
    @classmethod
    def used(cls, number=None):
        at = (cls.NUMBER - 1) * cls.SIZE // 8
        if number is not None:
            cls.cells[at] = max(cls.cells[at], number)
        return int(cls.cells[at])


def encode(result):
    """The body and content type of what a function returned."""
    if result is None:
        return b"", TEXT
    if isinstance(result, (bytes, bytearray)):
        return bytes(result), "application/octet-stream"
    if isinstance(result, str):
        return result.encode(), TEXT
    if isinstance(result, (dict, list, tuple, int, float, bool)):
        return json.dumps(result).encode(), EVENT if is_event(result) else "application/json"
    return str(result).encode(), TEXT


def is_event(result):
    return isinstance(result, dict) and all(isinstance(result.get(name), str) for name in ("specversion", "id", "source", "type"))


def receive(sock, size):
    """Read that many bytes; nothing where the other side has gone."""
    data = b""
    while len(data) < size:
        part = sock.recv(min(size - len(data), 1 << 20))
        if not part:
            return b""
        data = data + part if data else part
    return data


class Idle(Exception):
    """No request comes for now."""


class Request:
    """One request, as far as its header."""

    def __init__(self, head):
        first, *lines = head.decode("latin-1").split("\r\n")
        try:
            self.method, self.path, version = first.split(" ")
        except ValueError:
            raise Problem(400, "the request's first line cannot be read") from None
        self.headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name[-1] in " \t" or name[0] in " \t":
                raise Problem(400, "the request's header cannot be read")
            value = value.strip(" \t")
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.lower = {name.lower(): value for name, value in self.headers.items()}
        self.keeps = version == "HTTP/1.1" and self.lower.get("connection", "").lower() != "close"


class Connection:
    """Reads requests from a connection and writes answers."""

    def __init__(self, sock):
        self.sock, self.data = sock, b""

    def wait(self):
        """Wait for a request for a moment, and take nothing of it yet: who has this
        connection after a process that ended here finds it whole."""
        try:
            if not self.sock.recv(1, socket.MSG_PEEK):
                raise ConnectionError
        except BlockingIOError:
            raise Idle from None

    def more(self):
        """Read on, for long."""
        deadline = None
        while True:
            try:
                part = self.sock.recv(1 << 16)
            except BlockingIOError:
                deadline = deadline or time.monotonic() + PATIENCE
                if time.monotonic() > deadline:
                    raise ConnectionError from None
                continue
            if not part:
                raise ConnectionError
            self.data = self.data + part if self.data else part
            return

    def request(self, began):
        """Read a request's header; began is told that there is one."""
        if not self.data:
            self.wait()
        began()
        while (end := self.data.find(b"\r\n\r\n")) < 0:
            if len(self.data) > MAX_HEAD:
                raise Problem(431, f"the request's header is larger than {MAX_HEAD >> 10} KiB")
            self.more()
        head, self.data = self.data[:end], self.data[end + 4:]
        return Request(head)

    def take(self, size):
        """Read that many bytes."""
        if len(self.data) < size:
            parts, have = [self.data], len(self.data)
            while have < size:
                self.data = b""
                self.more()
                parts.append(self.data)
                have += len(self.data)
            self.data = b"".join(parts)
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def line(self):
        while (end := self.data.find(b"\n")) < 0:
            if len(self.data) > 1024:
                raise Problem(400, "the body's chunks cannot be read")
            self.more()
        line, self.data = self.data[:end + 1], self.data[end + 1:]
        return line

    def body(self, request):
        """Read a request's body; after a Problem, the connection may have no other."""
        if request.lower.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        keeps, request.keeps = request.keeps, False
        if "transfer-encoding" in request.lower:
            if "chunked" not in request.lower["transfer-encoding"].lower():
                raise Problem(400, "the transfer encoding is not chunked")
            body = self.chunks()
            keeps = keeps and "content-length" not in request.lower  # who counts otherwise sees other requests
        else:
            length = request.lower.get("content-length") or "0"
            if not (length.isascii() and length.isdigit()):
                raise Problem(400, "the content length is not a number")
            if int(length) > MAX_BODY:
                self.discard(min(int(length), MAX_DISCARD))
                raise Problem(413, f"the body is larger than {MAX_BODY >> 20} MiB")
            body = self.take(int(length)) if length != "0" else b""
        request.keeps = keeps
        return body

    def discard(self, length):
        length -= len(self.data)
        while length > 0:
            self.data = b""
            self.more()
            length -= len(self.data)
        self.data = b""

    def chunks(self):
        parts, total = [], 0
        while True:
            try:
                size = int(self.line().split(b";")[0], 16)
            except ValueError:
                raise Problem(400, "the body's chunks cannot be read") from None
            total += size
            if size < 0 or total > MAX_BODY:
                raise Problem(413, f"the body is larger than {MAX_BODY >> 20} MiB")
            if size == 0:
                while self.line().strip():
                    pass
                return b"".join(parts)
            parts.append(self.take(size))
            self.line()

    def answer(self, status, kind, body, keeps, empty=False):
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{'' if keeps else 'Connection: close' + chr(13) + chr(10)}\r\n".encode()
        self.sock.sendall(head if empty else head + body)


def event_of(request, body):
    lower, data = request.lower, body
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
        "extensions": {"request": {"method": request.method, "path": request.path, "headers": request.headers}},
    }


class Calls:
    """What a worker does: it answers the requests of connections that it is lent.

    It tells the server by a byte what becomes of a connection: "i", it is idle; "c",
    it is to be closed; "e", it is to be closed, and the worker has ended.
    """

    def __init__(self, handler, problem, slot):
        self.handler, self.problem, self.slot = handler, problem, slot

    def run(self, sock):
        """Answer until the server ends, or the function ends this process; never returns."""
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.pid = os.getpid()
            os.register_at_fork(after_in_child=sock.close)  # or the server would not see this process's end while a fork of it lives
            said = b""
            while said != b"e":
                data, fds, _, _ = socket.recv_fds(sock, 1, 1)
                if not data:
                    break
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fds[0]) as lent:
                    said = self.serve(Connection(lent))
                self.slot.enter(Slot.WAITS)
                sock.sendall(said)
        finally:
            os._exit(0)

    def serve(self, connection):
        try:
            while True:
                self.slot.enter(Slot.WAITS)
                if (said := self.one(connection)) != b"i":
                    return said
        except Idle:
            return b"i"
        except ConnectionError:
            return b"c"
        except BlockingIOError:
            return b"c"  # who asked does not read

    def one(self, connection):
        """Answer one request."""
        goes_on, request = True, None
        try:
            request = connection.request(lambda: self.slot.enter(Slot.READS))
            if request.method not in METHODS:
                request.keeps = False
                raise Problem(501, "the method is none that functions are called with")
            if request.path in ("/healthz", "/metrics"):
                connection.body(request)
                return self.about(connection, request)
            started = time.monotonic()
            self.slot.begin(request.method, f'{{"method": "{request.method}", "path": {json.dumps(request.path[:2000])}, "id": {json.dumps(request.lower.get("x-request-id", "")[:200])}'.encode())
            try:
                event = event_of(request, connection.body(request))  # in any case, or the next request begins with its body
                if self.problem:
                    raise Problem(*self.problem)
                self.slot.enter(Slot.CALLS)
                status, body, kind, goes_on = self.call(event)
                self.slot.enter(Slot.ANSWERS)
            except Problem as p:
                status, kind, body = p.status, TEXT, (p.message + "\n").encode()
            self.slot.end(status, time.monotonic() - started, body)
        except Problem as p:
            status, kind, body = p.status, TEXT, (p.message + "\n").encode()
        keeps = goes_on and request is not None and request.keeps
        self.slot.enter(Slot.SENDS)
        connection.answer(status, kind, body, keeps, request is not None and request.method == "HEAD")
        return b"e" if not goes_on else b"i" if keeps else b"c"

    def about(self, connection, request):
        """Say how the function is: one that cannot be loaded answers its callers with
        the reason, so that it is healthy, and whoever deploys it is told."""
        body = Slot.metrics()
        if request.path == "/healthz":
            body = f"problem: {self.problem[1]}".encode() if self.problem else b"OK"
        self.slot.enter(Slot.SENDS)
        connection.answer(200, "text/plain; version=0.0.4" if request.path == "/metrics" else "text/plain", body, request.keeps, request.method == "HEAD")
        return b"i" if request.keeps else b"c"

    def call(self, event):
        """Make one call; return its outcome, and whether another may follow."""
        try:
            body, kind = encode(self.handler(event, CONTEXT))
            if len(body) > MAX_ANSWER:
                return 500, f"the function's answer is larger than {MAX_ANSWER >> 20} MiB\n".encode(), TEXT, True
            return 200, body, kind, True
        except Exception as e:
            traceback.print_exc()
            return 500, f"the function failed: {type(e).__name__}: {e}\n".encode(), TEXT, True
        except SystemExit:
            return 500, b"the function ended its process instead of returning\n", TEXT, False
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            if os.getpid() != self.pid:
                os._exit(0)  # a fork that the function has made: its parent answers


# An order for the breeder: 0 and the slot of a new worker, or the process of one to
# end, alone or, after a call that ran past its time, with all that it has started.
ORDER = struct.Struct("!ii")
ALONE, ALL = 0, 1


def attempt(call, *arguments):
    """Make a system call that may find nobody."""
    try:
        call(*arguments)
    except OSError:
        pass


def rehearse():
    """Have a spare do what an order takes for the first time, before somebody waits for it."""
    name = f"..rehearsal-{os.getpid()}.py"  # as no file of a function begins
    path = os.path.join(FOLDER, name)
    attempt(os.remove, path)  # of a process that was ended there
    put({name: b""})
    spec = importlib.util.spec_from_file_location(name, path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    os.remove(path)


def breed(sock, spare):
    """Load the function, and fork and end workers, as the server says; never returns.

    This process has one thread and no connections, so that workers inherit
    neither: nothing that others hold is held in them.
    """
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # its children it waits for
        if spare:
            rehearse()
        env, problem = marshal.loads(receive(sock, int.from_bytes(receive(sock, 4), "big")))
        os.environ.update(env)
        configure()
        handler = None
        try:
            handler = None if problem else load()
        except Problem as p:
            problem = [p.status, p.message]
            os.write(2, (p.message + "\n").encode())
        sock.sendall(b"l")
        while order := receive(sock, ORDER.size):
            pid, slot = ORDER.unpack(order)
            if pid > 0:
                if slot == ALL:
                    attempt(os.killpg, pid, signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)  # it is this process's until it is waited for
                os.waitpid(pid, 0)
                sock.sendall(b"k")
                continue
            ours, theirs = socket.socketpair()
            try:
                pid = os.fork()
            except OSError:
                pid = -1
            if pid == 0:
                sock.close()
                ours.close()
                Calls(handler, problem, Slot(slot)).run(theirs)
            attempt(os.setpgid, pid, pid)  # with all that it will start
            socket.send_fds(sock, [ORDER.pack(pid, slot)], [ours.fileno()])
            ours.close()
            theirs.close()
    finally:
        os._exit(0)


class Worker:
    """A process that makes calls, seen from the server."""

    def __init__(self, pid, slot, sock):
        self.pid, self.number, self.slot, self.sock = pid, slot, Slot(slot), sock
        self.lent = None  # the connection


class Server:
    """Accepts connections and lends them to workers. It has one thread."""

    KEPT = 8  # workers without a connection

    def __init__(self, spare):
        self.spare, self.ordered, self.ordering = spare, False, None
        self.polled, self.events = {}, select.epoll()
        self.idle, self.busy = [], {}
        self.slots = list(range(Slot.NUMBER - 2, -1, -1))
        self.begin_breeder()

    def begin_breeder(self):
        self.breeder, theirs = socket.socketpair()
        if os.fork() == 0:
            self.breeder.close()
            breed(theirs, self.spare)
        theirs.close()

    def load(self, env, problem=None):
        """Let the breeder load the function, with more in its environment."""
        data = marshal.dumps([env, problem])
        self.breeder.sendall(len(data).to_bytes(4, "big") + data)

    def loaded(self):
        """Wait until it is loaded, whatever came of that."""
        if not receive(self.breeder, 1):
            problem = f"{MODULE}.py ends the process that loads it"
            if limit := os.environ.get("FUNC_MEMORY_LIMIT"):
                problem += f", or needs more memory than its {limit}"
            os.write(2, (problem + "\n").encode())
            self.breeder.close()
            self.begin_breeder()
            self.load({}, [500, problem])
            receive(self.breeder, 1)

    def prepare(self):
        """Have a worker for the next call."""
        if worker := self.fork():
            self.idle.append(worker)

    def serve(self):
        listener = socket.create_server(("", PORT), backlog=1024)
        self.watch(listener, self.accept, select.EPOLLIN)
        while True:
            for fd, _ in self.events.poll(self.patience()):
                if fd in self.polled:
                    source, ready = self.polled[fd]
                    ready(source)
            self.stop_late()

    def watch(self, source, ready, how):
        self.polled[source.fileno()] = source, ready
        self.events.register(source.fileno(), how)

    def forget(self, source):
        del self.polled[source.fileno()]
        self.events.unregister(source.fileno())
        source.close()

    def accept(self, listener):
        try:
            sock, _ = listener.accept()
        except OSError:
            return time.sleep(0.01)  # there are too many, or it has gone
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(PAUSE * 1e6)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))
        self.watch(sock, self.lend, select.EPOLLIN | select.EPOLLONESHOT)

    def lend(self, sock):
        """Lend a connection with a request to a worker."""
        if self.spare:
            return self.take_order(sock)
        worker = self.idle.pop() if self.idle else self.fork()
        if not worker:
            return self.refuse(sock, 500, "the call's process cannot be started: there are too many, or too little memory")
        worker.slot.enter(Slot.WAITS)  # whatever who had it before was at
        try:
            socket.send_fds(worker.sock, [b"c"], [sock.fileno()])
        except OSError:  # it ended while it had none
            self.end(worker)
            return self.events.modify(sock.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
        worker.lent = sock
        self.busy[worker.pid] = worker

    def refuse(self, sock, status, message, slot=None):
        """Answer instead of a worker, and close the connection."""
        body = (message and message + "\n").encode()
        if slot:
            slot.end(status, time.monotonic() - slot.since(), body)
        try:
            Connection(sock).answer(status, TEXT, body, False)
        except OSError:
            pass
        self.close(sock)

    def close(self, sock):
        try:
            sock.shutdown(socket.SHUT_RDWR)  # whoever else has it
        except OSError:
            pass
        self.forget(sock)

    def fork(self):
        if not self.slots:
            return None
        slot = self.slots.pop()
        Slot.used(slot + 1)
        self.breeder.sendall(ORDER.pack(0, slot))
        data, fds, _, _ = socket.recv_fds(self.breeder, ORDER.size, 1)
        if len(data) < ORDER.size:
            os._exit(1)  # without the breeder there are no calls: the node starts this anew
        pid, _ = ORDER.unpack(data)
        if pid < 0 or not fds:  # without a file, this process can have no more
            if pid > 0:
                self.kill(pid)
            for fd in fds:
                os.close(fd)
            self.slots.append(slot)
            return None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=fds[0])
        worker = Worker(pid, slot, sock)
        self.watch(sock, lambda _: self.said(worker), select.EPOLLIN)
        return worker

    def said(self, worker):
        """Hear what becomes of a worker's connection, or that it has ended."""
        try:
            said = worker.sock.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # the news was for who had this descriptor before
        except ConnectionError:
            said = b""
        if not said:
            return self.ended(worker)
        sock, worker.lent = worker.lent, None
        self.busy.pop(worker.pid, None)
        if sock is None:
            return self.end(worker)  # it speaks without having been asked
        if said == b"i":
            self.events.modify(sock.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
        else:
            self.close(sock)
        if said == b"e" or len(self.idle) >= self.KEPT:
            return self.end(worker)
        self.idle.append(worker)

    def ended(self, worker):
        """Answer for a worker that has ended."""
        self.end(worker)
        phase, sock = worker.slot.phase(), worker.lent
        if sock is None:
            return
        if phase == Slot.WAITS:  # it has read nothing
            self.events.modify(sock.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
        elif phase == Slot.SENDS:
            self.close(sock)
        else:
            self.refuse(sock, 500, ENDED, worker.slot if phase == Slot.CALLS else None)

    def end(self, worker, whom=ALONE):
        """See that a worker has ended."""
        self.kill(worker.pid, whom)
        self.forget(worker.sock)
        self.busy.pop(worker.pid, None)
        if worker in self.idle:
            self.idle.remove(worker)
        self.slots.append(worker.number)

    def kill(self, pid, whom=ALONE):
        """End a worker's process, and wait for that."""
        self.breeder.sendall(ORDER.pack(pid, whom))
        if not receive(self.breeder, 1):
            os._exit(1)

    def patience(self):
        """How long nobody can be late, in seconds: for ever where no worker has a connection."""
        now = time.monotonic()
        return max(0.001, min((self.deadline(w, now) - now for w in self.busy.values()), default=-1)) if self.busy else -1

    @staticmethod
    def deadline(worker, now):
        return (worker.slot.since() if worker.slot.phase() == Slot.CALLS else now) + TIMEOUT

    def stop_late(self):
        now = time.monotonic()
        for worker in [w for w in self.busy.values() if self.deadline(w, now) <= now]:
            self.end(worker, ALL)
            phase = worker.slot.phase()  # which changes no more
            if phase == Slot.CALLS:
                self.refuse(worker.lent, 408, f"the function did not answer within {TIMEOUT:g} seconds and was stopped", worker.slot)
            else:
                self.close(worker.lent)

    def take_order(self, sock):
        """Take a spare's order, which has its answer when the function is loaded."""
        connection = Connection(sock)
        status = 404
        try:
            request = connection.request(lambda: None)
            body = connection.body(request)
            if request.path == "/redoubt/order":
                status = self.judge(request.lower.get("authorization", "").removeprefix("Bearer "))
        except Problem as p:
            status = p.status
        except (Idle, OSError):
            return self.close(sock)
        if status:
            return self.refuse(sock, status, "")
        self.ordered, self.ordering = True, sock
        order = json.loads(body)
        put(order["files"])
        keep(order["env"])
        os.environ.update(order["env"])
        configure()
        self.load(order["env"])
        self.watch(self.breeder, lambda _: self.begin(), select.EPOLLIN)

    def judge(self, token):
        """Return why a token's order is not taken, 0 where it is."""
        if not hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), self.spare):
            return 403
        return 409 if self.ordered else 0

    def begin(self):
        """Be the ordered function's server."""
        del self.polled[self.breeder.fileno()]
        self.events.unregister(self.breeder.fileno())
        self.spare = ""
        self.loaded()
        self.refuse(self.ordering, 200, "")
        self.prepare()  # while who ordered does the rest


def put(files):
    for name, data in files.items():
        path = os.path.join(FOLDER, name)
        if os.path.dirname(name):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o555)
        with open(fd, "wb") as f:
            f.write(base64.b64decode(data))


# ORDERED is where a spare keeps the environment of its order, beside the source. No
# file of a function begins like this.
ORDERED = os.path.join(FOLDER, "..ordered")


def keep(env):
    with open(ORDERED + "-new", "w") as f:
        json.dump(env, f)
    os.replace(f.name, ORDERED)


def ordered():
    """Say whether this is a spare's container that began anew after its order, and be as ordered."""
    try:
        with open(ORDERED) as f:
            os.environ.update(json.load(f))
    except FileNotFoundError:
        return False
    return True


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for its children
    spare = os.environ.pop("FUNC_SPARE", "")
    if spare and ordered():
        spare = ""
    configure()
    if spare:
        global hashlib, hmac
        import hashlib  # which takes a while: not when somebody waits
        import hmac
        rehearse()
    server = Server(spare)
    if not server.spare:
        server.load({})
        server.loaded()
        server.prepare()
    server.serve()


if __name__ == "__main__":
    main()
