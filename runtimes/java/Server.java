// Runs one Java function behind HTTP.
//
// Java runs this file as it is (java Server.java), and this file compiles the
// function's when it starts. The thread that reads a request makes its call and
// answers it: calls are parallel, one that runs past its time is answered for by
// another thread and stopped, and System.exit ends only the call. A thread that
// cannot be stopped ends the server, which the node starts anew.
package io.kubeless;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.InetSocketAddress;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

public class Server {
    static final String TEXT = "text/plain; charset=utf-8";
    /** A CloudEvent in structured mode. */
    static final String EVENT = "application/cloudevents+json";
    static final int MAX_ANSWER = 64 << 20;
    static final String MODULE = setting("MOD_NAME", "");
    static final String HANDLER = setting("FUNC_HANDLER", "");
    static final Path FOLDER = Path.of(setting("FUNC_FOLDER", "/kubeless"));
    static final long TIMEOUT = Long.parseLong(setting("FUNC_TIMEOUT", "180"));
    static final int MAX_BODY = Integer.parseInt(setting("REQ_MB_LIMIT", "16")) << 20;
    static final Context CONTEXT = new Context(setting("FUNC_NAME", HANDLER), setting("FUNC_TIMEOUT", ""),
        setting("FUNC_RUNTIME", "java"), setting("FUNC_MEMORY_LIMIT", ""));

    static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    public static void main(String[] args) throws Exception {
        refuseExit();
        Server server = new Server();
        HttpServer http = HttpServer.create(new InetSocketAddress(Integer.parseInt(setting("FUNC_PORT", "8080"))), 1024);
        http.setExecutor(Executors.newCachedThreadPool());
        http.createContext("/", server::serve);
        http.start();
    }

    private final Function function;
    private final Problem problem;
    private final Counters counters = new Counters();
    private final Deadlines deadlines = new Deadlines();
    private final FileOutputStream log = new FileOutputStream(FileDescriptor.out);

    Server() {
        Function loaded = null;
        Problem failed = null;
        try {
            loaded = Function.load();
        } catch (Problem p) {
            // The server runs all the same, and tells whoever calls.
            System.err.println(p.getMessage());
            failed = p;
        }
        function = loaded;
        problem = failed;
        deadlines.start();
    }

    /** Makes System.exit an exception of the call, where this Java still can. */
    @SuppressWarnings({"removal", "deprecation"})
    static void refuseExit() {
        PrintStream err = System.err;
        System.setErr(new PrintStream(java.io.OutputStream.nullOutputStream())); // it warns that this will go
        try {
            System.setSecurityManager(new SecurityManager() {
                @Override public void checkPermission(java.security.Permission permission) {}
                @Override public void checkExit(int status) {
                    throw new SecurityException("exit");
                }
            });
        } catch (UnsupportedOperationException e) {
            // An exit ends the server, and the node starts it anew.
        } finally {
            System.setErr(err);
        }
    }

    void serve(HttpExchange x) throws IOException {
        try {
            respond(x);
        } catch (Error e) { // after which the library would leave the caller waiting
            x.close();
            throw new IOException(e);
        }
    }

    private void respond(HttpExchange x) throws IOException {
        String path = x.getRequestURI().getRawPath();
        if ("/healthz".equals(path)) {
            // A function that cannot be loaded still answers its callers, with
            // the reason: it is healthy, and whoever deploys it is told.
            answer(x, Answer.text(200, problem == null ? "OK" : "problem: " + problem.getMessage()));
        } else if ("/metrics".equals(path)) {
            answer(x, Answer.text(200, counters.text()));
        } else {
            run(x, System.nanoTime());
        }
    }

    private void run(HttpExchange x, long started) throws IOException {
        Answer a = null;
        try {
            if (problem != null) {
                throw problem;
            }
            Event event = event(x);
            Call call = new Call(() -> finish(x, started, Answer.of(
                new Problem(408, "the function did not answer within " + TIMEOUT + " seconds and was stopped"))));
            deadlines.add(call);
            Throwable failure = null;
            try {
                a = function.call(event);
            } catch (Throwable e) {
                failure = e;
            }
            if (!deadlines.remove(call)) {
                return; // it has been answered
            }
            if (failure != null) {
                throw failure;
            }
        } catch (Problem p) {
            a = Answer.of(p);
        } catch (Throwable e) {
            a = Answer.of(Function.failure(e));
        }
        finish(x, started, a);
    }

