// Runs one JavaScript function behind HTTP.
//
// The function lives in a thread, which reads requests and answers them itself, so
// that a call waits for no other thread. The server accepts connections, keeps
// them, and lends the thread a copy of each. What the thread calls stands in
// memory that both see. When a call runs past its time, even in a loop that never
// yields, the server ends the thread, answers for its calls, and starts another.
//
// Started as a spare, it has a thread without a function until it is ordered to
// load one, once. Both exercise what they will do then.
'use strict';

const { isUtf8 } = require('buffer');
const fs = require('fs');
const http = require('http');
const net = require('net');
const os = require('os');
const path = require('path');
const { Duplex } = require('stream');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
// Only a pipe of these copies a connection into another thread: over a socket, as
// the library does between processes.
const { Pipe, PipeConnectWrap, constants } = process.binding('pipe_wrap');
const { WriteWrap } = process.binding('stream_wrap');

const env = process.env;
const folder = env.FUNC_FOLDER || '/kubeless';
const port = Number(env.FUNC_PORT || 8080);
const pause = 1; // between the starts of two threads, seconds
const force = 2; // how long a thread may take to end that is made to, seconds
const maxAnswer = 64 * 1024 * 1024;
const plain = 'text/plain; charset=utf-8';
const eventType = 'application/cloudevents+json'; // a CloudEvent in structured mode
const methods = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'];
let settings;
let context;

// configure reads what the environment says of the function.
function configure() {
  settings = {
    module: env.MOD_NAME || '',
    handler: env.FUNC_HANDLER || '',
    timeout: Number(env.FUNC_TIMEOUT || 180),
    maxBody: Number(env.REQ_MB_LIMIT || 16) * 1024 * 1024,
  };
  context = {
    'function-name': env.FUNC_NAME || settings.handler,
    timeout: env.FUNC_TIMEOUT || '',
    runtime: env.FUNC_RUNTIME || 'nodejs',
    'memory-limit': env.FUNC_MEMORY_LIMIT || '',
  };
}

function problem(status, message) {
  return { status, kind: plain, body: message + '\n' };
}

// now is in seconds, the same in all threads.
function now() {
  return Number(process.hrtime.bigint()) / 1e9;
}

// Calls are those that run, each in a slot, and counts of all, in memory that
// both threads see. It is the function's thread that writes, until it has ended.
class Calls {
  static size = 2048; // bytes of a slot: since when it runs (0 where it is free), its connection, method and note
  static most = 1024;

  constructor(memory) {
    this.memory = memory || new SharedArrayBuffer((Calls.most + 1) * Calls.size); // the first part is for counts
    this.numbers = new Float64Array(this.memory);
    this.bytes = Buffer.from(this.memory);
    this.free = Array.from({ length: Calls.most }, (_, n) => Calls.most - n);
  }

  // begin returns the call's slot; undefined where there is none. The note is what
  // is logged of it.
  begin(connection, method, note) {
    const slot = this.free.pop();
    if (slot === undefined) return slot;
    const at = (slot * Calls.size) / 8;
    this.numbers[at + 1] = connection;
    this.numbers[at + 2] = methods.indexOf(method);
    this.numbers[at + 3] = this.bytes.write(note, slot * Calls.size + 40, Calls.size - 40);
    this.numbers[at + 4] = note.length;
    this.numbers[at] = now();
    return slot;
  }

  end(slot) {
    this.numbers[(slot * Calls.size) / 8] = 0;
    this.free.push(slot);
  }

  // forget ends the calls of a thread that has ended.
  forget() {
    for (let slot = 1; slot <= Calls.most; slot++) this.numbers[(slot * Calls.size) / 8] = 0;
  }

  // take notes the number of a connection that the thread has from now on. They come
  // in their order: those above the last are untouched.
  take(number) {
    this.numbers[3 * methods.length] = number; // behind the counts
  }

  lastTaken() {
    return this.numbers[3 * methods.length];
  }

