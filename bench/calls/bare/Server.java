import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Server {
    public static void main(String[] args) throws Exception {
        HttpServer http = HttpServer.create(new InetSocketAddress(Integer.parseInt(args[0])), 1024);
        http.setExecutor(Executors.newCachedThreadPool());
        http.createContext("/", x -> {
            try (x) {
                x.getResponseHeaders().set("Content-Type", "text/plain");
                x.sendResponseHeaders(200, 5);
                x.getResponseBody().write("hello".getBytes());
            }
        });
        http.start();
    }
}
