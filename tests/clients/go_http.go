// Go's net/http. Argument: http1 or http2.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

func read(name string) []byte {
	path, set := os.LookupEnv(name)
	if !set {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return content
}

func call(body []byte, config *tls.Config, http2 bool) string {
	transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: http2}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	request, err := http.NewRequest(method, os.Getenv("URL"), bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Sprintf("failed: %v", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Sprintf("failed: %v", err)
	}
	if (answer.ProtoMajor == 2) != http2 {
		return fmt.Sprintf("failed: it speaks %s", answer.Proto)
	}
	return fmt.Sprintf("%d\n%s", answer.StatusCode, text)
}

func main() {
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(read("CA"))
	config := &tls.Config{RootCAs: trusted}
	if certificate := read("CERT"); certificate != nil {
		pair, err := tls.X509KeyPair(certificate, read("KEY"))
		if err != nil {
			panic(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	body := read("BODY")
	calls, err := strconv.Atoi(os.Getenv("CALLS"))
	if err != nil {
		panic(err)
	}
	for ; calls > 0; calls-- {
		fmt.Printf("== %s\n", call(body, config, os.Args[1] == "http2"))
	}
}