  // running lists the calls that run.
  running() {
    const all = [];
    for (let slot = 1; slot <= Calls.most; slot++) {
      const at = (slot * Calls.size) / 8;
      const [since, connection, method, bytes, length] = this.numbers.subarray(at, at + 5);
      if (since === 0) continue;
      const note = this.bytes.toString('utf8', slot * Calls.size + 40, slot * Calls.size + 40 + bytes);
      // One that did not fit is not JSON.
      all.push({ since, connection, method: methods[method], note: note.length === length ? note : '{"path":"(too long)"' });
    }
    return all;
  }

  count(method, seconds, failed) {
    const at = 3 * methods.indexOf(method);
    this.numbers[at] += 1;
    this.numbers[at + 1] += failed ? 1 : 0;
    this.numbers[at + 2] += seconds;
  }

  // metrics has the counts in Kubeless's names.
  metrics() {
    const lines = [];
    for (const [name, column] of [['calls_total', 0], ['failures_total', 1], ['duration_seconds_sum', 2], ['duration_seconds_count', 0]]) {
      lines.push(`# TYPE function_${name} counter`);
      methods.forEach((method, n) => {
        if (this.numbers[3 * n]) lines.push(`function_${name}{method="${method}"} ${this.numbers[3 * n + column]}`);
      });
    }
    return lines.join('\n') + '\n';
  }

  // record counts and logs a call that is over.
  record(method, note, answer, seconds) {
    this.count(method, seconds, answer.status >= 400);
    const error = answer.status < 400 ? '' : `,"error":${JSON.stringify(String(answer.body).trim().slice(0, 1000))}`;
    const line = `${note},"status":${answer.status},"seconds":${seconds.toFixed(6)}${error}}\n`;
    try {
      fs.writeSync(1, line);
    } catch (e) { // nobody reads for now
      process.stdout.write(line);
    }
  }
}

// ---- the function's thread ----

function load() {
  const file = path.join(folder, settings.module + '.js');
  let loaded;
  try {
    loaded = require(file);
  } catch (e) {
    if (e.code === 'MODULE_NOT_FOUND' && e.message.includes(file)) {
      throw new Error(`the function's source ${settings.module}.js is missing; name its file in the handler, as in FILE.FUNCTION`);
    }
    const where = (e.stack || '').split('\n', 1)[0].replace(folder + '/', '');
    throw new Error(`${settings.module}.js cannot be loaded: ${e.name}: ${e.message} (${where})`);
  }
  const handler = loaded[settings.handler];
  if (typeof handler !== 'function') {
    throw new Error(`${settings.module}.js has no function ${settings.handler}; export it as: module.exports = { ${settings.handler}: (event, context) => ... }`);
  }
  return handler;
}

// encode makes the body and content type of what a function returned.
function encode(result) {
  if (result === undefined || result === null) return { kind: plain, body: '' };
  if (result instanceof Uint8Array) return { kind: 'application/octet-stream', body: result };
  if (typeof result === 'string') return { kind: plain, body: result };
  return { kind: isEvent(result) ? eventType : 'application/json', body: JSON.stringify(result) };
}

function isEvent(result) {
  return ['specversion', 'id', 'source', 'type'].every((name) => typeof result[name] === 'string');
}

function bounded(answer) {
  if (Buffer.byteLength(answer.body) <= maxAnswer) return { status: 200, ...answer };
  return problem(500, `the function's answer is larger than ${maxAnswer / 1024 / 1024} MiB`);
}

// readBody returns a request's body, null where it is too large.
function readBody(req) {
  if (!('content-length' in req.headers) && !('transfer-encoding' in req.headers)) return nothing;
  return new Promise((resolve, reject) => {
    const parts = [];
    let size = 0;
    req.on('data', (part) => {
      size += part.length;
      if (size <= settings.maxBody) parts.push(part);
    });
    req.on('error', reject);
    req.on('end', () => resolve(size > settings.maxBody ? null : Buffer.concat(parts)));
  });
}

const nothing = Buffer.alloc(0);

// explain logs what a function threw, which may be anything, and returns its text.
function explain(thrown) {
  try {
    console.error(thrown);
    return String(thrown);
  } catch (e) {
    return 'it threw something that has no text';
  }
}

