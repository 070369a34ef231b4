module relay/bench

go 1.26.0

require (
	github.com/armon/go-socks5 v0.0.0-20160902184237-e75332964ef5
	golang.org/x/sys v0.49.0
	relay v0.0.0
)

require (
	go.etcd.io/bbolt v1.4.3 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

require (
	github.com/cloudflare/circl v1.6.1 // indirect
	golang.org/x/net v0.62.0 // indirect
)

replace relay => ../..
