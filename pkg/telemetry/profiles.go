package telemetry

import (
	"net"
	"net/http"
	"net/http/pprof"
)

// Profiles serves profiles of the process below /debug/pprof/ for the tools of Go. Profiles tell about the inside of the
// process and cost time to take, so that only clients on this machine get them, wherever the server listens.
func Profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil || !net.ParseIP(host).IsLoopback() {
			http.Error(w, "profiles are for clients on the same machine", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