function eventOf(req, body) {
  const text = body.toString('utf8');
  let data = isUtf8(body) ? text : body; // what is no text is bytes
  const kind = (req.headers['content-type'] || '').split(';')[0].trim();
  if ((kind === 'application/json' || kind === eventType) && text) data = JSON.parse(text);
  const header = (name, attribute) => req.headers[name] || req.headers[attribute] || ''; // Kubeless's, or else a CloudEvent's
  return {
    data,
    'event-id': header('event-id', 'ce-id'),
    'event-type': header('event-type', 'ce-type'),
    'event-time': header('event-time', 'ce-time'),
    'event-namespace': header('event-namespace', 'ce-source'),
    extensions: { request: { method: req.method, path: req.url, headers: req.headers } },
  };
}

// Requests reads and answers those of connections that are lent.
class Requests {
  constructor(handler, broken) {
    this.handler = handler;
    this.broken = broken;
    this.calls = new Calls(workerData.memory);
    this.server = http.createServer((req, res) => this.serve(req, res));
    this.server.emit('listening'); // it does not, but from then on sees to slow clients
  }

  // receive takes the connections that come over the socket at an address.
  receive(address) {
    const pipe = new Pipe(constants.IPC);
    pipe.onread = (data) => {
      const handle = pipe.pendingHandle;
      pipe.pendingHandle = null;
      if (!handle) return;
      const socket = new net.Socket({ handle, readable: true, writable: true });
      socket.number = Number(Buffer.from(data).toString());
      this.calls.take(socket.number);
      socket.on('close', () => parentPort.postMessage({ closed: socket.number }));
      this.server.emit('connection', socket);
    };
    const connected = new PipeConnectWrap();
    connected.oncomplete = () => {};
    pipe.connect(connected, address);
    pipe.readStart();
  }

  async serve(req, res) {
    // A function that cannot be loaded still answers its callers, with the
    // reason: it is healthy, and whoever deploys it is told.
    if (req.url === '/healthz') return res.end(this.broken ? 'problem: ' + this.broken : 'OK');
    if (req.url === '/metrics') return res.end(this.calls.metrics());
    if (!methods.includes(req.method)) return this.send(req, res, problem(501, 'the method is none that functions are called with'));
    const started = now();
    const id = (req.headers['x-request-id'] || '').slice(0, 200);
    const note = `{"method":"${req.method}","path":${JSON.stringify(req.url.slice(0, 2000))},"id":${JSON.stringify(id)}`;
    const answer = await this.answer(req, note);
    this.calls.record(req.method, note, answer, now() - started);
    this.send(req, res, answer);
  }

  send(req, res, { status, kind, body }) {
    res.writeHead(status, { 'Content-Type': kind, 'Content-Length': Buffer.byteLength(body) });
    res.end(req.method === 'HEAD' ? undefined : body);
  }

  async answer(req, note) {
    let event;
    try {
      const body = await readBody(req);
      if (body === null) return problem(413, `the body is larger than ${settings.maxBody / 1024 / 1024} MiB`);
      event = eventOf(req, body);
    } catch (e) {
      return problem(400, e instanceof SyntaxError ? `the body is not the JSON that its content type says: ${e.message}` : `the request cannot be read: ${e.message}`);
    }
    if (this.broken) return problem(500, this.broken);
    const slot = this.calls.begin(req.socket.number, req.method, note);
    if (slot === undefined) return problem(500, `the call cannot be made: ${Calls.most} others run`);
    try {
      return bounded(encode(await this.handler(event, context)));
    } catch (e) {
      return problem(500, `the function failed: ${explain(e)}`);
    } finally {
      this.calls.end(slot);
    }
  }
}

function runFunction() {
  configure();
  let handler;
  let { broken } = workerData;
  try {
    handler = broken ? undefined : load();
  } catch (e) {
    broken = e.message;
  }
  if (broken) console.error(broken);
  new Requests(handler, broken).receive(workerData.address);
  parentPort.postMessage({ loaded: true });
}

// exercise answers a request that nobody sent, for all that takes to be compiled
// before somebody waits.
function exercise() {
  const server = http.createServer((req, res) => readBody(req).then((body) => res.end(eventOf(req, body).data)));
  const nobody = new Duplex({ read() {}, write: (part, encoding, done) => done() });
  server.emit('connection', nobody);
  nobody.push('POST / HTTP/1.1\r\nHost: spare\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}');
}