    /** Counts, logs and answers a request. */
    private void finish(HttpExchange x, long started, Answer a) throws IOException {
        double seconds = (System.nanoTime() - started) / 1e9;
        counters.record(x.getRequestMethod(), seconds, a.status >= 400);
        record(x, a, seconds);
        answer(x, a);
    }

    private static Event event(HttpExchange x) throws Problem {
        byte[] body;
        try (InputStream in = x.getRequestBody()) {
            body = in.readNBytes(MAX_BODY + 1);
        } catch (IOException e) { // what follows is not a request
            x.getResponseHeaders().set("Connection", "close");
            throw new Problem(400, "the body cannot be read: " + e.getMessage());
        }
        if (body.length > MAX_BODY) {
            x.getResponseHeaders().set("Connection", "close");
            throw new Problem(413, "the body is larger than " + (MAX_BODY >> 20) + " MiB");
        }
        boolean json = isJson(Event.header(x, "Content-Type"));
        String text = null; // where it is no text, the function has the bytes
        try {
            text = body.length == 0 ? "" : StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(body)).toString();
        } catch (CharacterCodingException e) {
            if (json) {
                throw new Problem(400, "the body is not the JSON that its content type says: it is not UTF-8");
            }
        }
        if (json && !text.isEmpty()) {
            Json.check(text);
        }
        return new Event(x, text, body);
    }

    private static boolean isJson(String kind) {
        return kind.startsWith("application/") && List.of("application/json", EVENT).contains(kind.split(";")[0].trim());
    }

    private static void answer(HttpExchange x, Answer a) throws IOException {
        try (x) {
            x.getResponseHeaders().set("Content-Type", a.kind);
            boolean bodiless = x.getRequestMethod().equals("HEAD") || a.body.length == 0;
            x.sendResponseHeaders(a.status, bodiless ? -1 : a.body.length);
            if (!bodiless) {
                x.getResponseBody().write(a.body);
            }
        }
    }

    private void record(HttpExchange x, Answer a, double seconds) throws IOException {
        StringBuilder line = new StringBuilder(256).append("{\"method\":");
        Json.quote(line, x.getRequestMethod());
        Json.quote(line.append(",\"path\":"), x.getRequestURI().toString());
        Json.quote(line.append(",\"id\":"), Event.header(x, "X-Request-Id"));
        line.append(",\"status\":").append(a.status).append(",\"seconds\":").append(Math.round(seconds * 1e6) / 1e6);
        if (a.status >= 400) {
            String error = new String(a.body, StandardCharsets.UTF_8).strip();
            Json.quote(line.append(",\"error\":"), error.substring(0, Math.min(error.length(), 1000)));
        }
        log.write(line.append("}\n").toString().getBytes(StandardCharsets.UTF_8));
    }
}

/** An answer that is not the function's: a status and a sentence. */
class Problem extends Exception {
    final int status;

    Problem(int status, String message) {
        super(message);
        this.status = status;
    }
}

class Answer {
    final int status;
    final String kind;
    final byte[] body;

    Answer(int status, String kind, byte[] body) {
        this.status = status;
        this.kind = kind;
        this.body = body;
    }

    static Answer text(int status, String text) {
        return new Answer(status, Server.TEXT, text.getBytes(StandardCharsets.UTF_8));
    }

    static Answer of(Problem p) {
        return text(p.status, p.getMessage() + "\n");
    }

    /** What a function's result becomes. */
    static Answer of(Object result) throws Problem {
        Answer a = result == null ? text(200, "")
            : result instanceof String ? text(200, (String) result)
            : result instanceof byte[] ? new Answer(200, "application/octet-stream", (byte[]) result)
            : new Answer(200, isEvent(result) ? Server.EVENT : "application/json", Json.encode(result).getBytes(StandardCharsets.UTF_8));
        if (a.body.length > Server.MAX_ANSWER) {
            throw new Problem(500, "the function's answer is larger than " + (Server.MAX_ANSWER >> 20) + " MiB");
        }
        return a;
    }

    private static boolean isEvent(Object result) {
        return result instanceof Map
            && List.of("specversion", "id", "source", "type").stream().allMatch(name -> ((Map<?, ?>) result).get(name) instanceof String);
    }
}

/** The function: its compiled class and the method to call. */
class Function {
    private final Object instance;
    private final Method method;

    private Function(Object instance, Method method) {
        this.instance = instance;
        this.method = method;
    }

