module relay/interop/caddy

go 1.26.0

// As in programs whose go line is Caddy's; see "Differences" in relay/site.
godebug urlstrictcolons=0

require relay v0.0.0

require (
	go.etcd.io/bbolt v1.4.3 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace relay => ../../..
