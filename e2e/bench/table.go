package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes the report for people. Of repeated measurements it shows the median of each figure. With a peer, each
// line of the runtime is followed by that of the peer and the ratio of both.
func (r Report) WriteTable(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s, %s\n%s, %d cores; a durable write takes %.2f ms\n\n",
		r.Server, r.Date.Format(time.DateOnly), r.Processor, r.Cores, r.SyncMillis); err != nil {
		return err
	}
	if r.Peer != "" {
		if _, err := fmt.Fprintf(w, "compared with %s\n\n", r.Peer); err != nil {
			return err
		}
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := io.WriteString(columns, r.rows()); err != nil {
		return err
	}
	return columns.Flush()
}

func (r Report) rows() string {
	var rows strings.Builder
	rows.WriteString("scenario\tclients\tcalls/s\tp50 ms\tp99 ms\tCPU ms/call\tCPU\tRSS MB\tendpoint ms/call\t\n")
	all := medians(r.Measurements)
	var services Services
	for _, m := range all {
		if m.Server == peerName {
			continue // it is shown beside the runtime
		}
		if m.Services != services {
			services = m.Services
			fmt.Fprintf(&rows, "%s\t\t\t\t\t\t\t\t\t\n", services)
		}
		rows.WriteString(m.row(m.Scenario))
		if peer, found := peerOf(m, all); found {
			rows.WriteString(peer.row(peerName))
			rows.WriteString(ratio(m, peer))
		}
	}
	return rows.String()
}

// peerOf returns what the peer did of the same.
func peerOf(m Measurement, all []Measurement) (Measurement, bool) {
	for _, of := range all {
		if of.Server == peerName && of.Services == m.Services && of.Scenario == m.Scenario && of.Clients == m.Clients {
			return of, true
		}
	}
	return Measurement{}, false
}

func (m Measurement) row(title string) string {
	clients, figures, endpoint := "", "\t\t\t\t", ""
	if m.Clients > 0 {
		clients = strconv.Itoa(m.Clients)
		figures = fmt.Sprintf("%.0f\t%.2f\t%.2f\t%.3f\t", m.PerSecond, m.P50, m.P99, m.CPUPerCall)
		endpoint = fmt.Sprintf("%.3f", m.EndpointCPUPerCall)
	}
	return fmt.Sprintf("%s\t%s\t%s%.1f %%\t%.0f\t%s\t\n", title, clients, figures, m.CPU*100, float64(m.RSS)/1e6, endpoint)
}

// ratio has for each figure of the runtime which part of the peer's it is.
func ratio(m, peer Measurement) string {
	of := func(a, b float64) string {
		if b == 0 {
			return ""
		}
		return strconv.FormatFloat(a/b, 'f', 2, 64)
	}
	return fmt.Sprintf("ratio\t\t%s\t%s\t%s\t%s\t%s\t%s\t\t\n", of(m.PerSecond, peer.PerSecond), of(m.P50, peer.P50), of(m.P99, peer.P99),
		of(m.CPUPerCall, peer.CPUPerCall), of(m.CPU, peer.CPU), of(float64(m.RSS), float64(peer.RSS)))
}