    static Function load() throws Problem {
        String name = Server.MODULE + ".java";
        if (!Files.exists(Server.FOLDER.resolve(name))) {
            throw new Problem(500, "the function's source " + name + " is missing; name its file in the handler, as in FILE.FUNCTION");
        }
        try {
            Path classes = temporary("classes");
            compile(name, classes);
            Class<?> type = new URLClassLoader(new URL[] {classes.toUri().toURL()}, Server.class.getClassLoader()).loadClass(className(classes));
            Method method = find(type, name);
            return new Function(Modifier.isStatic(method.getModifiers()) ? null : type.getDeclaredConstructor().newInstance(), method);
        } catch (IOException | ReflectiveOperationException | LinkageError | SecurityException e) {
            Throwable cause = e instanceof InvocationTargetException ? e.getCause() : e;
            cause.printStackTrace();
            throw new Problem(500, name + " cannot be loaded: " + cause);
        }
    }

    /** Compiles the function's file, and those beside it that it uses. */
    private static void compile(String name, Path classes) throws IOException, Problem {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        DiagnosticCollector<JavaFileObject> found = new DiagnosticCollector<>();
        Path contract = contract();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(found, null, StandardCharsets.UTF_8)) {
            List<String> options = List.of("-d", classes.toString(), "-classpath", contract.toString(), "-sourcepath", Server.FOLDER.toString(), "-proc:none");
            if (compiler.getTask(null, files, found, options, null, files.getJavaFileObjects(Server.FOLDER.resolve(name))).call()) {
                return;
            }
        } finally { // the classes stay: they are loaded when they are first used
            remove(contract);
        }
        throw new Problem(500, name + " cannot be compiled: " + found.getDiagnostics().stream()
            .filter(d -> d.getKind() == Diagnostic.Kind.ERROR).limit(5)
            .map(d -> "line " + d.getLineNumber() + ": " + d.getMessage(null)).collect(Collectors.joining("; ")));
    }

    /** A folder with Event and Context, which exist in this program's memory. */
    private static Path contract() throws IOException {
        Path folder = temporary("contract");
        for (Class<?> type : List.of(Event.class, Context.class)) {
            Path file = folder.resolve(type.getName().replace('.', '/') + ".class");
            Files.createDirectories(file.getParent());
            try (InputStream in = type.getClassLoader().getResourceAsStream(type.getName().replace('.', '/') + ".class")) {
                Files.copy(in, file);
            }
        }
        return folder;
    }

    /** A new folder where TMPDIR says, as in other languages: Java does not look at it. */
    private static Path temporary(String prefix) throws IOException {
        Path in = Path.of(Server.setting("TMPDIR", "/tmp"));
        return Files.isDirectory(in) ? Files.createTempDirectory(in, prefix) : Files.createTempDirectory(prefix);
    }

    private static void remove(Path folder) throws IOException {
        try (var all = Files.walk(folder)) {
            for (Path path : all.sorted(Comparator.reverseOrder()).collect(Collectors.toList())) {
                Files.delete(path);
            }
        }
    }

    /** The full name of the class that the handler means, from its package. */
    private static String className(Path classes) throws IOException, Problem {
        String file = Server.MODULE + ".class";
        try (var all = Files.walk(classes)) {
            Path found = all.filter(p -> p.getFileName().toString().equals(file)).findFirst().orElse(null);
            if (found == null) {
                throw new Problem(500, Server.MODULE + ".java has no class " + Server.MODULE + "; the handler is CLASS.METHOD, and the class has its file's name");
            }
            String path = classes.relativize(found).toString();
            return path.substring(0, path.length() - ".class".length()).replace('/', '.');
        }
    }

    private static Method find(Class<?> type, String name) throws Problem {
        String form = "define it as: public String " + Server.HANDLER + "(io.kubeless.Event event, io.kubeless.Context context)";
        boolean named = false;
        for (Method m : type.getDeclaredMethods()) {
            if (m.getName().equals(Server.HANDLER)) {
                named = true;
                if (Arrays.equals(m.getParameterTypes(), new Class<?>[] {Event.class, Context.class})) {
                    m.setAccessible(true);
                    return m;
                }
            }
        }
        throw new Problem(500, named ? name + ": " + Server.HANDLER + " takes other arguments than an event and a context; " + form
            : name + " has no function " + Server.HANDLER + "; " + form);
    }

    /** Makes one call; returns its answer, in whose making the function's code may run too. */
    Answer call(Event event) throws Throwable {
        Object result;
        try {
            result = method.invoke(instance, event, Server.CONTEXT);
        } catch (InvocationTargetException e) {
            result = e.getCause();
        }
        if (result instanceof Throwable) {
            throw (Throwable) result;
        }
        return Answer.of(result);
    }

    /** What is said of a call that threw something. */
    static Problem failure(Throwable cause) {
        if (cause instanceof SecurityException && "exit".equals(cause.getMessage())) {
            return new Problem(500, "the function ended its process instead of returning: the call is without an answer");
        }
        try {
            cause.printStackTrace();
            return new Problem(500, "the function failed: " + cause);
        } catch (Throwable e) { // its message is made by the function's code
            return new Problem(500, "the function failed: " + cause.getClass().getName());
        }
    }
}

