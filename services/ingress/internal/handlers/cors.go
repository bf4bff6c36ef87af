package handlers

import "net/http"

// allowOrigins lets web pages of any origin read the response. The headers are those of restate-server.
func allowOrigins(response http.Header, r *http.Request) {
	response.Set("Vary", "origin, access-control-request-method, access-control-request-headers")
	response.Set("Access-Control-Allow-Credentials", "true")
	echo := func(from, to string) {
		if value := r.Header.Get(from); value != "" {
			response.Set(to, value)
		}
	}
	echo("Origin", "Access-Control-Allow-Origin")
	if r.Method == http.MethodOptions {
		echo("Access-Control-Request-Method", "Access-Control-Allow-Methods")
		echo("Access-Control-Request-Headers", "Access-Control-Allow-Headers")
	}
}
