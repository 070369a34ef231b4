package transport

// Status is the one word for how a connection ended. Logs, metrics and tests
// use the same words.
type Status string

// The status words. Every connection that was accepted ends with one of them.
const (
	OK         Status = "ok"          // both directions ended in order
	NotOurs    Status = "not_ours"    // a stranger: no inbound knows these bytes
	BadRequest Status = "bad_request" // an inbound knows the protocol, but not this
	AuthFailed Status = "auth_failed" // no credential, or a wrong one
	Denied     Status = "denied"      // policy refuses the target, or the user is not served
	OverLimit  Status = "over_limit"  // too many connections of this source, user or relay
	DialFailed Status = "dial_failed" // the target cannot be reached
	ClientGone Status = "client_gone" // the client's side broke off
	TargetGone Status = "target_gone" // the target's side broke off
	Timeout    Status = "timeout"     // handshake, idle or fin timeout
	Cut        Status = "cut"         // the user was disabled, changed, expired or used up the quota
	Drained    Status = "drained"     // still open when the relay had to stop
)

// Statuses lists every status word.
var Statuses = [...]Status{
	OK, NotOurs, BadRequest, AuthFailed, Denied, OverLimit,
	DialFailed, ClientGone, TargetGone, Timeout, Cut, Drained,
}