/** A call that runs in the thread that has made it. */
class Call {
    /** Answers for a call. */
    interface Answering {
        void answer() throws IOException;
    }

    final long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Server.TIMEOUT);
    private final Thread thread = Thread.currentThread();
    private final Answering answering;
    private boolean late, over;

    Call(Answering answering) {
        this.answering = answering;
    }

    /** Notes that it is over; says whether it was in time, and is to be answered. */
    synchronized boolean end() {
        over = true;
        notifyAll();
        return !late;
    }

    /** Answers for it, unless it is over, and stops its thread: by asking, then by force; else nothing but an end helps. */
    @SuppressWarnings({"removal", "deprecation"})
    void stop() {
        synchronized (this) {
            if (over) {
                return;
            }
            late = true;
        }
        try {
            answering.answer();
        } catch (IOException e) {
            // Who asked has gone.
        }
        try {
            if (ends(Thread::interrupt, 200) || ends(Thread::stop, 1000)) {
                return;
            }
        } catch (InterruptedException | UnsupportedOperationException e) {
            // It is not stopped.
        }
        System.err.println("a call that ran past its time cannot be stopped: the server ends, to be started anew");
        System.setSecurityManager(null); // which would refuse this too
        Runtime.getRuntime().halt(1);
    }

    /** Does something to the thread while it has this call; says whether that is over soon. */
    private synchronized boolean ends(Consumer<Thread> what, long milliseconds) throws InterruptedException {
        if (!over) {
            what.accept(thread);
            wait(milliseconds);
        }
        return over;
    }
}

/** Sees that calls end in time. Beginning one wakes nobody. */
class Deadlines extends Thread {
    private final Set<Call> calls = ConcurrentHashMap.newKeySet();

    Deadlines() {
        super("deadlines");
        setDaemon(true);
    }

    void add(Call call) {
        calls.add(call);
    }

    /** Forgets a call that is over; says whether it was in time. */
    boolean remove(Call call) {
        calls.remove(call);
        boolean inTime;
        try {
            inTime = call.end();
        } catch (ThreadDeath e) { // what stops it may come as late as this
            inTime = call.end();
        }
        Thread.interrupted(); // that was for the call
        return inTime;
    }

    @Override public void run() {
        while (true) {
            long now = System.nanoTime();
            long wait = TimeUnit.SECONDS.toNanos(Server.TIMEOUT); // what begins after this is not late before
            for (Call call : calls) {
                if (call.deadline > now) {
                    wait = Math.min(wait, call.deadline - now);
                } else if (calls.remove(call)) {
                    new Thread(call::stop, "stopper").start();
                }
            }
            try {
                TimeUnit.NANOSECONDS.sleep(wait);
            } catch (InterruptedException e) {
                // Nobody does so; if at all, it looks sooner.
            }
        }
    }
}

/** What a function is called with, in Kubeless's names. */
public class Event {
    /** The body as text; null where it is not UTF-8. */
    public final String Data;
    /** The body as it came. */
    public final byte[] Bytes;
    public final String EventID;
    public final String EventType;
    public final String EventTime;
    public final String EventNamespace;
    /** The request's method, path and headers. */
    public final Map<String, Object> Request;

    Event(HttpExchange x, String data, byte[] bytes) {
        Data = data;
        Bytes = bytes;
        String[] named = new String[4];
        String[] attributes = {"", "", "", ""};
        for (Map.Entry<String, List<String>> e : x.getRequestHeaders().entrySet()) {
            String value = e.getValue().get(0);
            switch (e.getKey()) { // which begins with a capital, and has no other
                case "Event-id": named[0] = value; break;
                case "Event-type": named[1] = value; break;
                case "Event-time": named[2] = value; break;
                case "Event-namespace": named[3] = value; break;
                case "Ce-id": attributes[0] = value; break;
                case "Ce-type": attributes[1] = value; break;
                case "Ce-time": attributes[2] = value; break;
                case "Ce-source": attributes[3] = value; break;
                default: break;
            }
        }
        for (int i = 0; i < named.length; i++) { // Kubeless's header, or else a CloudEvent's
            if (named[i] == null || named[i].isEmpty()) {
                named[i] = attributes[i];
            }
        }
        EventID = named[0];
        EventType = named[1];
        EventTime = named[2];
        EventNamespace = named[3];
        Request = Map.of("method", x.getRequestMethod(), "path", x.getRequestURI().toString(), "headers", x.getRequestHeaders());
    }

