module relay/interop/acme

go 1.26.0
