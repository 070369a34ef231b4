package policy

import "syscall"

// Winsock's numbers. The constants of the syscall package with the Unix names
// are inventions of Go that the system never returns.
const (
	wsaEAFNOSUPPORT  = syscall.Errno(10047)
	wsaEADDRNOTAVAIL = syscall.Errno(10049)
	wsaENETDOWN      = syscall.Errno(10050)
	wsaENETUNREACH   = syscall.Errno(10051)
	wsaETIMEDOUT     = syscall.Errno(10060)
	wsaECONNREFUSED  = syscall.Errno(10061)
	wsaEHOSTDOWN     = syscall.Errno(10064)
	wsaEHOSTUNREACH  = syscall.Errno(10065)
)

// fromErrno maps the errors of ConnectEx. It returns nil for one that no reply
// code describes.
func fromErrno(errno syscall.Errno) error {
	switch errno {
	case wsaECONNREFUSED:
		return ErrRefused
	case wsaENETUNREACH, wsaENETDOWN, wsaEAFNOSUPPORT, wsaEADDRNOTAVAIL:
		return ErrNetUnreachable
	case wsaEHOSTUNREACH, wsaEHOSTDOWN:
		return ErrHostUnreachable
	case wsaETIMEDOUT:
		return ErrTimeout
	}
	return nil
}