// runThread loads the function; a spare's thread does so when it is told the
// function's environment.
function runThread() {
  if (!workerData.spare) return runFunction();
  configure();
  exercise();
  parentPort.once('message', (ordered) => {
    Object.assign(env, ordered);
    runFunction();
  });
}

// ---- the server's thread ----

// orderedFile is where a spare keeps the environment of its order, beside the source.
// No file of a function begins like this.
const orderedFile = path.join(folder, '..ordered');

// ordered says whether this is a spare's container that began anew after its order,
// and is as ordered then.
function ordered() {
  if (!fs.existsSync(orderedFile)) return false;
  Object.assign(env, JSON.parse(fs.readFileSync(orderedFile)));
  configure();
  return true;
}

// meetingPlace is an address that the function's thread finds the server at: a name
// that no file has, or one that has. Node.js 18 says no length with a name, which
// ends at the first NUL then, and libuv refuses an empty one since 1.46, as in Ubuntu
// 24.04.
function meetingPlace() {
  const name = `redoubt-${process.pid}-${Math.random().toString(36).slice(2)}`;
  const [node] = process.versions.node.split('.').map(Number);
  const [major, minor] = process.versions.uv.split('.').map(Number);
  const needsFile = node < 20 && (major > 1 || minor >= 46);
  return needsFile ? path.join(os.tmpdir(), name) : `\0${name}`;
}

// Server accepts connections and lends them to the function's thread.
class Server {
  constructor() {
    // spare is the digest of the token of the order that this server waits for; ''
    // where it has its function. A server with an order never takes another.
    this.spare = env.FUNC_SPARE || '';
    delete env.FUNC_SPARE;
    if (this.spare && ordered()) this.spare = '';
    this.calls = new Calls();
    this.connections = new Map(); // by number
    this.last = 0; // number
    this.waiting = []; // numbers of those that no thread has
    this.orders = http.createServer((req, res) => this.takeOrder(req, res));
  }

  async run() {
    this.start();
    if (!this.spare) {
      await this.loaded;
      this.watch();
    }
    net.createServer({ pauseOnConnect: true, noDelay: true }, (socket) => this.accept(socket)).listen({ port, backlog: 1024 }, () => {
      if (this.spare) this.exercise();
    });
  }

  // exercise has a spare refuse an order, for all that takes to be compiled before
  // somebody waits.
  exercise() {
    net.connect(port, '127.0.0.1').on('error', () => {}).end('POST /redoubt/order HTTP/1.1\r\nHost: spare\r\nContent-Length: 2\r\n\r\n{}');
  }

  // start starts a thread and returns the promise that it has loaded the function;
  // broken is why it is not to.
  start(broken) {
    const address = meetingPlace();
    const meeting = net.createServer({ pauseOnConnect: true }, (socket) => {
      meeting.close();
      this.channel = new Pipe(constants.IPC);
      this.channel.open(socket._handle.fd); // which the other handle never closes
      this.waiting.splice(0).forEach((number) => this.lend(number));
    });
    meeting.listen(address);
    this.thread = new Worker(__filename, { workerData: { address, broken, memory: this.calls.memory, spare: this.spare !== '' && !this.ordered } });
    const begun = now();
    let isLoaded = false;
    this.loaded = new Promise((resolve) => {
      this.thread.on('message', (said) => {
        isLoaded = true;
        if (said.loaded) return resolve();
        this.close(said.closed);
      });
      this.thread.on('error', (e) => console.error(e));
      this.thread.on('exit', () => {
        meeting.close();
        this.ended();
        if (!isLoaded) return resolve(this.start(`${settings.module}.js ends the process that loads it`));
        // One that ends whenever it has loaded would take a processor.
        resolve(new Promise((again) => setTimeout(() => again(this.start()), Math.max(begun + pause - now(), 0) * 1000)));
      });
    });
    return this.loaded;
  }

  accept(socket) {
    socket.on('error', () => {}); // the thread sees it too
    if (this.spare) {
      this.orders.emit('connection', socket);
      return socket.resume();
    }
    const number = ++this.last;
    this.connections.set(number, socket);
    this.lend(number);
  }

