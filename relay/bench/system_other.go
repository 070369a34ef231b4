//go:build !linux

package main

import (
	"errors"
	"os"
	"syscall"
)

// The program measures with /proc and runs on Linux alone; main says so before
// any of these is called. They let the rest be compiled and tested elsewhere.

var errLinux = errors.New("not on this system: Linux only")

var endSignals = []os.Signal{os.Interrupt}

type account struct{ uid, gid uint32 }

func findAccount(string) (*account, error)                { return nil, errLinux }
func childAttributes(*account) *syscall.SysProcAttr       { return nil }
func terminate(int)                                       {}
func killGroup(int)                                       {}
func portAtConnect(string, string, syscall.RawConn) error { return nil }
func raiseDescriptors() (int, error)                      { return 0, errLinux }
func runInside(string, []string) (int, error)             { return 0, errLinux }
func setUpNamespace() error                               { return errLinux }

func inheritOwner(string) error { return errors.ErrUnsupported }
