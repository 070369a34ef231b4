package main

// What relay try says, by the words of its JSON: stage/cause. Commands stand between
// backquotes, which are not printed.

// tryEnglish is the table that the others translate.
var tryEnglish = map[string]string{
	"link":  "link %s: %s",
	"ms":    "%s ms",
	"kB":    "%s kB",
	"kB/s":  "%s kB/s",
	"MB/s":  "%s MB/s",
	"point": ".",

	"works":        "works: %s",
	"works/rate":   "works: %s, at least %s",
	"works/target": "%s; the target answers after %s",
	"limited":      "frozen after %s: connections stop after the first kilobytes; `relay connect` copes with that, slowly",
	"none":         "no link works here; send these lines to whoever gave you the links, there is no name, address or key in them",
	"none/verbose": "no link works here; there are names and addresses in these lines: show them to whoever gave you the links and to nobody else; without `--verbose` there are none",
	"none/target":  "no link that works here reaches the target",

	"progress":      "tried %s of %s…",
	"stopped":       "not finished, it was %s",
	"stage/name":    "looking up the name",
	"stage/connect": "connecting",
	"stage/hello":   "waiting for the answer to the hello",
	"stage/request": "waiting for the answer to a request",
	"stage/data":    "waiting for the relay",
	"stage/volume":  "downloading",
	"stage/target":  "waiting for the target",

	"name/forged":       "blocked at the name: the answer about it is forged; try `--resolver` with a DoH server, or a link with an address",
	"name/no_such_name": "the name in the link is not known: it is gone, or the resolver hides it; try `--resolver` with a DoH server, or ask for a new link",
	"name/no_ech":       "the resolver does not say how to hide the name (ECH); try `--resolver` with another DoH server",
	"name/silent":       "no answer about the name; is this device online? If it is, try `--resolver` with a DoH server",
	"name/failed":       "nobody could be asked about the name; is this device online? If it is, try `--resolver` with a DoH server",

	"connect/silent":      "blocked at the address, or the server is down: no answer to the first packet (SYN); try another link",
	"connect/reset":       "blocked at the address: the connection is reset at once; try another link",
	"connect/refused":     "the address refuses: no relay runs there now, or somebody refuses in its place; ask whoever gave you the link",
	"connect/forbidden":   "this device does not allow the connection; look at its firewall",
	"connect/unreachable": "there is no way to the address; is this device online? If it is, try another link",
	"connect/failed":      "the connection could not be made; try another link",

	"hello/reset":       "blocked after the hello (reset): the name or the browser's fingerprint is filtered; try another link",
	"hello/closed":      "blocked after the hello (closed): the name or the browser's fingerprint is filtered, or the server takes no TLS; try another link",
	"hello/silent":      "blocked after the hello (no answer): the name, the address or the browser's fingerprint is filtered; try another link",
	"hello/refused":     "the server refuses the hello: the name in the link may be an old one; ask for a new link",
	"hello/certificate": "the server shows another certificate than it should: somebody may be in between; do not use this link, ask for a new one",
	"hello/clock":       "the certificate is of another time; look at the clock of this device, and if it is right, tell whoever gave you the link",
	"hello/not_http2":   "another server answers than the one of the link, or somebody in between; ask for a new link",
	"hello/ech":         "the server does not take the hidden name (ECH); ask for a new link",
	"hello/failed":      "what answers the hello makes no sense, as a censor's page does; try another link",

	"request/reset":  "blocked after the request (reset); try another link",
	"request/closed": "blocked after the request (closed), or the server has ended it; try another link",
	"request/silent": "blocked after the request (no answer), or the server hangs; try another link",
	"request/path":   "the server does not know this link: it was removed or replaced; ask for a new one",
	"request/server": "the server, or the CDN in front of it, is in trouble; try again later, and tell whoever gave you the link",
	"request/status": "the server answers, but not as a relay: a CDN may refuse; tell whoever gave you the link",
	"request/failed": "the request failed; try again, and then another link",

	"data/user":   "the relay does not know the user of this link: it was removed or replaced; ask for a new one",
	"data/silent": "the relay takes the request and does not answer; try again later, and tell whoever gave you the link",

	"volume/frozen": "frozen after %s: nothing comes any more, and nobody says why; try another link",
	"volume/reset":  "cut off after %s (reset): large answers are filtered; try another link",
	"volume/closed": "cut off after %s (closed): large answers are filtered, or the server ends them; try another link",
	"volume/failed": "the download failed after %s; try again, and then another link",

	"target/refused": "the relay works, and does not reach the target: it may not want to, or nobody is there",
	"target/silent":  "the relay works, and nothing comes from the target",
}