  lend(number) {
    if (!this.channel) return this.waiting.push(number);
    const written = new WriteWrap();
    written.oncomplete = () => {};
    if (this.channel.writeUtf8String(written, String(number), this.connections.get(number)._handle)) this.close(number);
  }

  close(number) {
    this.connections.get(number)?.destroy();
    this.connections.delete(number);
  }

  // watch ends a thread with a call that runs past its time. What begins after it
  // has looked is not late before it looks again.
  watch() {
    const running = this.calls.running();
    const first = Math.min(now(), ...running.map((call) => call.since));
    const left = first + settings.timeout - now();
    if (left <= 0 && !this.late) {
      this.late = now() - settings.timeout;
      this.thread.terminate();
      this.stopping = setTimeout(() => this.abandon(), force * 1000);
    }
    setTimeout(() => this.watch(), Math.min(Math.max(left * 1000, 10), 2 ** 31 - 1));
  }

  // abandon answers for a thread that does not end, because it waits for something
  // else than its loop, as for a program that it runs, and ends the server, which the
  // node starts anew. An exit would wait for the thread.
  abandon() {
    this.answerCalls();
    console.error('a call that ran past its time cannot be stopped: the server ends, to be started anew');
    setTimeout(() => process.abort(), 100); // once the answers are written
  }

  // answerCalls answers for a thread that makes no more calls.
  answerCalls() {
    for (const { since, connection, method, note } of this.calls.running()) {
      let answer = problem(500, "the function's thread ended without an answer: it exited or crashed");
      if (since <= this.late) answer = problem(408, `the function did not answer within ${settings.timeout} seconds and was stopped`);
      else if (this.late) answer = problem(500, 'another call of the function ran past its time, and its thread was stopped; try again');
      this.calls.record(method, note, answer, now() - since);
      this.answer(connection, answer, method);
    }
    this.calls.forget();
  }

  // ended sees to what a thread that has ended leaves.
  ended() {
    clearTimeout(this.stopping);
    this.answerCalls();
    for (const number of this.connections.keys()) {
      if (number <= this.calls.lastTaken()) this.close(number); // what the thread has read of it is lost
    }
    this.waiting = [...this.connections.keys()]; // which the thread was too busy to take, or not there
    this.late = undefined;
    this.channel?.close();
    this.channel = undefined;
  }

  answer(number, { status, kind, body }, method) {
    const head = `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nContent-Type: ${kind}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`;
    const socket = this.connections.get(number);
    this.connections.delete(number);
    socket?.end(method === 'HEAD' ? head : head + body, () => socket.destroy());
  }

  isOrder(req) {
    const crypto = require('crypto');
    const token = (req.headers.authorization || '').replace(/^Bearer /, '');
    const digest = crypto.createHash('sha256').update(token).digest();
    const wanted = Buffer.from(this.spare, 'hex');
    return digest.length === wanted.length && crypto.timingSafeEqual(digest, wanted);
  }

  async takeOrder(req, res) {
    res.statusCode = await this.order(req).catch(() => 400);
    res.setHeader('Connection', 'close'); // the thread has the next
    res.end();
  }

  // order takes over what the order says, and returns its status when the function
  // is loaded.
  async order(req) {
    const body = await readBody(req);
    if (req.url !== '/redoubt/order') return 404;
    if (!this.isOrder(req)) return 403;
    if (body === null) return 413;
    if (this.ordered) return 409;
    this.ordered = true;
    const said = JSON.parse(body);
    for (const [name, data] of Object.entries(said.files)) {
      const file = path.join(folder, name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, Buffer.from(data, 'base64'), { mode: 0o555 });
    }
    fs.writeFileSync(orderedFile + '-new', JSON.stringify(said.env));
    fs.renameSync(orderedFile + '-new', orderedFile);
    Object.assign(env, said.env);
    configure();
    this.thread.postMessage(said.env);
    await this.loaded;
    this.spare = '';
    this.watch();
    return 200;
  }
}

if (isMainThread) {
  configure();
  process.on('SIGTERM', () => process.exit(0));
  new Server().run();
} else {
  runThread();
}
