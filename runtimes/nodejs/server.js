// Runs one JavaScript function behind HTTP.
//
// The function lives in a worker thread. One that runs past its time, even in
// a loop that never yields, is ended with its thread and loaded anew; the
// server itself never runs the function's code.
//
// Started as a spare, it has a thread without a function until it is ordered to
// load one, once.
'use strict';

const { isUtf8 } = require('buffer');
const fs = require('fs');
const http = require('http');
const path = require('path');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

const env = process.env;
const folder = env.FUNC_FOLDER || '/kubeless';
const port = Number(env.FUNC_PORT || 8080);
const maxAnswer = 64 * 1024 * 1024;
const plain = 'text/plain; charset=utf-8';
const eventType = 'application/cloudevents+json'; // a CloudEvent in structured mode
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

// ---- the worker's side ----

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

// encode makes the body and content type of what a function returned. Text stays
// text until it is sent: a small buffer goes to another thread with all of the
// memory that it is a piece of.
function encode(result) {
  if (result === undefined || result === null) return { kind: plain, body: '' };
  if (result instanceof Uint8Array) return { kind: 'application/octet-stream', body: Buffer.from(result) };
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

// runWorker loads the function; a spare's thread does so when it is told the
// function's environment.
function runWorker() {
  if (workerData.spare) {
    return parentPort.once('message', (ordered) => {
      Object.assign(env, ordered);
      runFunction();
    });
  }
  runFunction();
}

function runFunction() {
  configure();
  let handler;
  let problem;
  try {
    handler = load();
  } catch (e) {
    problem = e.message;
    console.error(e.message);
  }
  parentPort.postMessage({ loaded: true, problem });
  parentPort.on('message', async ({ id, event }) => {
    if (problem) return parentPort.postMessage({ id, status: 500, kind: plain, body: problem + '\n' });
    if (event.data instanceof Uint8Array) event.data = Buffer.from(event.data);
    try {
      parentPort.postMessage({ id, ...bounded(encode(await handler(event, context))) });
    } catch (e) {
      console.error(e);
      parentPort.postMessage({ id, status: 500, kind: plain, body: `the function failed: ${e}\n` });
    }
  });
}

// ---- the server's side ----

const waiting = new Map(); // id -> { resolve, timer }
let worker;
let nextId = 0;
let loaded; // a promise of the worker's first message

function startWorker() {
  const mine = new Worker(__filename, { workerData: { spare: spare !== '' } });
  worker = mine;
  loaded = new Promise((resolve) => mine.once('message', resolve));
  mine.on('message', (answer) => settle(answer.id, answer));
  mine.on('error', (e) => console.error(e));
  mine.on('exit', () => {
    if (worker !== mine) return;
    failAll(mine, "the function's thread ended without an answer: it exited or crashed");
    startWorker();
  });
}

function settle(id, answer) {
  const entry = waiting.get(id);
  if (!entry) return;
  waiting.delete(id);
  clearTimeout(entry.timer);
  entry.resolve(answer);
}

function failAll(of, message) {
  for (const [id, entry] of waiting) {
    if (entry.worker === of) settle(id, problem(500, message));
  }
}

function problem(status, message) {
  return { status, kind: plain, body: message + '\n' };
}

function call(event) {
  return new Promise((resolve) => {
    const id = nextId++;
    const mine = worker;
    const timer = setTimeout(() => {
      settle(id, problem(408, `the function did not answer within ${settings.timeout} seconds and was stopped`));
      if (worker === mine) startWorker();
      failAll(mine, 'another call of the function ran past its time, and its thread was stopped; try again');
      mine.terminate();
    }, settings.timeout * 1000);
    waiting.set(id, { resolve, timer, worker: mine });
    mine.postMessage({ id, event });
  });
}

// spare is the digest of the token of the order that this server waits for; ''
// where it has its function. A server with an order never takes another.
let spare = env.FUNC_SPARE || '';
let ordered = false;
delete env.FUNC_SPARE;

function isOrder(req) {
  const crypto = require('crypto');
  const token = (req.headers.authorization || '').replace(/^Bearer /, '');
  const digest = crypto.createHash('sha256').update(token).digest();
  const wanted = Buffer.from(spare, 'hex');
  return digest.length === wanted.length && crypto.timingSafeEqual(digest, wanted);
}

// order takes over what the order says, and returns its status when the function
// is loaded.
async function order(req) {
  const body = await readBody(req);
  if (req.url !== '/redoubt/order') return 404;
  if (!isOrder(req)) return 403;
  if (body === null) return 413;
  if (ordered) return 409;
  ordered = true;
  const said = JSON.parse(body);
  for (const [name, data] of Object.entries(said.files)) {
    const file = path.join(folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, Buffer.from(data, 'base64'), { mode: 0o555 });
  }
  Object.assign(env, said.env);
  configure();
  worker.postMessage(said.env);
  await loaded;
  spare = '';
  return 200;
}

const calls = new Map(); // method -> { calls, failures, seconds }

function record(method, seconds, failed) {
  const m = calls.get(method) || { calls: 0, failures: 0, seconds: 0 };
  m.calls += 1;
  m.failures += failed ? 1 : 0;
  m.seconds += seconds;
  calls.set(method, m);
}

function metrics() {
  const lines = [];
  for (const [name, field] of [
    ['function_calls_total', 'calls'],
    ['function_failures_total', 'failures'],
    ['function_duration_seconds_sum', 'seconds'],
    ['function_duration_seconds_count', 'calls'],
  ]) {
    lines.push(`# TYPE ${name} counter`);
    for (const [method, m] of calls) lines.push(`${name}{method="${method}"} ${m[field]}`);
  }
  return lines.join('\n') + '\n';
}

function readBody(req) {
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

function eventOf(req, body) {
  let data = body;
  const text = body.toString('utf8');
  if (isUtf8(body)) data = text; // otherwise the function gets the bytes
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

async function run(req) {
  const body = await readBody(req);
  if (body === null) return problem(413, `the body is larger than ${settings.maxBody / 1024 / 1024} MiB`);
  let event;
  try {
    event = eventOf(req, body);
  } catch (e) {
    return problem(400, `the body is not the JSON that its content type says: ${e.message}`);
  }
  return call(event);
}

async function serve(req, res) {
  if (spare) {
    res.statusCode = await order(req).catch(() => 400);
    return res.end();
  }
  if (req.url === '/healthz') {
    // A function that cannot be loaded still answers its callers, with the
    // reason: it is healthy, and whoever deploys it is told.
    const { problem } = await loaded;
    return res.end(problem ? 'problem: ' + problem : 'OK');
  }
  if (req.url === '/metrics') return res.end(metrics());
  const started = process.hrtime.bigint();
  const answer = await run(req).catch((e) => problem(400, `the request cannot be read: ${e.message}`));
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  record(req.method, seconds, answer.status >= 400);
  const body = typeof answer.body === 'string' ? answer.body : Buffer.from(answer.body);
  const line = { method: req.method, path: req.url, status: answer.status, seconds, id: req.headers['x-request-id'] || '' };
  if (answer.status >= 400) line.error = body.toString().trim().slice(0, 1000);
  console.log(JSON.stringify(line));
  res.writeHead(answer.status, { 'Content-Type': answer.kind, 'Content-Length': Buffer.byteLength(body) });
  res.end(req.method === 'HEAD' ? undefined : body);
}

if (isMainThread) {
  configure();
  startWorker();
  process.on('SIGTERM', () => process.exit(0));
  http.createServer(serve).listen(port);
} else {
  runWorker();
}
