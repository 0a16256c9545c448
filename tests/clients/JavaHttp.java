import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Java's own HttpClient, with stores that keytool made: CA and CERT name them. Argument: HTTP_1_1 or HTTP_2. */
final class JavaHttp {
    private static final char[] PASSWORD = "changeit".toCharArray();

    public static void main(String[] arguments) throws Exception {
        var version = HttpClient.Version.valueOf(arguments[0]);
        var request = request();
        for (int left = Integer.parseInt(System.getenv("CALLS")); left > 0; left -= 1) {
            // Each call is made by a client of its own, so that each has its own connection.
            var client = HttpClient.newBuilder().version(version).sslContext(tls()).build();
            try {
                var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                if (answer.version() == version) {
                    System.out.printf("== %d%n%s%n", answer.statusCode(), answer.body());
                } else {
                    System.out.printf("== failed: it speaks %s%n", answer.version());
                }
            } catch (IOException error) {
                System.out.printf("== failed: %s%n", error);
            }
        }
    }

    private static HttpRequest request() throws IOException {
        var builder = HttpRequest.newBuilder(URI.create(System.getenv("URL"))).timeout(Duration.ofMinutes(1));
        var body = System.getenv("BODY");
        if (body == null) {
            return builder.build();
        }
        return builder.POST(HttpRequest.BodyPublishers.ofByteArray(Files.readAllBytes(Path.of(body)))).build();
    }

    private static SSLContext tls() throws Exception {
        var trusted = TrustManagerFactory.getInstance("PKIX");
        trusted.init(store("CA"));
        KeyManager[] keys = null;
        if (System.getenv("CERT") != null) {
            var own = KeyManagerFactory.getInstance("PKIX");
            own.init(store("CERT"), PASSWORD);
            keys = own.getKeyManagers();
        }
        var context = SSLContext.getInstance("TLS");
        context.init(keys, trusted.getTrustManagers(), null);
        return context;
    }

    private static KeyStore store(String name) throws Exception {
        var store = KeyStore.getInstance("PKCS12");
        try (InputStream content = Files.newInputStream(Path.of(System.getenv(name)))) {
            store.load(content, PASSWORD);
        }
        return store;
    }
}