    static String header(HttpExchange x, String name) {
        String value = x.getRequestHeaders().getFirst(name);
        return value == null ? "" : value;
    }
}

/** What a function learns of itself. */
public class Context {
    public final String FunctionName;
    public final String Timeout;
    public final String Runtime;
    public final String MemoryLimit;

    Context(String functionName, String timeout, String runtime, String memoryLimit) {
        FunctionName = functionName;
        Timeout = timeout;
        Runtime = runtime;
        MemoryLimit = memoryLimit;
    }
}

/** Counts calls by method, in Kubeless's names. */
class Counters {
    private static final Set<String> METHODS = Set.of("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS");
    private final Map<String, double[]> calls = new TreeMap<>();

    synchronized void record(String method, double seconds, boolean failed) {
        String name = METHODS.contains(method) ? method : "OTHER"; // callers may invent some
        double[] of = calls.computeIfAbsent(name, m -> new double[3]);
        of[0]++;
        of[1] += failed ? 1 : 0;
        of[2] += seconds;
    }

    synchronized String text() {
        String[] names = {"function_calls_total", "function_failures_total", "function_duration_seconds_sum", "function_duration_seconds_count"};
        int[] columns = {0, 1, 2, 0};
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < names.length; i++) {
            text.append("# TYPE ").append(names[i]).append(" counter\n");
            for (Map.Entry<String, double[]> e : calls.entrySet()) {
                double v = e.getValue()[columns[i]];
                String value = columns[i] == 2 ? Double.toString(v) : Long.toString((long) v);
                text.append(names[i]).append("{method=\"").append(e.getKey()).append("\"} ").append(value).append('\n');
            }
        }
        return text.toString();
    }
}

/** What Java's library lacks of JSON: a check and a simple writer. */
class Json {
    private static final int DEEPEST = 500;
    private static final java.util.regex.Pattern SCALAR = java.util.regex.Pattern.compile(
        "\"(?:[^\"\\\\\\x00-\\x1f]|\\\\(?:[\"\\\\/bfnrt]|u[0-9a-fA-F]{4}))*+\"|-?(?:0|[1-9]\\d*+)(?:\\.\\d++)?(?:[eE][+-]?\\d++)?|true|false|null");
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /** Refuses a body that is not JSON. */
    static void check(String text) throws Problem {
        Json j = new Json(text);
        if (!j.value(0) || j.next() != 0) {
            throw new Problem(400, "the body is not the JSON that its content type says (at character " + (j.at + 1) + ")");
        }
    }

    /** The next character that is no space, 0 at the end. */
    private char next() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        return at < text.length() ? text.charAt(at) : 0;
    }

    private boolean is(char c) {
        if (next() != c) {
            return false;
        }
        at++;
        return true;
    }

    private boolean value(int depth) {
        if (depth > DEEPEST) {
            return false;
        }
        return is('{') ? members('}', true, depth) : is('[') ? members(']', false, depth) : scalar();
    }

    private boolean members(char end, boolean named, int depth) {
        if (is(end)) {
            return true;
        }
        do {
            if (named && !(next() == '"' && scalar() && is(':')) || !value(depth + 1)) {
                return false;
            }
        } while (is(','));
        return is(end);
    }

    private boolean scalar() {
        next();
        var m = SCALAR.matcher(text).region(at, text.length());
        if (!m.lookingAt()) {
            return false;
        }
        at = m.end();
        return true;
    }

    static String encode(Object value) {
        StringBuilder out = new StringBuilder();
        write(out, value);
        return out.toString();
    }

    private static void write(StringBuilder out, Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) {
            out.append(String.valueOf(value));
        } else if (value instanceof Map) {
            String comma = "{";
            for (Map.Entry<?, ?> e : ((Map<?, ?>) value).entrySet()) {
                out.append(comma);
                quote(out, String.valueOf(e.getKey()));
                out.append(":");
                write(out, e.getValue());
                comma = ",";
            }
            out.append(comma.equals("{") ? "{}" : "}");
        } else if (value instanceof Iterable) {
            String comma = "[";
            for (Object one : (Iterable<?>) value) {
                out.append(comma);
                write(out, one);
                comma = ",";
            }
            out.append(comma.equals("[") ? "[]" : "]");
        } else {
            quote(out, value.toString());
        }
    }

    static void quote(StringBuilder out, String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
