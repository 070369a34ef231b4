package main

import "testing"

// A policy that keeps clients from Telegram is said to, and nothing is dialled.
func TestDCFindings(t *testing.T) {
	const all = "[egress] refuses every way to Telegram's data centres 1, 2, 3, 4, 5, 203: "
	for _, tt := range []struct {
		name, src string
		want      []string
	}{
		{"no rules", "", nil},
		{"the preset", "[egress]\npresets = ['telegram', 'signal']\n", nil},
		{"another preset", "[egress]\npresets = ['signal']\n", []string{all + "not in presets; "}},
		{"another preset, and a rule", "[egress]\npresets = ['signal']\nallow = ['0.0.0.0/0', '::/0']\n", nil},
		{"the port", "[egress]\ndeny = ['*:443']\n", []string{all + "denied by rule; "}},
		{"no IPv6", "[egress]\ndeny = ['::/0']\n", nil},
		{
			"a network", "[egress]\ndeny = ['149.154.167.0/24', '95.161.76.100', '2001:67c:4e8::/48']\n[mtproto]\nwebsocket = 'never'\n",
			[]string{"[egress] refuses every way to Telegram's data centres 2, 4: denied by rule; "},
		},
		{
			"a network, and another way", "[egress]\ndeny = ['149.154.175.50']\n",
			[]string{"[egress] refuses addresses of Telegram's data centre 1: denied by rule; what is left is [2001:"},
		},
		{"a private address", "[mtproto]\ndcs = { 2 = ['10.0.0.1:443'] }\n", []string{"[egress] refuses every way to Telegram's data centres 2: private address; "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, tabs := parsed(t, "[[listen]]\naddress = '127.0.0.1:443'\ninbounds = ['mtproto']\n[cover]\nname = 'www.example.org'\nforward = '127.0.0.1:8443'\n"+tt.src)
			wantFindings(t, partFindings(cfg, tabs), tt.want...)
		})
	}
}
